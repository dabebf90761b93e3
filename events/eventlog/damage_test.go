package eventlog_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// damaged is a closed log of two partitions with as many entries each, to be damaged.
type damaged struct {
	t       *testing.T
	cfg     eventlog.Config
	entries int
}

const damagedEntries = 40

func newDamaged(t *testing.T) *damaged {
	t.Helper()
	root := t.TempDir()
	d := &damaged{t: t, entries: damagedEntries, cfg: eventlog.Config{
		Dir: filepath.Join(root, "log"), WitnessDir: filepath.Join(root, "witness"), Partitions: 2, Logger: natstest.Logger(t),
	}}
	l := natstest.OpenLog(t, d.cfg)
	d.append(l, d.entries)
	natstest.CloseLog(t, l)
	return d
}

// append stores entries of one event each.
func (d *damaged) append(l *eventlog.Log, n int) {
	d.t.Helper()
	ctx := testContext(d.t)
	for range n {
		for k := range l.Partitions() {
			ticket, err := l.SubmitTo(ctx, k, []events.Event{{Kind: events.StatisticSeen, App: "o#a", User: "somebody", Upto: 1}})
			if err == nil {
				err = ticket.Wait(ctx)
			}
			if err != nil {
				d.t.Fatal(err)
			}
		}
	}
}

func (d *damaged) stream(partition string) string {
	return filepath.Join(d.cfg.Dir, "jetstream", "RECEIPTS", "streams", "RECEIPTS_"+partition)
}

// block is the only block file of a partition.
func (d *damaged) block(partition string) string {
	d.t.Helper()
	list, err := filepath.Glob(filepath.Join(d.stream(partition), "msgs", "*.blk"))
	if err != nil || len(list) != 1 {
		d.t.Fatalf("blocks: %v, %v", list, err)
	}
	return list[0]
}

func (d *damaged) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// change rewrites a file.
func (d *damaged) change(path string, f func([]byte) []byte) {
	d.t.Helper()
	b, err := os.ReadFile(path)
	d.must(err)
	d.must(os.WriteFile(path, f(b), 0o600))
}

// files are the contents of the log's files, but for the summary that is made from others and
// the lock.
func (d *damaged) files() map[string]string {
	d.t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(d.cfg.Dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && (e.IsDir() || e.Name() == "lock" || e.Name() == "index.db") {
			return nil
		}
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	d.must(err)
	return all
}

// refused opens the log, which must fail with a finding of a code about a stream, and leave all
// files as they are.
func (d *damaged) refused(code, stream string) eventlog.Finding {
	d.t.Helper()
	before := d.files()
	err := openError(d.t, d.cfg)
	var damage *eventlog.DamageError
	if !errors.As(err, &damage) || !errors.Is(err, eventlog.ErrDamaged) {
		d.t.Fatalf("error %v", err)
	}
	if now := d.files(); !maps.Equal(before, now) {
		d.t.Errorf("a refused start changed files: %v before, %v after", slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(now)))
	}
	i := slices.IndexFunc(damage.Findings, func(f eventlog.Finding) bool { return f.Code == code && f.Stream == stream && f.Fatal })
	if i < 0 {
		d.t.Fatalf("no finding %s of %s in %v", code, stream, damage.Findings)
	}
	if !strings.Contains(err.Error(), code) {
		d.t.Errorf("%q does not name %s", err, code)
	}
	return damage.Findings[i]
}

// whole opens the log and expects all entries to be there.
func (d *damaged) whole() {
	d.t.Helper()
	l := natstest.OpenLog(d.t, d.cfg)
	defer natstest.CloseLog(d.t, l)
	ctx := testContext(d.t)
	for k := range l.Partitions() {
		r, err := l.Read(ctx, k, 0)
		d.must(err)
		for range d.entries {
			_, err := r.Next(ctx)
			d.must(err)
		}
		r.Close()
	}
	d.append(l, 1)
	d.entries++
}

func TestFlippedBitIsRefused(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	var at int64
	d.change(d.block("1"), func(b []byte) []byte { at = int64(len(b) / 2); b[at] ^= 1; return b })
	f := d.refused(eventlog.CodeBlockDamaged, "RECEIPTS_1")
	if f.File != d.block("1") || f.Offset > at || f.Offset < at-500 || f.First < 15 || f.First > 25 || f.Last != f.First {
		t.Errorf("finding %+v", f)
	}
	d.change(d.block("1"), func(b []byte) []byte { b[at] ^= 1; return b })
	d.whole()
}

func TestCutTailIsRefusedIfItWasAcknowledged(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	good, err := os.ReadFile(d.block("0"))
	d.must(err)
	for _, cut := range []int{1, 100, 1000, len(good)} {
		d.must(os.WriteFile(d.block("0"), good[:len(good)-cut], 0o600))
		if f := d.refused(eventlog.CodeShorter, "RECEIPTS_0"); f.Last != damagedEntries {
			t.Errorf("cut by %d: %+v", cut, f)
		}
	}
	// A write that was under way.
	d.must(os.WriteFile(d.block("0"), append(good, good[:90]...), 0o600))
	d.whole()
}

func TestMissingLogIsRefused(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	away := d.cfg.Dir + ".away"
	d.must(os.Rename(d.cfg.Dir, away))
	d.refused(eventlog.CodeStreamMissing, "RECEIPTS_0")
	d.must(os.RemoveAll(d.cfg.Dir))
	d.must(os.Rename(away, d.cfg.Dir))
	d.must(os.Rename(d.stream("1"), away))
	d.refused(eventlog.CodeStreamMissing, "RECEIPTS_1")
	d.must(os.Rename(away, d.stream("1")))
	d.whole()
}

func TestSwappedPartitionsAreRefused(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	swap := func(a, b string) {
		d.must(os.Rename(a, a+".x"))
		d.must(os.Rename(b, a))
		d.must(os.Rename(a+".x", b))
	}
	swap(d.stream("0"), d.stream("1"))
	d.refused(eventlog.CodeMetaDamaged, "RECEIPTS_0")
	swap(d.stream("0"), d.stream("1"))
	swap(filepath.Join(d.stream("0"), "msgs"), filepath.Join(d.stream("1"), "msgs"))
	d.refused(eventlog.CodeShorter, "RECEIPTS_1")
	swap(filepath.Join(d.stream("0"), "msgs"), filepath.Join(d.stream("1"), "msgs"))
	d.whole()
}

// A copy that is older, and one that grew by other entries since.
func TestOlderOrOtherLogIsRefused(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	copyTo := func(to, from string) {
		d.must(os.RemoveAll(to))
		d.must(os.CopyFS(to, os.DirFS(from)))
	}
	log, older, witness := d.cfg.Dir, d.cfg.Dir+".older", d.cfg.WitnessDir
	copyTo(older, log)
	copyTo(witness+".older", witness)
	l := natstest.OpenLog(t, d.cfg)
	d.append(l, 10)
	natstest.CloseLog(t, l)
	copyTo(witness+".newer", witness)

	copyTo(log, older)
	if f := d.refused(eventlog.CodeShorter, "RECEIPTS_0"); f.First != damagedEntries+1 || f.Last != damagedEntries+10 {
		t.Errorf("finding %+v", f)
	}
	copyTo(witness, witness+".older")
	l = natstest.OpenLog(t, d.cfg)
	d.append(l, 20)
	natstest.CloseLog(t, l)
	copyTo(witness, witness+".newer")
	if f := d.refused(eventlog.CodeEntryDiffers, "RECEIPTS_1"); f.First != damagedEntries+10 {
		t.Errorf("finding %+v", f)
	}

	d.must(os.RemoveAll(log))
	d.must(os.RemoveAll(witness))
	l = natstest.OpenLog(t, d.cfg)
	d.append(l, 60)
	natstest.CloseLog(t, l)
	copyTo(witness, witness+".newer")
	d.refused(eventlog.CodeStreamForeign, "RECEIPTS_0")
}

// A stream that the embedded server cannot open, though its files are good, it removes. They are
// put back.
func TestWhatTheServerRemovesIsPutBack(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	before := d.files()
	cfg := d.cfg
	block := d.block("1")
	cfg = eventlog.WithHooks(cfg, eventlog.Hooks{Starting: func() {
		// As if the file could not be opened for a moment.
		d.must(os.Remove(block))
		d.must(os.Mkdir(block, 0o700))
	}})
	err := openError(t, cfg)
	if !errors.Is(err, eventlog.ErrDamaged) || !strings.Contains(err.Error(), "RECEIPTS_1") {
		t.Fatalf("error %v", err)
	}
	now := d.files()
	for name, content := range before {
		if now[name] != content {
			t.Errorf("%s is gone or another", name)
		}
	}
	d.whole()
}

// A block that the server cannot read for a moment it passes over, with a summary that still knows
// the last sequence: the next entry would be written over it.
func TestBlockThatTheServerPassesOverIsNoticed(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	natstest.CloseLog(t, natstest.OpenLog(t, d.cfg)) // with a clean stop, which writes the summary
	before := d.files()
	block, away := d.block("1"), filepath.Join(t.TempDir(), "block")
	cfg := eventlog.WithHooks(d.cfg, eventlog.Hooks{Starting: func() {
		d.must(os.Rename(block, away))
	}})
	err := openError(t, cfg)
	if !errors.Is(err, eventlog.ErrDamaged) || !strings.Contains(err.Error(), "RECEIPTS_1") {
		t.Fatalf("error %v", err)
	}
	if _, err := os.Stat(block); errors.Is(err, fs.ErrNotExist) {
		d.must(os.Rename(away, block)) // it was only away
	}
	now := d.files()
	for name, content := range before {
		if strings.HasSuffix(name, ".blk") && now[name] != content {
			t.Errorf("%s is gone or another", name)
		}
	}
	d.whole()
}

// The same, if the process dies before it could put anything back.
func TestGuardedFilesAreBackAfterACrash(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	guarded := filepath.Join(d.cfg.Dir, "guard", "RECEIPTS_1", "msgs")
	d.must(os.MkdirAll(guarded, 0o700))
	d.must(os.Link(d.block("1"), filepath.Join(guarded, filepath.Base(d.block("1")))))
	for _, meta := range []string{"meta.inf", "meta.sum"} {
		d.must(os.Link(filepath.Join(d.stream("1"), meta), filepath.Join(filepath.Dir(guarded), meta)))
	}
	d.must(os.RemoveAll(d.stream("1")))
	d.whole()
}

func TestSideStreamsAreGuardedToo(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	ctx := testContext(t)
	l := natstest.OpenLog(t, d.cfg)
	nc, err := l.Connect(ctx, "side")
	d.must(err)
	js, err := jetstream.New(nc)
	d.must(err)
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "side"})
	d.must(err)
	for _, key := range []string{"a", "b", "a", "c"} {
		_, err := kv.Put(ctx, key, bytes.Repeat([]byte("x"), 100))
		d.must(err)
	}
	d.must(kv.Delete(ctx, "c"))
	natstest.CloseLog(t, l)
	side := filepath.Join(filepath.Dir(d.stream("0")), "KV_side")
	blocks, err := filepath.Glob(filepath.Join(side, "msgs", "*.blk"))
	d.must(err)
	d.change(blocks[0], func(b []byte) []byte { b[60] ^= 1; return b })
	d.refused(eventlog.CodeBlockDamaged, "KV_side")
	d.change(blocks[0], func(b []byte) []byte { b[60] ^= 1; return b })
	whole, err := os.ReadFile(blocks[0])
	d.must(err)
	d.change(blocks[0], func(b []byte) []byte { b[len(b)-20] ^= 1; return b }) // its last record
	d.refused(eventlog.CodeShorter, "KV_side")
	d.must(os.RemoveAll(filepath.Join(d.cfg.Dir, "kept")))
	d.must(os.Remove(blocks[0])) // the summary is still there
	d.refused(eventlog.CodeShorter, "KV_side")
	d.must(os.WriteFile(blocks[0], whole, 0o600))
	d.must(os.Rename(side, d.cfg.Dir+".side"))
	d.refused(eventlog.CodeStreamMissing, "KV_side")
	d.must(os.Rename(d.cfg.Dir+".side", side))
	d.whole()
}

func TestTrimmedLogIsWhole(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	l := natstest.OpenLog(t, d.cfg)
	ctx := testContext(t)
	d.must(l.Trim(ctx, 0, 20))
	d.must(l.Trim(ctx, 1, damagedEntries+1))
	natstest.CloseLog(t, l)
	for range 2 {
		l = natstest.OpenLog(t, d.cfg)
		first, last, err := l.Bounds(ctx, 0)
		if err != nil || first != 20 || last < damagedEntries {
			t.Errorf("bounds %d, %d, %v", first, last, err)
		}
		d.append(l, 3)
		natstest.CloseLog(t, l)
	}
	// What begins later than retention says is not whole.
	must := func(err error) { t.Helper(); d.must(err) }
	must(os.Rename(d.block0(), d.cfg.Dir+".block"))
	d.refused(eventlog.CodeShorter, "RECEIPTS_0")
}

func (d *damaged) block0() string {
	d.t.Helper()
	list, err := filepath.Glob(filepath.Join(d.stream("0"), "msgs", "*.blk"))
	d.must(err)
	return list[0]
}

func TestLostWitnessIsTold(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	d.must(os.RemoveAll(d.cfg.WitnessDir))
	i, err := eventlog.Inspect(context.Background(), d.cfg.Dir, d.cfg.WitnessDir, 0, nil)
	d.must(err)
	if len(i.Findings) != 1 || i.Findings[0].Code != eventlog.CodeWitnessMissing || i.Err() != nil {
		t.Errorf("findings %v", i.Findings)
	}
	d.whole()
	list, err := filepath.Glob(filepath.Join(d.cfg.WitnessDir, "*"))
	d.must(err)
	for _, name := range list {
		d.change(name, func(b []byte) []byte { b[5] ^= 1; return b })
	}
	d.refused(eventlog.CodeWitnessDamaged, "")
}

// With syncs at intervals the witness holds nothing that power loss may take.
func TestWitnessOfIntervalsIsBehind(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	d.cfg.Fsync = eventlog.FsyncInterval
	l := natstest.OpenLog(t, d.cfg)
	good := d.files()
	d.append(l, 10)
	taken := filepath.Join(t.TempDir(), "witness")
	d.must(os.CopyFS(taken, os.DirFS(d.cfg.WitnessDir)))
	natstest.CloseLog(t, l)
	// Power goes: the last second is not in the files.
	for name, content := range good {
		d.must(os.WriteFile(name, []byte(content), 0o600))
	}
	for _, partition := range []string{"0", "1"} {
		_ = os.Remove(filepath.Join(d.stream(partition), "msgs", "index.db"))
	}
	d.must(os.RemoveAll(d.cfg.WitnessDir))
	d.must(os.CopyFS(d.cfg.WitnessDir, os.DirFS(taken)))
	d.whole()
}
