package history

import (
	"slices"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/events"
)

// split cuts the entries of a log into smaller ones at random, at the same broker times and in the
// same order. Every event has the outcome it had before, and the state is the same except for the
// sequences in it (positions of rejections and of poison entries): those of the result count from 2
// without gaps. The upto of a statistic.seen is translated; 1 is before everything.
func split(t *rapid.T, l Log) Log {
	var out Log
	last := map[uint64]uint64{} // old sequence -> the last new one of that entry
	for _, e := range l {
		rest := slices.Clone(e.Events)
		for i := range rest {
			if ev := &rest[i]; ev.Device != "" { // which cannot have seen what is in the same entry
				ev.Upto = min(ev.Upto, e.Sequence-1)
			}
		}
		for first := true; first || len(rest) > 0; first = false {
			n := len(rest)
			if n > 1 && often(t, 1+pick(t, 2)) {
				n = 1 + pick(t, n)
			}
			out = append(out, Entry{Sequence: uint64(len(out) + 2), At: e.At, Events: rest[:n:n], Poison: e.Poison})
			rest = rest[n:]
		}
		last[e.Sequence] = uint64(len(out) + 1)
	}
	translate(out, l, last)
	return out
}

// translate replaces each upto by the last new sequence of the latest old entry up to it.
func translate(out, l Log, last map[uint64]uint64) {
	for i := range out {
		for j := range out[i].Events {
			ev := &out[i].Events[j]
			if ev.Upto == 0 {
				continue
			}
			upto := uint64(1)
			for _, e := range l {
				if e.Sequence <= ev.Upto {
					upto = last[e.Sequence]
				}
			}
			if ev.Upto > l[len(l)-1].Sequence {
				upto = ev.Upto + uint64(len(out)) // beyond all of them, as it was
			}
			ev.Upto = upto
		}
	}
}

// Repeat makes producers send some events twice, one right after the other. The repetition never
// has an effect: the state is the same except for the rejections and the indexes in them.
func Repeat(t *rapid.T, l Log) Log {
	out := slices.Clone(l)
	for i := range out {
		var evs = out[i].Events[:0:0]
		for _, ev := range out[i].Events {
			evs = append(evs, ev)
			if seldom(t, 2) {
				evs = append(evs, ev)
			}
		}
		out[i].Events = evs
	}
	return out
}

// Resend makes producers send runs of earlier events again, in entries of their own between the
// others, as after an answer that was lost. That may well change the state; only the model can
// tell.
func Resend(t *rapid.T, l Log) Log {
	var out Log
	for i := range l {
		out = append(out, l[i])
		if seldom(t, 3) {
			from := max(0, i-pick(t, 4))
			for _, e := range l[from : i+1] {
				if e.Poison == "" {
					out = append(out, Entry{At: l[i].At, Events: slices.Clone(e.Events)})
				}
			}
		}
	}
	for i := range out {
		out[i].Events = slices.Clone(out[i].Events)
		out[i].Sequence = uint64(i + 1)
	}
	return out
}

// opKind says what an op does.
type opKind uint8

// The operations.
const (
	// opApply applies an entry.
	opApply opKind = iota
	// opCheckpoint makes the state and its position durable.
	opCheckpoint
	// opRestart drops what is not durable: back to the last checkpoint, or to nothing.
	opRestart
)

// op is one step of a log on its way through a fold.
type op struct {
	Kind opKind
	// Entry is the index of the entry that is applied.
	Entry int
}

// schedule is a random way through a log with checkpoints and restarts. It applies every entry in
// order. After a restart it goes on with the first entry that the checkpoint does not reflect, or
// with an earlier one, which has to be skipped. At its end everything was applied after the last
// restart, or is durable.
func schedule(t *rapid.T, l Log) []op {
	var ops []op
	durable := 0 // entries in the last checkpoint
	for next := 0; next < len(l); {
		ops = append(ops, op{opApply, next})
		next++
		switch pick(t, 12) {
		case 10:
			if next > durable { // an entry applied again does not move the position back
				durable = next
			}
			ops = append(ops, op{Kind: opCheckpoint})
		case 11:
			ops = append(ops, op{Kind: opRestart})
			next = durable
			if seldom(t, 2) {
				next = max(0, durable-pick(t, 3))
			}
		}
	}
	return ops
}

// Raise raises the level of the rules at random places of a log, to one of [SmallLevels] or to what
// it is already, at the beginning, in the middle or at the end of an entry.
func Raise(t *rapid.T, l Log) Log {
	out := slices.Clone(l)
	for range 1 + pick(t, 4) {
		e := &out[pick(t, len(out))]
		if e.Poison != "" {
			continue
		}
		ev := events.Event{App: events.LevelApp, Kind: events.RulesLevel, Revision: uint64(1 + pick(t, 1+len(SmallLevels())))}
		e.Events = slices.Insert(slices.Clone(e.Events), pick(t, len(e.Events)+1), ev)
	}
	return out
}

// Repartition has the log say at random places that it has two partitions, and then four, and
// raises the level of the rules, mostly before.
func Repartition(t *rapid.T, l Log) Log {
	out := slices.Clone(l)
	add := func(at int, ev events.Event) {
		e := &out[at]
		if e.Poison == "" {
			e.Events = slices.Insert(slices.Clone(e.Events), pick(t, len(e.Events)+1), ev)
		}
	}
	add(pick(t, len(out)/3+1), events.Event{App: events.LevelApp, Kind: events.RulesLevel, Revision: 2})
	for n := uint64(2); n <= 4; n *= 2 {
		add(pick(t, len(out)), events.Event{App: events.LevelApp, Kind: events.LogRepartitioned, Revision: n})
	}
	return out
}
