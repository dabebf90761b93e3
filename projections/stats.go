package projections

import "github.com/receiptd/receiptd/events"

// Stats are figures of a partition for metrics. Outcomes count since the partition was opened.
type Stats struct {
	Sequence uint64
	Clock    int64 // Unix milliseconds
	// ClockSetBack is how often the clock was taken back, since the log began.
	ClockSetBack uint64
	// Level is the level of the rules that decide the next event.
	Level      uint64
	CacheBytes int
	Changed    int // messages changed since the last capture
	Parked     int
	Poison     uint64
	Outcomes   map[events.Outcome]uint64
}

// Stats returns the partition's figures.
func (p *Partition) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Stats{
		Sequence: p.position.seq, Clock: p.position.clock.now, ClockSetBack: p.position.clock.setBack, Level: p.rules.level, CacheBytes: p.cache.bytes, Changed: len(p.changes.messages),
		Poison: p.poison.total, Outcomes: map[events.Outcome]uint64{},
	}
	for _, a := range p.apps.byNum {
		s.Parked += a.parked.count
	}
	for o, n := range p.outcomes {
		if n != 0 {
			s.Outcomes[events.Outcome(o)] = n
		}
	}
	return s
}
