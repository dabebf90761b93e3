package cluster

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// traffic is clients at work through all nodes: some that write, one that asks strongly, sessions,
// and a listener for the author of each group.
type traffic struct {
	c       *client
	history *history
	ears    []*listener

	stop, deaf         atomic.Bool
	clients, listeners sync.WaitGroup
}

func startTraffic(c *client, writers, sessions int) *traffic {
	t := &traffic{c: c, history: newHistory(), ears: make([]*listener, groups)}
	part := func(k int, f func(*rand.Rand)) {
		t.clients.Go(func() { f(rand.New(rand.NewPCG(*seed, uint64(k)))) })
	}
	for k := range writers {
		part(k, func(r *rand.Rand) { c.write(k, r, t.history, &t.stop) })
	}
	part(10, func(r *rand.Rand) { c.strong(r, t.history, &t.stop) })
	for k := range sessions {
		part(11+k, func(r *rand.Rand) { c.session(r, t.history, &t.stop) })
	}
	for g := range groups {
		t.ears[g] = &listener{c: c, user: fmt.Sprintf("g%d-u0", g), counts: map[string]int{}}
		r := rand.New(rand.NewPCG(*seed, uint64(20+g)))
		t.listeners.Go(func() { t.ears[g].listen(r, &t.deaf) })
	}
	return t
}

// finish ends it and checks all that was seen, and what is left. Only spoilt machines may have had
// to fold again; the archive, if there is one, has each row once.
func (t *traffic) finish(spoilt map[*machine]bool, a *archive) {
	t.c.t.Helper()
	t.stop.Store(true)
	t.clients.Wait()
	least := t.c.settled(t.history, spoilt)
	for _, e := range t.ears {
		e.complete(t.history)
	}
	t.deaf.Store(true)
	t.listeners.Wait()
	t.history.linearizable(t.c.t)
	if a != nil {
		a.exact(t.c, t.history, least)
	}
}
