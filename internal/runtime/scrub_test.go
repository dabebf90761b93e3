package runtime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
)

// scrubbed asks for a pass and waits for it.
func (r *running) scrubbed() *ScrubPass {
	r.t.Helper()
	number := 0
	if last := r.scrubber.now().Last; last != nil {
		number = last.Number
	}
	r.scrubber.ask()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if last := r.scrubber.now().Last; last != nil && last.Number > number {
			return last
		}
	}
	r.t.Fatal("the pass does not end")
	return nil
}

func flipBit(t *testing.T, path string, at float64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	off, b := int64(at*float64(info.Size())), make([]byte, 1)
	if _, err := f.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 16
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

// attested reports whether the witness has the heads of all that is in the log.
func (r *running) attested() bool {
	for k := range partitions {
		if last, tree := r.Log.Attested(k); last == 0 || tree.Size != last {
			return false
		}
	}
	return true
}

// A pass reads log and state. What it finds is told with the doctor's codes, in the metrics and on
// the page; the server goes on, and folds a damaged state again.
func TestScrubTellsWhatItFinds(t *testing.T) {
	cfg := testConfig(t)
	cfg.Log.ScrubRate = 0 // only when asked
	r := start(t, cfg)
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled = true
	if _, err := r.Configure(testContext(t), app, settings); err != nil {
		t.Fatal(err)
	}
	for k := range partitions {
		if _, err := r.Projector.Durable(k); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.scrubber.line(); got != "not read through yet" {
		t.Errorf("before: %s", got)
	}
	p := r.scrubbed()
	if len(p.Findings) > 0 || p.Error != "" || p.Bytes == 0 || p.Total == 0 {
		t.Fatalf("in good order: %+v", p)
	}
	if got := r.scrubber.line(); !strings.HasPrefix(got, "whole") {
		t.Errorf("the page says %s", got)
	}
	blocks, _ := filepath.Glob(filepath.Join(cfg.Data, "log", "jetstream", "*", "streams", "RECEIPTS_1", "msgs", "*.blk"))
	tables, _ := filepath.Glob(filepath.Join(cfg.Data, "state", "p002", "0*", "*.sst"))
	if len(blocks) == 0 || len(tables) == 0 {
		t.Fatalf("files: %v %v", blocks, tables)
	}
	// Whoever reads the state may find it first: the notary reads it while trees grow.
	for deadline := time.Now().Add(patience); !r.attested(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the heads are not attested")
		}
	}
	flipBit(t, blocks[0], 0.5)
	flipBit(t, tables[0], 0.3)
	p = r.scrubbed()
	codes := map[string]Finding{}
	for _, f := range p.Findings {
		codes[f.Code] = f
	}
	if f := codes[eventlog.CodeBlockDamaged]; f.File != blocks[0] || f.Stream != "RECEIPTS_1" || f.First == 0 || f.Do == "" {
		t.Errorf("the log: %+v", p.Findings)
	}
	if f := codes[foundStateCorrupt]; f.File != tables[0] || f.Do == "" {
		t.Errorf("the state: %+v", p.Findings)
	}
	if got := r.scrubber.line(); got != "2 findings" {
		t.Errorf("the page says %s", got)
	}
	want := `
# HELP receiptd_scrub_findings Damaged places that the last pass, or the one under way, found; codes as in receiptctl doctor.
# TYPE receiptd_scrub_findings gauge
receiptd_scrub_findings{code="block_damaged"} 1
receiptd_scrub_findings{code="state_corrupt"} 1
`
	if err := testutil.CollectAndCompare(r.scrubber, strings.NewReader(want), "receiptd_scrub_findings"); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(patience); r.Projector.Ready() != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the state was not folded again")
		}
	}
	if _, _, ok := r.Projector.Settings(app); !ok {
		t.Error("the app is unknown")
	}
}
