package admission

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const kib = 1 << 10

// in has a request of size bytes read, and returns its pass.
func in(t *testing.T, g *Gate, app string, size int64) (Pass, error) {
	t.Helper()
	p, err := g.Enter(Requester{App: app, Door: "test"}, size)
	if err != nil {
		return p, err
	}
	if err := p.Hold(size); err != nil {
		p.Release()
		return p, err
	}
	return p, nil
}

func refusal(t *testing.T, err error) *Refusal {
	t.Helper()
	r, ok := errors.AsType[*Refusal](err)
	if !ok {
		t.Fatalf("not a refusal: %v", err)
	}
	if r.RetryAfter < retryMin || r.RetryAfter > retryMax || r.RetryAfter%time.Second != 0 {
		t.Errorf("come again after %v", r.RetryAfter)
	}
	return r
}

// empty checks that nothing is held, waits or is under way.
func empty(t *testing.T, g *Gate) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held != 0 || g.queued != 0 || g.requests != 0 || g.weights != 0 || len(g.addresses) != 0 ||
		g.coming.sum(spanOf(time.Now())) != 0 || g.decoding.Taken() != 0 || g.questions.Taken() != 0 {
		t.Errorf("held %d, queued %d in %d requests, weights %v, %d addresses, coming %v, decoding %d", g.held, g.queued, g.requests,
			g.weights, len(g.addresses), g.coming, g.decoding.Taken())
	}
	for app, a := range g.accounts {
		if a.held != 0 || a.queued != 0 || a.underWay != 0 {
			t.Errorf("%s: held %d, queued %d, %d under way", app, a.held, a.queued, a.underWay)
		}
	}
}

// flood has requests of an app wait for their turn until one more is refused, and returns what
// refused it. They end with the context.
func flood(t *testing.T, ctx context.Context, g *Gate, app string, size int64) (waiting int, refused *Refusal) {
	t.Helper()
	for {
		p, err := in(t, g, app, size)
		if err != nil {
			return waiting, refusal(t, err)
		}
		waiting++
		go func() {
			_ = p.Turn(ctx, size, size)
			p.Release()
		}()
		synctest.Wait()
	}
}

// The queue is what drains in its time; one who would wait longer is refused at once. An app that
// has nothing waiting gets in all the same.
func TestQueueIsShortAndShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Decoding: 1, Memory: 1 << 30})
		ctx, end := context.WithCancel(t.Context())
		first, _ := in(t, g, "flood", kib)
		if err := first.Turn(ctx, kib, 1); err != nil {
			t.Fatal(err)
		}
		const size = 100 * kib
		waiting, r := flood(t, ctx, g, "flood", size)
		if drained := rateAtFirst * 3 / 10 / size; waiting < drained-2 || waiting > drained+2 {
			t.Errorf("%d wait, %d are drained in time", waiting, drained)
		}
		if r.Reason != QueueFull {
			t.Errorf("refused as %s", r.Reason)
		}
		quiet, err := in(t, g, "quiet", size)
		if err != nil {
			t.Fatalf("a quiet app is refused: %v", err)
		}
		_, err = in(t, g, "flood", size)
		if r := refusal(t, err); r.Reason != OverShare {
			t.Errorf("the app with all that waits is refused as %s", r.Reason)
		}
		patient, err := g.Enter(Requester{App: "flood", User: "one", Door: "test", Waits: true}, kib)
		if err != nil {
			t.Errorf("one that waits is refused: %v", err)
		}
		patient.Release()
		// It is served next.
		served := make(chan struct{})
		go func() {
			if quiet.Turn(ctx, size, size) == nil {
				close(served)
			}
			quiet.Release()
		}()
		synctest.Wait()
		first.Release()
		synctest.Wait()
		select {
		case <-served:
		default:
			t.Error("others were served before the quiet app")
		}
		end()
		synctest.Wait()
		time.Sleep(recentFor)
		empty(t, g)
	})
}

// An app has its share by weight, however many ask.
func TestSharesAreByWeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Decoding: 1, Memory: 1 << 30, Weight: func(app string) int {
			if app == "heavy" {
				return 3
			}
			return 1
		}})
		ctx, end := context.WithCancel(t.Context())
		first, _ := in(t, g, "other", kib)
		_ = first.Turn(ctx, kib, 1)
		light, _ := flood(t, ctx, g, "light", 100*kib)
		heavy, _ := flood(t, ctx, g, "heavy", 100*kib)
		more, _ := flood(t, ctx, g, "more", 100*kib)
		// light could fill the queue before heavy came, but for the share of the other one.
		all := rateAtFirst * 3 / 10 / (100 * kib)
		if light < all-2 || heavy < all*3/5-2 || heavy > all*3/5+2 || more < all/6-2 || more > all/6+2 {
			t.Errorf("of %d: %d, then %d of 3 in 5, then %d of 1 in 6", all, light, heavy, more)
		}
		end()
		synctest.Wait()
		first.Release()
		time.Sleep(recentFor)
		empty(t, g)
	})
}

// What is announced and does not come counts for a moment; then only what has arrived does.
func TestWhatDoesNotComeDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{})
		var slow []Pass
		for {
			p, err := g.Enter(Requester{App: "app", Door: "test"}, 8<<20)
			if err != nil {
				break
			}
			slow = append(slow, p)
		}
		if len(slow) < 33 {
			t.Errorf("%d uploads of 8 MiB keep others out", len(slow))
		}
		time.Sleep(recentFor)
		p, err := in(t, g, "app", kib)
		if err != nil {
			t.Fatal(err)
		}
		p.Release()
		for i := range slow {
			slow[i].Release()
			slow[i].Release()
		}
		empty(t, g)
	})
}

// No app holds more than half of the memory, no address more than three quarters, and all together
// no more than all.
func TestMemoryIsBounded(t *testing.T) {
	g := New(Options{Memory: 1000 * kib})
	hold := func(app, address string, n int64) (Pass, error) {
		p, err := g.Enter(Requester{App: app, Address: address, Door: "test"}, kib)
		if err != nil {
			t.Fatal(err)
		}
		return p, p.Hold(n)
	}
	refused := func(err error) {
		t.Helper()
		if r := refusal(t, err); r.Reason != MemoryFull {
			t.Errorf("%v", r)
		}
	}
	a, err := hold("a", "1", 500*kib)
	if err != nil {
		t.Fatal(err)
	}
	b, err := hold("a", "2", kib)
	refused(err)
	c, err := hold("b", "1", 250*kib)
	if err != nil {
		t.Fatal(err)
	}
	d, err := hold("c", "1", 20*kib)
	refused(err)
	if err := d.Hold(16 * kib); err != nil {
		t.Errorf("a small request of another app, from a proxy: %v", err)
	}
	e, err := hold("d", "2", 235*kib)
	refused(err)
	if err := e.Hold(234 * kib); err != nil {
		t.Error(err)
	}
	for _, p := range []*Pass{&a, &b, &c, &d, &e} {
		p.Release()
	}
	empty(t, g)
}

// The queue is as long as what drains in its time, by the rate at which it does.
func TestQueueFollowsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Memory: 1 << 30, Decoding: 1})
		const size, each = 100 * kib, 10 * time.Millisecond // 10 MB/s
		var all sync.WaitGroup
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(each / 2) {
			p, err := in(t, g, "app", size)
			if err != nil {
				continue
			}
			all.Go(func() {
				if p.Turn(t.Context(), size, size) == nil {
					time.Sleep(each)
				}
				p.Release()
			})
		}
		g.mu.Lock()
		rate, waiting := g.rate.value(), g.requests
		g.mu.Unlock()
		if want := float64(size) / each.Seconds(); rate < want*0.9 || rate > want*1.1 {
			t.Errorf("%.0f bytes a second, %.0f are drained", rate, want)
		}
		if waiting < 25 || waiting > 35 {
			t.Errorf("%d wait, 30 are drained in 300 ms", waiting)
		}
		all.Wait()
		time.Sleep(recentFor)
		empty(t, g)
	})
}

// Those who were refused are told to come again one after the other, as fast as is drained.
func TestRetryAfterIsWhenItPays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{})
		refuse := func(app string) *Refusal {
			g.mu.Lock()
			defer g.mu.Unlock()
			return refusal(t, g.refuse(g.account(app), "test", QueueFull, 1<<20))
		}
		var last time.Duration
		for range 5 * rateAtFirst >> 20 { // of 1 MiB each: five seconds
			r := refuse("app")
			if r.RetryAfter < last {
				t.Errorf("after %v, then after %v", last, r.RetryAfter)
			}
			last = r.RetryAfter
		}
		if last != 5*time.Second {
			t.Errorf("the last one is told %v", last)
		}
		if r := refuse("quiet"); r.RetryAfter != time.Second {
			t.Errorf("another app is told %v", r.RetryAfter)
		}
		time.Sleep(5 * time.Second)
		if r := refuse("app"); r.RetryAfter != time.Second {
			t.Errorf("when they are through: %v", r.RetryAfter)
		}
		for range 1000 {
			last = refuse("app").RetryAfter
		}
		if last != retryMax {
			t.Errorf("at last %v", last)
		}
	})
}

// What was refused counts with all that it announced: half as many bodies that are twice as large
// take as long to come in.
func TestRetryAfterCountsWholeBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Memory: 4 << 20})
		var held []Pass
		for {
			p, err := in(t, g, "app", 1<<20)
			if err != nil {
				break
			}
			held = append(held, p)
		}
		const size = 8 << 20
		var last time.Duration
		for range 5 * rateAtFirst / size { // five seconds
			p, err := g.Enter(Requester{App: "app", Door: "test"}, size)
			if err == nil {
				err = p.Hold(size)
				p.Release()
			}
			last = refusal(t, err).RetryAfter
		}
		if last < 5*time.Second || last > 6*time.Second {
			t.Errorf("the last one is told %v", last)
		}
		for i := range held {
			held[i].Release()
		}
	})
}

func TestRefusalsArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Refusals: 100})
		began := time.Now()
		for range 200 {
			g.Pace(t.Context())
		}
		if took := time.Since(began); took < time.Second || took > 2*time.Second {
			t.Errorf("200 refusals took %v", took)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		g.Pace(ended)
	})
}

// Questions of one app do not keep those of another waiting.
func TestQuestionsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Questions: 1, Waiting: 50, Registerer: prometheus.NewRegistry()})
		var mu sync.Mutex
		var order []string
		ask := func(app string) {
			answered, err := g.Ask(t.Context(), Requester{App: app, Door: "questions"})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			order = append(order, app)
			mu.Unlock()
			time.Sleep(time.Second)
			answered()
		}
		for range 49 {
			go ask("flood")
			synctest.Wait()
		}
		go ask("quiet")
		synctest.Wait()
		go ask("flood") // the last that may wait
		synctest.Wait()
		_, err := g.Ask(t.Context(), Requester{App: "quiet", Door: "questions"})
		if r := refusal(t, err); r.Reason != Crowded {
			t.Errorf("%v", r)
		}
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if len(order) != 51 || order[1] != "quiet" && order[2] != "quiet" {
			t.Errorf("%d were answered, in the order %v", len(order), order)
		}
		empty(t, g)
	})
}

// Apps that have nothing under way are not remembered without bound.
func TestAppsThatAreRememberedAreBounded(t *testing.T) {
	g := New(Options{})
	for i := range 3 * accountsMax {
		p, err := g.Enter(Requester{App: fmt.Sprint("app", i), Door: "test"}, 1)
		if err != nil {
			t.Fatal(err)
		}
		p.Release()
	}
	if n := len(g.accounts); n > accountsMax {
		t.Errorf("%d apps", n)
	}
}

func BenchmarkAdmit(b *testing.B) {
	g := New(Options{})
	b.ReportAllocs()
	for b.Loop() {
		p, _ := g.Enter(Requester{App: "acme#chat", Door: "http", Address: "127.0.0.1"}, 100)
		_ = p.Hold(4 << 10)
		_ = p.Turn(b.Context(), 100, 300)
		p.Release()
	}
}
