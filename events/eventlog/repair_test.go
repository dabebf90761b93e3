package eventlog_test

import (
	"errors"
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
