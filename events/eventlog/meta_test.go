package eventlog_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/events/eventlog/blockfile"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// A kill between the two files that describe a stream leaves the new text with the old checksum.
// Where it is certain how it was a start mends it, and a repair too; nothing else is believed.
func TestConfigurationWithAnOlderChecksum(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(text []byte) []byte
		heals  bool
	}{
		"another description": {func(b []byte) []byte {
			return bytes.Replace(b, []byte("events of partition 1"), []byte("events of the partition 1"), 1)
		}, true},
		"another limit": {func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"max_age":0`), []byte(`"max_age":1000000000000000`), 1)
		}, true},
		"a flipped bit": {func(b []byte) []byte {
			b[bytes.Index(b, []byte(`"max_age"`))+11] ^= 1
			return b
		}, true},
		"a flipped bit in a name": {func(b []byte) []byte { b[bytes.Index(b, []byte(`max_age`))] ^= 1; return b }, true},
		"another stream's": {func(b []byte) []byte {
			return bytes.Replace(b, []byte(`RECEIPTS_1`), []byte(`RECEIPTS_7`), 1)
		}, false},
		"of another time": {func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"Created":"20`), []byte(`"Created":"19`), 1)
		}, false},
		"a field that the server does not write": {func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"max_age":0`), []byte(`"max_aga":99`), 1)
		}, false},
		"half of it": {func(b []byte) []byte { return b[:len(b)/2] }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDamaged(t)
			path := filepath.Join(d.stream("1"), "meta.inf")
			good, err := os.ReadFile(path)
			d.must(err)
			bad := test.change(bytes.Clone(good))
			if bytes.Equal(good, bad) {
				t.Fatal("nothing was changed")
			}
			d.must(os.WriteFile(path, bad, 0o600))
			if !test.heals {
				d.refused(eventlog.CodeMetaDamaged, "RECEIPTS_1")
				return
			}
			i, err := eventlog.Inspect(testContext(t), d.cfg.Dir, d.cfg.WitnessDir, 0, nil)
			if err != nil || i.Err() != nil || len(i.Findings) != 1 || i.Findings[0].Code != eventlog.CodeMetaStale {
				t.Fatalf("found: %+v, %v", i.Findings, err)
			}
			d.whole()
			s := blockfile.Stream{Dir: d.stream("1"), Name: "RECEIPTS_1"}
			if _, err := s.Meta(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A log is told from another one, and keeps its identity through restarts; what is taken for it by
// a repair, though another history was acknowledged, gets another one.
func TestIdentityOfALog(t *testing.T) {
	t.Parallel()
	d, other := newDamaged(t), newDamaged(t)
	identity := func(d *damaged) uint64 {
		l := natstest.OpenLog(t, d.cfg)
		defer natstest.CloseLog(t, l)
		return l.Identity()
	}
	id := identity(d)
	if id == 0 || identity(d) != id || identity(other) == id {
		t.Errorf("%x, again %x, another log %x", id, identity(d), identity(other))
	}
	// An older copy of the log, which went on by itself.
	copied := filepath.Join(t.TempDir(), "log")
	d.must(os.CopyFS(copied, os.DirFS(d.cfg.Dir)))
	l := natstest.OpenLog(t, d.cfg)
	d.append(l, 3)
	natstest.CloseLog(t, l)
	witness := d.cfg.WitnessDir
	d.cfg.Dir, d.cfg.WitnessDir = copied, filepath.Join(t.TempDir(), "witness")
	l = natstest.OpenLog(t, d.cfg)
	d.append(l, 3)
	natstest.CloseLog(t, l)
	d.cfg.WitnessDir = witness
	d.refused(eventlog.CodeEntryDiffers, "RECEIPTS_0")
	_, err := eventlog.Repair(testContext(t), d.cfg.Dir, witness, eventlog.RepairOptions{AcceptLoss: true})
	d.must(err)
	if identity(d) == id {
		t.Error("another history has the identity of the log that was acknowledged")
	}
}
