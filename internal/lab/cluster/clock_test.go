package cluster

import (
	"math/rand/v2"
	"time"
)

// clockFault is the name of the fault, by which it is known before the programs are built.
const clockFault = "clock"

const (
	// clockLeast and clockMost are by how much a clock is wrong.
	clockLeast = time.Second
	clockMost  = 10 * time.Minute
)

func ownClocks(l *lab) string {
	if l.nodes[0].clock != nil {
		return ""
	}
	return "the programs were not built with a clock"
}

// wrongClock has the wall clock of a machine jump back and forth. In the end it is right, or stays
// as it is through the faults that follow; or the machine dies and comes back with it.
func (l *lab) wrongClock(r *rand.Rand) {
	m := pick(r, l.all())
	for range 2 + r.IntN(4) {
		l.setClock(m, between(r, clockLeast, clockMost)*time.Duration(1-2*r.IntN(2)))
		time.Sleep(l.lasts(r, l.longest/4)) // it goes on with that clock
	}
	switch r.IntN(3) {
	case 0:
		l.setClock(m, 0)
	case 1:
		m.kill()
		l.note("kill", m)
		m.start()
	}
}

func (l *lab) setClock(m *machine, fast time.Duration) {
	l.t.Logf("clock: %s is %v fast", m.name, fast)
	if err := m.clock.Set(fast); err != nil {
		l.t.Error(err)
	}
}
