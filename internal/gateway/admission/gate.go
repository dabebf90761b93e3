package admission

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/receiptd/receiptd/internal/fair"
)

// Options of a [Gate]. Zero values mean the defaults.
type Options struct {
	// Memory bounds what all requests hold of what has arrived and is not in the log's queue yet,
	// in bytes; an app or an address may hold half of it. Default 64 MiB.
	Memory int64
	// Decoding bounds what all requests hold decoded, in bytes. Default 2 MiB for each processor
	// that Go may use, and at least 4 MiB.
	Decoding int64
	// Queue is how long what waits may take to drain. Default 300 ms.
	Queue time.Duration
	// Questions bounds the questions to the state that are asked at the same time, Waiting those
	// that wait to be asked. Defaults 16 for each processor, and 4096.
	Questions, Waiting int
	// Refusals bounds how many refusals are answered in a second. Default 1000 for each processor.
	Refusals int
	// Weight is the share of an app beside those of others, at least 1; nil = 1 for each.
	Weight func(app string) int
	// Registerer gets the metrics; nil = nobody does.
	Registerer prometheus.Registerer
}

func (o Options) withDefaults() Options {
	processors := runtime.GOMAXPROCS(0)
	for _, d := range []struct {
		value    *int64
		standard int64
	}{
		{&o.Memory, 64 << 20},
		{&o.Decoding, max(4<<20, int64(processors)*2<<20)},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	for _, d := range []struct {
		value    *int
		standard int
	}{
		{&o.Questions, 16 * processors}, {&o.Waiting, 4096}, {&o.Refusals, 1000 * processors},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	if o.Queue <= 0 {
		o.Queue = 300 * time.Millisecond
	}
	return o
}

// Gate admits requests: see the package comment. Its methods may be called from many goroutines.
type Gate struct {
	o         Options
	decoding  *fair.Semaphore
	questions *fair.Semaphore
	refusals  *rate.Limiter
	metrics   *metrics

	mu        sync.Mutex
	accounts  map[string]*account
	addresses map[string]int64 // bytes held, of those that hold any
	weights   float64          // of the accounts that have something under way
	held      int64            // bytes
	queued    int64            // bytes that wait for their turn
	requests  int              // that wait for their turn
	coming    recent
	rate      drainRate
}

// account is what the gate knows of an app.
type account struct {
	weight   float64
	underWay int   // requests that have entered and not left
	held     int64 // bytes
	queued   int64 // bytes that wait for their turn
	coming   recent
	due      time.Time // when what was refused is through
}

// accountsMax is how many apps are remembered that have nothing under way.
const accountsMax = 4096

// New makes a gate.
func New(o Options) *Gate {
	o = o.withDefaults()
	g := &Gate{
		o:         o,
		decoding:  fair.New(fair.Options{Capacity: o.Decoding, Weight: o.Weight}),
		questions: fair.New(fair.Options{Capacity: int64(o.Questions), MaxWaiting: o.Waiting, Weight: o.Weight}),
		refusals:  rate.NewLimiter(rate.Limit(o.Refusals), o.Refusals/4+1),
		accounts:  map[string]*account{},
		addresses: map[string]int64{},
	}
	g.metrics = newMetrics(g)
	return g
}

// Requester says whom a request is from and by which door it comes: the gate shares by app, user
// and address.
type Requester struct {
	// App is the tenant and User the user who is known to send, if it is one.
	App, User string
	// Door is where the request comes in: a label of the metrics, such as "http".
	Door string
	// Waits has the request wait for its turn, however much waits already. It is for small
	// requests, of which only so many can be under way.
	Waits bool
	// Address is what the request came from, without a port; empty if that means nothing.
	Address string
}

// presumedMax bounds what is expected of a request that announces more, and unannounced is what is
// expected of one that announces nothing.
const (
	presumedMax = 128 << 10
	unannounced = 4 << 10
)

// Enter begins a request, of which nothing has been read but what it says of itself. announced is
// how many bytes it says will come, -1 if it does not say. The error is a [*Refusal]. A pass is for
// one goroutine at a time, and ends with [Pass.Release].
func (g *Gate) Enter(who Requester, announced int64) (Pass, error) {
	if announced < 0 {
		announced = unannounced
	}
	p := Pass{holder: holder{gate: g, who: who}, announced: announced, presumed: min(announced, presumedMax)}
	now := time.Now()
	p.entered = spanOf(now)
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.account(who.App)
	if !who.Waits {
		if reason := g.crowded(a, p.entered); reason != "" {
			return Pass{}, g.refuse(a, who.Door, reason, announced)
		}
	}
	g.begin(a, 1)
	p.account = a
	g.coming.add(p.entered, p.entered, p.presumed)
	a.coming.add(p.entered, p.entered, p.presumed)
	return p, nil
}

// crowded is why nothing more of an app may begin to wait, empty if it may. g.mu is held, as in
// what follows.
func (g *Gate) crowded(a *account, now int64) Reason {
	// An app that is quiet is not refused for what others have waiting.
	weights := max(a.weight, g.weights)
	if a.underWay == 0 {
		weights = g.weights + a.weight
	}
	most := float64(g.limit())
	switch {
	case g.waits(now) < int64(most) || a.waits(now) < int64(most*a.weight/weights):
		return ""
	case a.weight < weights:
		return OverShare
	}
	return QueueFull
}

// begin counts n requests as under way, and end as no longer so.
func (g *Gate) begin(a *account, n int) {
	if a.underWay == 0 {
		g.weights += a.weight
	}
	a.underWay += n
}

func (g *Gate) end(a *account, n int) {
	if a.underWay -= n; a.underWay == 0 {
		g.weights -= a.weight
	}
}

// limit is how much may wait, in bytes.
func (g *Gate) limit() int64 {
	const least = 1 << 20
	return min(max(least, int64(g.rate.value()*g.o.Queue.Seconds())), g.o.Memory/2)
}

func (g *Gate) waits(now int64) int64    { return g.queued + g.coming.sum(now) }
func (a *account) waits(now int64) int64 { return a.queued + a.coming.sum(now) }

// account returns what is known of an app.
func (g *Gate) account(app string) *account {
	if a := g.accounts[app]; a != nil {
		return a
	}
	if len(g.accounts) >= accountsMax {
		now := time.Now()
		for app, a := range g.accounts {
			if a.underWay == 0 && a.held == 0 && a.due.Before(now) {
				delete(g.accounts, app)
			}
		}
	}
	a := &account{weight: float64(g.Weight(app))}
	g.accounts[app] = a
	return a
}

// Weight is the share of an app beside those of others, at least 1.
func (g *Gate) Weight(app string) int {
	if g.o.Weight == nil {
		return 1
	}
	return max(1, g.o.Weight(app))
}

// Ask waits until a question of the app to the state may be asked, fairly by app and user. The
// error is a [*Refusal], or the cause of the context's end. answered must be called when it is.
func (g *Gate) Ask(ctx context.Context, who Requester) (answered func(), err error) {
	taken, err := g.questions.Acquire(ctx, fair.Key{App: who.App, User: who.User}, 1)
	switch {
	case errors.Is(err, fair.ErrCrowded):
		g.mu.Lock()
		defer g.mu.Unlock()
		g.metrics.refused.WithLabelValues(who.Door, string(Crowded)).Inc()
		return nil, &Refusal{Reason: Crowded, RetryAfter: retryMin}
	case err != nil:
		return nil, err
	}
	return func() { g.questions.Release(taken) }, nil
}
