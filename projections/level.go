package projections

import (
	"bytes"
	"encoding/binary"
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

// ruleset is what decides an event besides the state: the rules that the whole of the state was
// folded by, and what the level in force makes of them.
type ruleset struct {
	number uint64 // by which all of the state was folded, from the first entry on: see [Rules]
	level  uint64 // of the rules that decide the next event
	levels []Level
	limits Limits
}

func newRuleset(o *Options) ruleset {
	r := ruleset{levels: o.Levels, limits: o.Limits.orDefaults()}
	if r.levels == nil {
		r.levels = levels
	}
	return r
}

// raise brings a higher level into force.
func (r *ruleset) raise(level uint64) error {
	from := r.level
	r.level = level
	return r.change(from)
}

// change makes the limits those of the level in force, which were those of another one.
func (r *ruleset) change(from uint64) error {
	level := r.level
	if known := uint64(1 + len(r.levels)); level > known {
		return fmt.Errorf("%w: level %d, and it knows those up to %d", ErrLevel, level, known)
	}
	for _, change := range r.levels[from-1 : level-1] {
		change(&r.limits)
	}
	return nil
}

// levelPrefix stands before the number of the rules where a level follows it. Versions that know no
// levels read it as a number that is too large, and so take the state for corrupt.
const levelPrefix = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"

// encode appends the number of the rules, and the level if there is one that earlier versions do
// not know: at level 1 the state is theirs, too.
func (r *ruleset) encode(dst []byte) []byte {
	if r.level == 1 {
		return binary.AppendUvarint(dst, r.number)
	}
	return binary.AppendUvarint(binary.AppendUvarint(append(dst, levelPrefix...), r.number), r.level)
}

// decode reports whether there was a level, after which more may follow.
func (r *ruleset) decode(v *reader) (leveled bool) {
	r.number, r.level = 0, 1
	v.b, leveled = bytes.CutPrefix(v.b, []byte(levelPrefix))
	if len(v.b) > 0 {
		r.number = v.uvarint()
	}
	if leveled {
		r.level = v.uvarint()
		v.bad = v.bad || r.level < 2
	}
	return leveled
}

// Level is the level of the rules that decides the next event.
func (p *Partition) Level() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rules.level
}

// rulesLevel decides rules.level: docs/rules.md, the section of that name.
func (p *Partition) rulesLevel(i int) (events.Outcome, error) {
	level := p.scratch.attributes(i).Revision
	if level <= p.rules.level {
		return events.OutcomeDuplicate, nil
	}
	return events.OutcomeApplied, p.rules.raise(level)
}
