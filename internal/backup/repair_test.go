package backup

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/receiptd/receiptd/events/eventlog"
)

func TestRepairTakesFromABackup(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		damage func(p *logAt)
		loss   bool // what was damaged is not in the backup
	}{
		"a bit":                 {func(p *logAt) { p.change("RECEIPTS_1", func(b []byte) []byte { b[len(b)/3] ^= 1; return b }) }, false},
		"bits of both":          {func(p *logAt) { p.flipBoth() }, false},
		"the partition is gone": {func(p *logAt) { must(p.t, os.RemoveAll(p.stream("RECEIPTS_1"))) }, true},
		"the tail is cut":       {func(p *logAt) { p.change("RECEIPTS_1", func(b []byte) []byte { return b[:len(b)/2] }) }, true},
		"a bit behind it":       {func(p *logAt) { p.change("RECEIPTS_1", func(b []byte) []byte { b[len(b)-200] ^= 1; return b }) }, true},
		"accounts are gone":     {func(p *logAt) { must(p.t, os.RemoveAll(p.stream("KV_receiptd_accounts"))) }, false},
		"a bit of the inboxes":  {func(p *logAt) { p.change("RECEIPTD_INBOX", func(b []byte) []byte { b[60] ^= 1; return b }) }, false},
		"a configuration": {func(p *logAt) {
			must(p.t, os.WriteFile(filepath.Join(p.stream("RECEIPTS_0"), "meta.inf"), []byte("nothing"), 0o600))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := filled(t, 50)
			dir := t.TempDir()
			p.backup(dir)
			p.append(10)
			want := p.entries()
			p.close()
			test.damage(p)
			b, err := Open(dir)
			must(t, err)
			before := files(t, p.cfg.Dir)
			done, err := eventlog.Repair(testContext(t), p.cfg.Dir, p.cfg.WitnessDir, eventlog.RepairOptions{From: b})
			if test.loss {
				if after := files(t, p.cfg.Dir); !errors.Is(err, eventlog.ErrLoss) || len(after) != len(before) {
					t.Fatalf("%+v, %v", done, err)
				}
				done, err = eventlog.Repair(testContext(t), p.cfg.Dir, p.cfg.WitnessDir, eventlog.RepairOptions{From: b, AcceptLoss: true})
			}
			must(t, err)
			if len(done) == 0 {
				t.Fatal("nothing was repaired")
			}
			p.open()
			got := p.entries()
			for k := range want {
				if len(got[k]) != len(want[k]) {
					t.Fatalf("partition %d has %d entries, want %d", k, len(got[k]), len(want[k]))
				}
				for i := range want[k] {
					if lost := test.loss && k == 1 && i >= 50; !lost && !reflect.DeepEqual(got[k][i], want[k][i]) {
						t.Errorf("partition %d, entry %d: %+v, want %+v", k, i+1, got[k][i], want[k][i])
					}
				}
			}
			kv, err := p.js().KeyValue(testContext(t), "receiptd_accounts")
			must(t, err)
			if x, err := kv.Get(testContext(t), "cleo"); err != nil || string(x.Value()) != "of cleo" {
				t.Errorf("accounts: %v", err)
			}
			inbox, err := p.js().Stream(testContext(t), "RECEIPTD_INBOX")
			must(t, err)
			if x, err := inbox.GetMsg(testContext(t), 1); err != nil || x.Subject != "inbox.u0" {
				t.Errorf("inbox: %+v, %v", x, err)
			}
		})
	}
}

func (p *logAt) stream(name string) string {
	return filepath.Join(p.cfg.Dir, "jetstream", "RECEIPTS", "streams", name)
}

// change changes the only block file of a stream.
func (p *logAt) change(stream string, f func([]byte) []byte) {
	p.t.Helper()
	list, err := filepath.Glob(filepath.Join(p.stream(stream), "msgs", "*.blk"))
	if err != nil || len(list) != 1 {
		p.t.Fatalf("blocks: %v, %v", list, err)
	}
	b, err := os.ReadFile(list[0])
	must(p.t, err)
	must(p.t, os.WriteFile(list[0], f(b), 0o600))
}

func (p *logAt) flipBoth() {
	for _, stream := range []string{"RECEIPTS_0", "RECEIPTS_1"} {
		p.change(stream, func(b []byte) []byte { b[100] ^= 4; b[len(b)/2] ^= 4; return b })
	}
}

// A backup of another log, and one of this log in another life, is no source.
func TestRepairRefusesAForeignBackup(t *testing.T) {
	t.Parallel()
	p, other := filled(t, 20), filled(t, 20)
	dir, foreign := t.TempDir(), t.TempDir()
	p.backup(dir)
	other.backup(foreign)
	q := restored(t, dir)
	q.append(5)
	later := t.TempDir()
	q.backup(later)
	p.close()
	p.change("RECEIPTS_1", func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	for name, dir := range map[string]string{"another log": foreign, "after a restore": later} {
		b, err := Open(dir)
		must(t, err)
		if _, err := eventlog.Repair(testContext(t), p.cfg.Dir, p.cfg.WitnessDir, eventlog.RepairOptions{From: b}); !errors.Is(err, eventlog.ErrForeignSource) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
