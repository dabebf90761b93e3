package eventlog_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/events/eventlog/witness"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// A single entry that is not there is missed, at the beginning as in the middle.
func TestSingleMissingEntryIsRefused(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	whole, err := os.ReadFile(d.block("0"))
	d.must(err)
	for sequence, at := uint64(1), 0; sequence <= 3; sequence++ {
		size := int(binary.LittleEndian.Uint32(whole[at:]) &^ (1 << 31))
		d.must(os.WriteFile(d.block("0"), append(whole[:at:at], whole[at+size:]...), 0o600))
		if f := d.refused(eventlog.CodeEntriesMissing, "RECEIPTS_0"); f.First != sequence || f.Last != sequence {
			t.Errorf("without entry %d: %+v", sequence, f)
		}
		at += size
	}
	d.must(os.WriteFile(d.block("0"), whole, 0o600))
	d.whole()
}

// The server's checksum of a record does not say where the subject ends.
func TestSubjectOfAnotherLengthIsRefused(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	ctx := testContext(t)
	const subject = "receipts.v1.0.message-read.acme.chat"
	l := natstest.OpenLog(t, d.cfg)
	nc, err := l.Connect(ctx, "outside producer")
	d.must(err)
	js, err := jetstream.New(nc)
	d.must(err)
	_, err = js.Publish(ctx, subject, []byte("{}"))
	d.must(err)
	natstest.CloseLog(t, l)
	d.change(d.block("0"), func(b []byte) []byte {
		at := bytes.LastIndex(b, []byte(subject)) - 2
		if n := binary.LittleEndian.Uint16(b[at:]); int(n) != len(subject) {
			t.Fatalf("the subject's length is %d, not %d", n, len(subject))
		}
		binary.LittleEndian.PutUint16(b[at:], uint16(len("receipts.v1.")))
		return b
	})
	if f := d.refused(eventlog.CodeBlockDamaged, "RECEIPTS_0"); f.First != damagedEntries+1 || !strings.Contains(f.What, "subject") {
		t.Errorf("finding %+v", f)
	}
}

// What the server cuts off at a start is put back, whether it remembers the last sequence or not,
// and what lies in the place of the file is moved aside.
func TestWhatTheServerCutsOffIsPutBack(t *testing.T) {
	for _, remembers := range []bool{true, false} {
		for name, left := range map[string]func(whole []byte) []byte{
			"half":    func(whole []byte) []byte { return whole[:len(whole)/2] },
			"garbage": func([]byte) []byte { return bytes.Repeat([]byte("garbage"), 100) },
		} {
			t.Run(fmt.Sprint(name, " ", remembers), func(t *testing.T) {
				t.Parallel()
				d := newDamaged(t)
				before := d.files()
				block := d.block("1")
				cfg := eventlog.WithHooks(d.cfg, eventlog.Hooks{Starting: func() {
					// As if the server took the rest for torn: another file of this name.
					whole, err := os.ReadFile(block)
					d.must(err)
					d.must(os.Remove(block))
					d.must(os.WriteFile(block, left(whole), 0o600))
					if !remembers {
						d.must(os.Remove(filepath.Join(filepath.Dir(block), "index.db")))
					}
				}})
				if err := openError(t, cfg); !errors.Is(err, eventlog.ErrDamaged) || !strings.Contains(err.Error(), "RECEIPTS_1") {
					t.Fatalf("error %v", err)
				}
				kept := false
				now := d.files()
				for name, content := range now {
					kept = kept || strings.Contains(name, "aside") && filepath.Ext(name) == ".blk" && content != ""
				}
				if !kept && name == "half" { // the other one the server removes itself
					t.Error("what lay in the place of the file is gone")
				}
				for name, content := range before {
					if now[name] != content {
						t.Errorf("%s is gone or another", name)
					}
				}
				d.whole()
			})
		}
	}
}

// Where syncs are at intervals, the witness does not hold an entry before it is on the disk for
// certain.
func TestWitnessOfIntervalsWaits(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	d.cfg.Fsync = eventlog.FsyncInterval
	l := natstest.OpenLog(t, d.cfg)
	defer natstest.CloseLog(t, l)
	for tries := 0; ; tries++ {
		_, last, err := l.Bounds(testContext(t), 0)
		d.must(err)
		began := time.Now()
		d.append(l, 1)
		time.Sleep(300 * time.Millisecond) // the witness is written many times
		attestations, err := witness.Read(d.cfg.WitnessDir)
		d.must(err)
		if time.Since(began) >= eventlog.AttestUnsynced && tries < 10 {
			continue // a machine that slow says nothing
		}
		if got := attestations["RECEIPTS_0"].Last; got > last {
			t.Errorf("%v after it was stored, entry %d is in the witness", time.Since(began), got)
		}
		return
	}
}

// Entries that lie in the reader's buffer already are looked at like all others.
func TestGapInTheBufferIsNamed(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	o := openOutside(t, eventlog.Config{Partitions: 1}, eventlog.Hooks{})
	fill(t, ctx, o.log, 2)
	const subject = "receipts.v1.0.message-read.acme.chat"
	if _, err := o.js.Publish(ctx, subject, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	fill(t, ctx, o.log, 2)
	purge(t, ctx, o.js, jetstream.WithPurgeSubject(subject)) // 3, out of 1 to 5
	r, err := o.log.Read(ctx, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	eventually(t, "all are in the buffer", func() bool { return r.Buffered() == 4 })
	for want := uint64(1); want <= 2; want++ {
		if e, ok := r.TryNext(); !ok || e.Sequence != want {
			t.Fatalf("entry %d, %v, want %d", e.Sequence, ok, want)
		}
	}
	if e, ok := r.TryNext(); ok {
		t.Fatalf("entry %d follows entry 2", e.Sequence)
	}
	var gap *eventlog.GapError
	if _, err := r.Next(ctx); !errors.As(err, &gap) || *gap != (eventlog.GapError{Want: 3, Have: 4}) {
		t.Errorf("the reader says %v", err)
	}
}
