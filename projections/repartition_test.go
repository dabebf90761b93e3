package projections_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/oracle"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
	"github.com/receiptd/receiptd/projections"
)

// TestSplitIsAsFromTheStart compares a log of one partition that is split in the middle with the
// same events in a log of two partitions: where no bound was met, all answers are the same.
func TestSplitIsAsFromTheStart(t *testing.T) {
	logs := history.Logs()
	moved := 0
	rapid.Check(t, func(t *rapid.T) {
		log := logs.Draw(t, "log")
		for i := range log {
			for j := range log[i].Events {
				if e := &log[i].Events[j]; e.Settings != nil {
					plain := *e.Settings
					plain.Alerts = nil // their parts stay with the partition that was split
					e.Settings = &plain
				}
			}
		}
		at := rapid.IntRange(0, len(log)-1).Draw(t, "at")
		for id := range 2 {
			split, whole := newFold(t, memory{}, rapid.IntRange(0, 2000).Draw(t, "cache")), newFold(t, memory{}, 0)
			for _, f := range []*fold{split, whole} {
				f.options.Limits, f.options.Levels = projections.Limits{CachedItems: 1}, nil
				f.be(id)
			}
			model := oracle.New(id)
			for i, e := range log {
				mine := e
				if id == 1 {
					mine.Poison = ""
				}
				mine.Events = slices.Clone(e.Events)
				for j := range mine.Events {
					if ev := &mine.Events[j]; ev.Group+ev.Peer != "" && events.Partition(ev, 2) != id {
						*ev = events.Event{App: "no#app", Kind: events.GroupDissolved, Group: "g"}
						if i > at {
							e.Events = slices.Clone(e.Events)
							e.Events[j] = *ev
						}
						moved++
					}
				}
				if i > at {
					e.Poison = mine.Poison
				}
				whole.apply(mine)
				mine.Apply(model)
				if split.apply(e); i != at {
					continue
				}
				point := history.Entry{Sequence: e.Sequence, At: e.At, Events: []events.Event{
					{App: events.LevelApp, Kind: events.RulesLevel, Revision: 2},
					{App: events.LevelApp, Kind: events.LogRepartitioned, Revision: 2},
				}}
				// It stands in the place of an entry that does nothing in the other log.
				point.Sequence, log = point.Sequence+1, shifted(log, i)
				split.apply(point)
				nothing := history.Entry{Sequence: point.Sequence, At: point.At}
				whole.apply(nothing)
				nothing.Apply(model)
			}
			compareWithModel(t, whole.part, model)
			compareWithModel(t, split.part, model)
			split.commitAll()
			whole.commitAll()
			split.noStrays()
			for _, table := range "CcMUmqLhHP" {
				a, b := split.rows(byte(table)), whole.rows(byte(table))
				if a != b {
					t.Fatalf("%d rows in table %c, %d from the start", a, table, b)
				}
			}
			if got := split.part.Partitions(); got != 2 {
				t.Fatalf("the log has %d partitions by the state", got)
			}
		}
	})
	if moved == 0 {
		t.Error("no event was of the other partition")
	}
}

// shifted gives the entries after one the next sequences.
func shifted(log history.Log, after int) history.Log {
	for i := after + 1; i < len(log); i++ {
		log[i].Sequence++
	}
	return log
}

// rows counts those of a table.
func (f *fold) rows(table byte) (n int) {
	err := f.state.Scan([]byte{table}, func(_, _ []byte) error {
		n++
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}
