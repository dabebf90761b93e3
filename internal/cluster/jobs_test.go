package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/receiptd/receiptd/internal/lab/simnet"
)

// short is a job that takes a second only.
const short = "short"

// errand is two nodes, of which b does jobs for a: each takes so long, and tells of every second.
type errand struct {
	net          *simnet.Network
	a, b         *simnet.Node
	asker, does  *Jobs
	takes        time.Duration
	begun, ended atomic.Int64
}

func (e *errand) do(ctx context.Context, call string, tell func(any)) any {
	e.begun.Add(1)
	defer e.ended.Add(1)
	takes := e.takes
	if call == short {
		takes = time.Second
	}
	for began := time.Now(); time.Since(began) < takes; {
		select {
		case <-time.After(time.Second):
			tell(fmt.Sprint(call, " for ", time.Since(began).Round(time.Second)))
		case <-ctx.Done():
			return "cut off"
		}
	}
	return call + " is done"
}

// errands has f run with such nodes, by the clock of a bubble.
func errands(t *testing.T, takes time.Duration, f func(t *testing.T, ctx context.Context, e *errand)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		e := &errand{net: simnet.New(rand.New(rand.NewPCG(1, 2)), simDelay, ErrNobody), takes: takes}
		e.a, e.b = e.net.Add("a"), e.net.Add("b")
		e.asker = &Jobs{Bus: e.a, Node: "a"}
		e.does = &Jobs{Bus: e.b, Node: "b", Do: e.do}
		served := make(chan struct{})
		go func() {
			defer close(served)
			if err := e.does.Serve(ctx); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		f(t, ctx, e)
		e.net.Heal()
		cancel()
		<-served
		time.Sleep(time.Minute) // by the clock of the bubble: what is under way ends
		if e.begun.Load() != e.ended.Load() {
			t.Errorf("%d jobs were begun, %d ended", e.begun.Load(), e.ended.Load())
		}
	})
}

// have has b do a job, and returns what it was told meanwhile.
func (e *errand) have(ctx context.Context, call string) (last string, told []string, err error) {
	text, err := e.asker.RunOn(ctx, "b", call, func(line json.RawMessage) {
		var s string
		_ = json.Unmarshal(line, &s)
		told = append(told, s)
	})
	_ = json.Unmarshal(text, &last)
	return last, told, err
}

// A job that another node does is done once, however many messages are lost, and its lines come in
// their order while it goes on.
func TestJobsOfOtherNodes(t *testing.T) {
	for _, loss := range []float64{0, 0.1} {
		errands(t, time.Minute, func(t *testing.T, ctx context.Context, e *errand) {
			e.net.SetLoss(loss)
			last, told, err := e.have(ctx, "x?y=1")
			if err != nil || last != "x?y=1 is done" || e.begun.Load() != 1 {
				t.Errorf("loss %v: %q, %v, begun %d times", loss, last, err, e.begun.Load())
			}
			if len(told) < 10 || loss == 0 && len(told) < 55 {
				t.Errorf("loss %v: told %d lines of 60", loss, len(told))
			}
			for i := 1; i < len(told); i++ {
				if len(told[i]) < len(told[i-1]) || !strings.HasPrefix(told[i], "x?y=1 for ") {
					t.Errorf("loss %v: %q after %q", loss, told[i], told[i-1])
				}
			}
		})
	}
}

// Nobody waits for a node that is gone, and no node goes on for somebody who is.
func TestJobsEndWithEitherNode(t *testing.T) {
	errands(t, time.Hour, func(t *testing.T, ctx context.Context, e *errand) {
		asking, leave := context.WithTimeout(ctx, 5*time.Second)
		defer leave()
		if _, _, err := e.have(asking, "x"); err == nil {
			t.Error("it was done at once")
		}
		time.Sleep(2 * jobKeep) // by the clock of the bubble
		if e.ended.Load() != 1 {
			t.Error("the job goes on, and nobody asks for it")
		}
		began := time.Now()
		time.AfterFunc(5*time.Second, e.b.Pause)
		if _, _, err := e.have(ctx, "y"); err == nil || !strings.Contains(err.Error(), "b does not answer") || time.Since(began) > 5*time.Second+2*jobKeep {
			t.Errorf("a node that stands still: after %v, %v", time.Since(began), err)
		}
		e.b.Resume()
		e.b.Kill()
		began = time.Now()
		if _, _, err := e.have(ctx, "z"); err == nil || time.Since(began) > 2*jobKeep {
			t.Errorf("a node that is gone: after %v, %v", time.Since(began), err)
		}
		e.b.Start()
	})
}

// A node whose process ends in the middle of a job does it again with the next one.
func TestJobBeginsAgainWithTheNextProcess(t *testing.T) {
	errands(t, 20*time.Second, func(t *testing.T, ctx context.Context, e *errand) {
		next := &Jobs{Bus: e.b, Node: "b", Do: func(ctx context.Context, call string, tell func(any)) any {
			return "next: " + e.do(ctx, call, tell).(string)
		}}
		time.AfterFunc(10*time.Second, func() {
			go func() { _ = next.Serve(ctx) }()
		})
		if last, _, err := e.have(ctx, "x"); err != nil || last != "next: x is done" {
			t.Errorf("%q, %v", last, err)
		}
	})
}

// A node has so many jobs for others at a time, and room for more when they are over.
func TestJobsAreBounded(t *testing.T) {
	errands(t, time.Hour, func(t *testing.T, ctx context.Context, e *errand) {
		asking, leave := context.WithCancel(ctx)
		for range maxJobs {
			go func() { _, _, _ = e.have(asking, "x") }()
		}
		time.Sleep(time.Second) // by the clock of the bubble
		if _, _, err := e.have(ctx, "y"); err == nil || !strings.Contains(err.Error(), "as much") {
			t.Errorf("one more than there is room for: %v", err)
		}
		leave()
		time.Sleep(2 * jobKeep) // by the clock of the bubble
		if last, _, err := e.have(ctx, short); err != nil || last != "short is done" {
			t.Errorf("when the others are over: %q, %v", last, err)
		}
	})
}

// FuzzJob: whatever comes as the question for a job, it is begun once or refused, and what it came
// to is there for whoever asks again.
func FuzzJob(f *testing.F) {
	for _, q := range []jobQuestion{{"1", "verify?from=log", 0}, {"", "verify", 0}, {"2", "", -1}, {"3", "\x00", 1 << 62}} {
		text, err := json.Marshal(q)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, text []byte) {
		ctx, cancel := context.WithCancel(t.Context())
		var begun atomic.Int64
		j := &Jobs{Node: "b", Do: func(_ context.Context, call string, _ func(any)) any {
			begun.Add(1)
			return call
		}}
		first := j.answer(ctx, text)
		var q jobQuestion
		if is := json.Unmarshal(text, &q) == nil && q.ID != ""; is != (first.Refused == "") || first.Line < 0 || first.Line > 1 {
			t.Errorf("%q: %+v", text, first)
		}
		if first.Refused == "" {
			q.After = 0
			again, err := json.Marshal(q)
			if err != nil {
				t.Fatal(err)
			}
			var call string
			if a := j.answer(ctx, again); !a.Last || json.Unmarshal(a.Text, &call) != nil || call != q.Call || begun.Load() != 1 {
				t.Errorf("%q: then %+v, begun %d times", text, a, begun.Load())
			}
		}
		cancel()
		j.work.Wait()
	})
}
