package eventlog_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// Whatever is damaged, a repair keeps all that is good where it is, says what is lost, entry by
// entry, and moves the files it replaces aside; the log goes on behind what was acknowledged.
func TestRepairKeepsWhatIsGood(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		damage func(d *damaged)
		lost   int // of partition 1; -1 for some, not all
	}{
		"a bit": {func(d *damaged) {
			d.change(d.block("1"), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		}, 1},
		"the tail is cut": {func(d *damaged) {
			d.change(d.block("1"), func(b []byte) []byte { return b[:len(b)/2] })
		}, -1},
		"the blocks are gone": {func(d *damaged) { d.must(os.Remove(d.block("1"))) }, damagedEntries},
		"the partition is gone": {func(d *damaged) {
			d.must(os.RemoveAll(d.stream("1")))
		}, damagedEntries},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDamaged(t)
			test.damage(d)
			if err := openError(t, d.cfg); !errors.Is(err, eventlog.ErrDamaged) {
				t.Fatal(err)
			}
			ctx := testContext(t)
			done, err := eventlog.Repair(ctx, d.cfg.Dir, d.cfg.WitnessDir, eventlog.RepairOptions{AcceptLoss: true})
			d.must(err)
			if len(done) != 1 || done[0].Stream != "RECEIPTS_1" || len(done[0].Lost) == 0 {
				t.Fatalf("repaired: %+v", done)
			}
			l := natstest.OpenLog(t, d.cfg)
			for k := range 2 {
				lost := d.count(l, k)
				if want := test.lost * k; want >= 0 && lost != want || want < 0 && (lost == 0 || lost == damagedEntries) {
					t.Errorf("partition %d: %d of %d entries are lost", k, lost, damagedEntries)
				}
			}
			d.append(l, 1)
			natstest.CloseLog(t, l)
			l = natstest.OpenLog(t, d.cfg) // and so it stays
			d.count(l, 1)
			natstest.CloseLog(t, l)
			if again, err := eventlog.Repair(ctx, d.cfg.Dir, d.cfg.WitnessDir, eventlog.RepairOptions{AcceptLoss: true}); err != nil || len(again) != 0 {
				t.Errorf("a repair of what is whole: %+v, %v", again, err)
			}
		})
	}
}

// count reads a partition and returns how many of its entries stand for lost ones.
func (d *damaged) count(l *eventlog.Log, partition int) (lost int) {
	d.t.Helper()
	ctx := testContext(d.t)
	r, err := l.Read(ctx, partition, 0)
	d.must(err)
	defer r.Close()
	var b events.Batch
	for range damagedEntries {
		e, err := r.Next(ctx)
		d.must(err)
		switch err := events.DecodeEntry(e.Subject, e.Data, e.MsgID, 2, &b); {
		case errors.Is(err, events.ErrLost) && errors.Is(err, events.ErrMalformed):
			lost++
		case err != nil || b.Len() != 1:
			d.t.Errorf("entry %d: %v", e.Sequence, err)
		}
	}
	return lost
}

func TestRepairOfALogThatIsGoneBeginsAnew(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	d.must(os.RemoveAll(d.cfg.Dir))
	done, err := eventlog.Repair(testContext(t), d.cfg.Dir, d.cfg.WitnessDir, eventlog.RepairOptions{AcceptLoss: true})
	d.must(err)
	if len(done) != 2 {
		t.Errorf("repaired: %+v", done)
	}
	l := natstest.OpenLog(t, d.cfg)
	if _, last, err := l.Bounds(testContext(t), 0); err != nil || last != 0 {
		t.Errorf("last %d, %v", last, err)
	}
}

func TestRepairOfADamagedWitnessBeginsItAnew(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	list, err := filepath.Glob(filepath.Join(d.cfg.WitnessDir, "*"))
	d.must(err)
	for _, name := range list {
		d.must(os.WriteFile(name, []byte("nothing"), 0o600))
	}
	d.refused(eventlog.CodeWitnessDamaged, "")
	_, err = eventlog.Repair(testContext(t), d.cfg.Dir, d.cfg.WitnessDir, eventlog.RepairOptions{AcceptLoss: true})
	d.must(err)
	d.whole()
}

func TestRepairOfAnOpenLogIsRefused(t *testing.T) {
	t.Parallel()
	cfg := eventlog.Config{Dir: t.TempDir()}
	natstest.OpenLog(t, cfg)
	if _, err := eventlog.Repair(testContext(t), cfg.Dir, cfg.Dir+".witness", eventlog.RepairOptions{}); !errors.Is(err, eventlog.ErrInUse) {
		t.Error(err)
	}
}

// A loss that is accepted by its range is the only one that a repair brings.
func TestRepairLosesNoMoreThanWasAccepted(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	d.change(d.block("1"), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	ctx := testContext(t)
	files := func() map[string]string {
		content := map[string]string{}
		d.must(filepath.WalkDir(d.cfg.Dir, func(path string, entry os.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() {
				var text []byte
				text, err = os.ReadFile(path)
				content[path] = string(text)
			}
			return err
		}))
		return content
	}
	before := files()
	i, err := eventlog.Inspect(ctx, d.cfg.Dir, d.cfg.WitnessDir, 0, nil)
	d.must(err)
	var bad eventlog.Finding
	for _, f := range i.Findings {
		if f.Fatal {
			bad = f
		}
	}
	if bad.First == 0 {
		t.Fatalf("findings: %+v", i.Findings)
	}
	for name, accept := range map[string][]eventlog.Range{
		"nothing":               nil,
		"the entry before":      {{bad.Stream, bad.First - 1, bad.First - 1}},
		"another stream":        {{"RECEIPTS_0", 1, 100}},
		"all but the last":      {{bad.Stream, 1, max(bad.First, bad.Last) - 1}},
		"what is around it all": {{bad.Stream, 1, bad.First - 1}, {bad.Stream, max(bad.First, bad.Last) + 1, 1000}},
	} {
		done, err := eventlog.Repair(ctx, d.cfg.Dir, d.cfg.WitnessDir, eventlog.RepairOptions{Accept: accept})
		if !errors.Is(err, eventlog.ErrLoss) || len(done) > 0 || !maps.Equal(before, files()) {
			t.Errorf("%s was accepted: %+v, %v; files changed: %v", name, done, err, !maps.Equal(before, files()))
		}
	}
	done, err := eventlog.Repair(ctx, d.cfg.Dir, d.cfg.WitnessDir, eventlog.RepairOptions{
		Accept: []eventlog.Range{{bad.Stream, 1, bad.First}, {bad.Stream, bad.First, 1000}},
	})
	d.must(err)
	if len(done) != 1 || len(done[0].Lost) != 1 || done[0].Lost[0].First != bad.First {
		t.Errorf("repaired: %+v", done)
	}
	natstest.CloseLog(t, natstest.OpenLog(t, d.cfg))
}

// That another log is taken for the right one is not the loss of some entries.
func TestAnotherLogIsNotAcceptedByRange(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	d.must(os.RemoveAll(d.cfg.WitnessDir))
	d.must(os.MkdirAll(d.cfg.WitnessDir, 0o700))
	d.must(os.WriteFile(filepath.Join(d.cfg.WitnessDir, "witness.0"), []byte("garbage"), 0o600))
	all := []eventlog.Range{{"RECEIPTS_0", 1, 1000}, {"RECEIPTS_1", 1, 1000}}
	if _, err := eventlog.Repair(testContext(t), d.cfg.Dir, d.cfg.WitnessDir, eventlog.RepairOptions{Accept: all}); !errors.Is(err, eventlog.ErrLoss) {
		t.Error(err)
	}
}

func TestRangesOfAcceptedLosses(t *testing.T) {
	for text, want := range map[string]eventlog.Range{
		"RECEIPTS_0:17-20": {Stream: "RECEIPTS_0", First: 17, Last: 20},
		"RECEIPTS_0:17":    {Stream: "RECEIPTS_0", First: 17, Last: 17},
		"RECEIPTS_0":       {}, ":1-2": {}, "A:0-2": {}, "A:3-2": {}, "A:1-": {}, "A:-1": {}, "A:1-2-3": {}, "": {},
	} {
		if got, err := eventlog.ParseRange(text); got != want || (err == nil) != (want.Last > 0) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	ranges := []eventlog.Range{{"A", 5, 9}, {"B", 1, 99}, {"A", 8, 12}}
	for _, test := range []struct {
		first, last uint64
		want        bool
	}{{5, 12, true}, {6, 6, true}, {4, 6, false}, {5, 13, false}, {0, 0, false}} {
		if got := eventlog.Covered(ranges, "A", test.first, test.last); got != test.want {
			t.Errorf("%d to %d: %v", test.first, test.last, got)
		}
	}
}
