package overload

import (
	"context"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/receiptd/receiptd/internal/lab/bench/measure"
)

// flood are the connections that send as fast as they are answered.
type flood struct {
	run       *run
	traffic   *traffic
	tenants   int
	latencies measure.Samples // of what was accepted
	accepted  atomic.Int64    // requests
	refused   atomic.Int64
	unknown   atomic.Int64 // without an answer, or with one that does not say
	codes     sync.Map     // how often each error came, by code: *atomic.Int64
}

// sent is what became of a sender's requests; it is kept for the check at the end.
type sent struct {
	traffic        *traffic
	tenant, sender int
	accepted       []int32 // numbers
	refused        []int32 // some of them
}

// pour has connections send until the duration is over, and waits for their last answers.
func (f *flood) pour(ctx context.Context, connections int, duration time.Duration) {
	until := time.Now().Add(duration)
	var all sync.WaitGroup
	for i := range connections {
		s := &sent{traffic: f.traffic, tenant: i % f.tenants, sender: f.run.nextSender()}
		f.run.ledger = append(f.run.ledger, s)
		all.Go(func() { f.send(ctx, s, until, duration/10) })
	}
	all.Wait()
}

// send is one connection. They begin within some time, not all at once.
func (f *flood) send(ctx context.Context, s *sent, until time.Time, within time.Duration) {
	c := f.run.client("application/x-ndjson")
	defer c.close()
	sleep(ctx, rand.N(within))
	for request := 0; time.Now().Before(until) && ctx.Err() == nil; request++ {
		began := time.Now()
		a, err := c.ask(ctx, "POST", path(s.tenant)+"/events", f.traffic.size(), func(w io.Writer) error {
			return f.traffic.write(w, s.sender, request)
		})
		switch {
		case err != nil:
			f.unknown.Add(1)
			f.count("no answer")
		case a.status == 200:
			f.latencies.Add(time.Since(began))
			f.accepted.Add(1)
			s.accepted = append(s.accepted, int32(request))
		case a.code() == "503 overloaded" || a.code() == "429 overloaded":
			f.refused.Add(1)
			f.count(a.code())
			if len(s.refused) < 4 {
				s.refused = append(s.refused, int32(request))
			}
			if !f.run.o.Impatient && a.retryAfter > 0 {
				wait := min(a.retryAfter+rand.N(time.Second), time.Until(until))
				sleep(ctx, wait)
			}
		default:
			f.unknown.Add(1)
			f.count(a.code())
		}
	}
}

func (f *flood) count(code string) {
	n, _ := f.codes.LoadOrStore(code, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
}

func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// quietEvery is the time between two requests of the quiet tenant.
const quietEvery = 10 * time.Millisecond

// quiet are the requests of the quiet tenant: a receipt each, on a schedule that does not wait for
// answers, over some connections, each answered when it can be queried.
type quiet struct {
	run     *run
	clients chan *client
	sent    *sent
	running sync.WaitGroup

	mu        sync.Mutex
	next      int
	latencies *measure.Samples
	failed    int
	example   string
}

func newQuiet(r *run) *quiet {
	q := &quiet{run: r, clients: make(chan *client, 64), sent: &sent{traffic: newTraffic(1), tenant: quietTenant, sender: r.nextSender()}}
	for range cap(q.clients) {
		q.clients <- r.client("application/x-ndjson")
	}
	r.ledger = append(r.ledger, q.sent)
	return q
}

// ask asks on schedule until the context ends, or a number of requests was made, and returns how
// they were answered.
func (q *quiet) ask(ctx context.Context, most int) (latencies *measure.Samples, failed int) {
	latencies = new(measure.Samples)
	q.mu.Lock()
	q.latencies, q.failed = latencies, 0
	q.mu.Unlock()
	tick := time.NewTicker(quietEvery)
	defer tick.Stop()
	for n := 0; (most == 0 || n < most) && ctx.Err() == nil; n++ {
		select {
		case <-ctx.Done():
		case due := <-tick.C:
			q.running.Go(func() { q.one(due) })
		}
	}
	q.running.Wait()
	q.mu.Lock()
	defer q.mu.Unlock()
	return latencies, q.failed
}

// one makes a request that was due at a time, from which its latency counts.
func (q *quiet) one(due time.Time) {
	c := <-q.clients
	defer func() { q.clients <- c }()
	q.mu.Lock()
	n := q.next
	q.next++
	q.mu.Unlock()
	t := q.sent.traffic
	a, err := c.ask(context.Background(), "POST", path(quietTenant)+"/events?wait=applied", t.size(), func(w io.Writer) error {
		return t.write(w, q.sent.sender, n)
	})
	took := time.Since(due)
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil || a.status != 200 {
		q.failed++
		q.example = a.code()
		return
	}
	q.sent.accepted = append(q.sent.accepted, int32(n))
	q.latencies.Add(took)
}

// probes ask what an operator does.
type probes struct {
	slowest  map[string]time.Duration
	failures map[string]int
}

// probed are the paths of the probes. Readiness is one: it says whether traffic should come.
var probed = []string{"/healthz", "/readyz", "/metrics", "/"}

// probe asks each path now and then until the context ends.
func (r *run) probe(ctx context.Context) *probes {
	p := &probes{slowest: map[string]time.Duration{}, failures: map[string]int{}}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, path := range probed {
		all.Go(func() {
			c := r.client("text/plain")
			defer c.close()
			for ctx.Err() == nil {
				began := time.Now()
				a, err := c.ask(context.Background(), "GET", path, 0, nil)
				mu.Lock()
				p.slowest[path] = max(p.slowest[path], time.Since(began))
				if err != nil || a.status != 200 {
					p.failures[path]++
				}
				mu.Unlock()
				sleep(ctx, 50*time.Millisecond)
			}
		})
	}
	all.Wait()
	return p
}
