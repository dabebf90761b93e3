package eventlog_test

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// newLong is a closed log whose first partition has several blocks, of which a start reads the last
// one alone, and a bit of its first block is flipped.
func newLong(t *testing.T) (d *damaged, block string) {
	t.Helper()
	d = newDamaged(t)
	d.cfg.InspectBytes = 1
	l := natstest.OpenLog(t, d.cfg)
	js := d.side(l)
	noise := make([]byte, 900<<10) // that does not compress
	for range 24 {
		random := rand.NewChaCha8([32]byte{1})
		_, err := random.Read(noise)
		d.must(err)
		_, err = js.Publish(testContext(t), "receipts.v1.0.message-read.acme.chat", noise)
		d.must(err)
	}
	natstest.CloseLog(t, l)
	block = filepath.Join(d.stream("0"), "msgs", "1.blk")
	d.change(block, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	d.written(time.Now().Add(-time.Hour))
	return d, block
}

// written sets when the blocks were written to last.
func (d *damaged) written(at time.Time) {
	d.t.Helper()
	list, err := filepath.Glob(filepath.Join(d.stream("0"), "msgs", "*.blk"))
	d.must(err)
	if len(list) < 3 {
		d.t.Fatalf("blocks %v", list)
	}
	for _, name := range list {
		d.must(os.Chtimes(name, at, at))
	}
}

// The server reads all blocks if it has no summary of them, and cuts them off in place where they
// are damaged: so they are read before.
func TestWhatTheServerWouldCutOffIsRead(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(d *damaged, summary string){
		"no summary": func(d *damaged, summary string) { d.must(os.Remove(summary)) },
		"a damaged one": func(d *damaged, summary string) {
			d.change(summary, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		},
		"one from before": func(d *damaged, summary string) {
			newest := filepath.Join(filepath.Dir(summary), "3.blk")
			d.change(newest, func(b []byte) []byte { return append(b, 1, 2, 3) }) // cut off
		},
		"written to just now": func(d *damaged, _ string) { d.written(time.Now()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, block := newLong(t)
			spoil(d, filepath.Join(filepath.Dir(block), "index.db"))
			if f := d.refused(eventlog.CodeBlockDamaged, "RECEIPTS_0"); f.File != block {
				t.Errorf("finding %+v", f)
			}
		})
	}
}

// With a summary of them, the server leaves old blocks alone at its start, and so does the
// inspection, which says so.
func TestOldBlocksAreLeftAlone(t *testing.T) {
	t.Parallel()
	d, block := newLong(t)
	before, err := os.ReadFile(block)
	d.must(err)
	var said bytes.Buffer
	d.cfg.Logger = slog.New(slog.NewJSONHandler(&said, nil))
	l := natstest.OpenLog(t, d.cfg)
	if got := l.UninspectedBytes(); got < int64(len(before)) {
		t.Errorf("%d bytes were not read, of which the block alone has %d", got, len(before))
	}
	natstest.CloseLog(t, l)
	if !regexp.MustCompile(`"level":"WARN","msg":"old blocks[^\n]*"stream":"RECEIPTS_0","blocks":2,"bytes":\d{7}`).Match(said.Bytes()) {
		t.Errorf("it said %s", &said)
	}
	now, err := os.ReadFile(block)
	d.must(err)
	if string(before) != string(now) {
		t.Errorf("the block had %d bytes, and has %d", len(before), len(now))
	}
}
