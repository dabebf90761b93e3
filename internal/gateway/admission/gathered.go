package admission

import "time"

// Gathered is what requests of an app have come to at a door that gathers them, to submit them
// together and not one by one.
type Gathered struct {
	Requests int
	// Size is the bytes that have come, which wait; Held what they take in memory with what they
	// become.
	Size, Held int64
}

// Add counts other requests as well.
func (x *Gathered) Add(o Gathered) {
	x.Requests += o.Requests
	x.Size += o.Size
	x.Held += o.Held
}

// Gather admits requests by the rules of [Gate.Enter] and [Pass.Hold]. The error is a [*Refusal].
// They wait until [Gate.Submitted].
func (g *Gate) Gather(who Requester, x Gathered) error {
	now := spanOf(time.Now())
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.account(who.App)
	if reason := g.crowded(a, now); reason != "" {
		return g.refuse(a, who.Door, reason, x.Size)
	}
	h := holder{gate: g, who: who}
	if !h.hasRoom(a, x.Held, g.o.Memory) {
		return g.refuse(a, who.Door, MemoryFull, x.Size)
	}
	h.hold(a, x.Held)
	g.begin(a, x.Requests)
	g.requests += x.Requests
	g.queued += x.Size
	a.queued += x.Size
	return nil
}

// Submitted ends the waiting of what was gathered: the log has it or, unless taken, it is not to be
// stored. What is still held then, such as the addresses of answers, is given back with
// [Gate.Answered].
func (g *Gate) Submitted(who Requester, x Gathered, taken bool, still int64) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.account(who.App)
	g.requests -= x.Requests
	g.queued -= x.Size
	a.queued -= x.Size
	g.end(a, x.Requests)
	h := holder{gate: g, who: who}
	h.hold(a, still-x.Held)
	if taken {
		// There is always something, of what has come while this was submitted.
		const moment = 0.01 // seconds
		g.rate.drained(now, x.Size, float64(g.queued) < g.rate.value()*moment)
	}
}

// Answered gives back n bytes that requests held which were gathered.
func (g *Gate) Answered(who Requester, n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := holder{gate: g, who: who}
	h.hold(g.account(who.App), -n)
}

// Refused is the refusal of a request of n bytes that the log had no room for in time.
func (g *Gate) Refused(who Requester, n int64) *Refusal {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refuse(g.account(who.App), who.Door, Late, max(n, unannounced))
}
