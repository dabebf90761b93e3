package projections

import (
	"errors"
	"fmt"

	"github.com/receiptd/receiptd/events"
)

// Level is what a level of the rules changes in the limits that the one before it had. A log is at
// level 1 until an entry raises it, and an event is decided by the level that is in force at its
// place in the log: so programs that know different levels decide alike, and what was decided stays
// decided. A rule that changes otherwise than by a limit asks the partition for its level.
//
// [Rules] are something else: they say how a program decides all of a log, and a state of earlier
// ones is folded again.
type Level func(*Limits)

// levels are those that this version knows, from level 2 on. Level 2 changes no limit: with it
// log.repartitioned is known.
var levels = []Level{func(*Limits) {}}

// MaxLevel is the highest level that this version decides by.
func MaxLevel() uint64 { return uint64(1 + len(levels)) }

// RaisedLevel is the level that is raised without anybody asking for it, by those who all know one.
// What only a repartition needs is raised by that: until then an earlier version may fold the log.
func RaisedLevel(known uint64) uint64 {
	if known == RepartitionLevel {
		return 1
	}
	return known
}

// ErrLevel is wrapped by the errors of [Open] and [Partition.Apply] where the log is at a level
// that this version does not know: only a later version can fold on.
var ErrLevel = errors.New("the log is at a level of the rules that this version does not know; it takes a later version")

// Level is the level of the rules that decides the next event.
func (p *Partition) Level() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.level
}

// rulesLevel decides rules.level: docs/rules.md, the section of that name.
func (p *Partition) rulesLevel(i int) (events.Outcome, error) {
	level := p.scratch.attributes(i).Revision
	if level <= p.level {
		return events.OutcomeDuplicate, nil
	}
	from := p.level
	p.level = level
	return events.OutcomeApplied, p.raise(from)
}

// loadLevel brings the level that was stored into force.
func (p *Partition) loadLevel() error { return p.raise(1) }

// raise makes the limits those of the level in force, which were those of another one.
func (p *Partition) raise(from uint64) error {
	if known := uint64(1 + len(p.levels)); p.level > known {
		return fmt.Errorf("%w: level %d, and it knows those up to %d", ErrLevel, p.level, known)
	}
	for _, change := range p.levels[from-1 : p.level-1] {
		change(&p.limits)
	}
	return nil
}
