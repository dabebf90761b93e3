package admission

import (
	"context"
	"time"

	"github.com/receiptd/receiptd/internal/fair"
)

// Pass is a request that has entered. The zero value has not.
type Pass struct {
	holder
	account *account // nil once it has left

	announced int64 // bytes of the request, as far as it said
	presumed  int64 // bytes that count as waiting for a moment; 0 once they have arrived
	entered   int64 // the span in which they began to
	decoded   int64 // what it took of the gate's memory for decoding
}

// Hold counts n more bytes that the request takes from now on, as a rule just before it reads them.
// The error is a [*Refusal].
func (p *Pass) Hold(n int64) error {
	g, a := p.gate, p.account
	g.mu.Lock()
	defer g.mu.Unlock()
	if !p.hasRoom(a, n, g.o.Memory) {
		return g.refuse(a, p.who.Door, MemoryFull, max(p.announced, p.held))
	}
	p.hold(a, n)
	p.comes(time.Now())
	return nil
}

// Turn waits until the request, of which size bytes have been read, may be decoded into what takes
// weight bytes of memory, and be put into the log's queue. The error is a [*Refusal], once the
// context ends.
func (p *Pass) Turn(ctx context.Context, size, weight int64) (err error) {
	g := p.gate
	if p.turnAtOnce(size, weight) {
		return nil
	}
	began := time.Now()
	p.decoded, err = g.decoding.Acquire(ctx, fair.Key{App: p.who.App, User: p.who.User}, weight)
	now := time.Now()
	g.metrics.waited.Observe(now.Sub(began).Seconds())
	g.mu.Lock()
	defer g.mu.Unlock()
	g.queued -= size
	g.requests--
	p.account.queued -= size
	if err != nil {
		return g.refuse(p.account, p.who.Door, Late, size)
	}
	g.rate.drained(now, size, g.requests == 0)
	return nil
}

// turnAtOnce takes the turn if nobody waits; if not, it counts the request as one that waits.
func (p *Pass) turnAtOnce(size, weight int64) (ok bool) {
	g := p.gate
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	p.arrived(now)
	if p.decoded, ok = g.decoding.TryAcquire(weight); ok {
		g.rate.drained(now, size, g.requests == 0)
		return true
	}
	g.queued += size
	g.requests++
	p.account.queued += size
	return false
}

// comes has a request count as one that will soon be there, since some of it has come. g.mu
// is held.
func (p *Pass) comes(at time.Time) {
	now := spanOf(at)
	if now == p.entered || p.presumed == 0 {
		return
	}
	for _, r := range []*recent{&p.gate.coming, &p.account.coming} {
		r.add(now, p.entered, -p.presumed)
		r.add(now, now, p.presumed)
	}
	p.entered = now
}

// arrived ends the presumption. g.mu is held.
func (p *Pass) arrived(at time.Time) {
	if p.presumed == 0 {
		return
	}
	now := spanOf(at)
	p.gate.coming.add(now, p.entered, -p.presumed)
	p.account.coming.add(now, p.entered, -p.presumed)
	p.presumed = 0
}

// Refused is the refusal of a request that the log had no room for in time.
func (p *Pass) Refused() *Refusal { return p.gate.Refused(p.who, p.held) }

// Release gives back everything that the request holds: its events are in the log's queue, or it is
// not to be. It may be called again.
func (p *Pass) Release() {
	if p.account == nil {
		return
	}
	g, a := p.gate, p.account
	g.decoding.Release(p.decoded)
	g.mu.Lock()
	defer g.mu.Unlock()
	p.arrived(time.Now())
	p.hold(a, -p.held)
	g.end(a, 1)
	p.account, p.decoded = nil, 0
}
