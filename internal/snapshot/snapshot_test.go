package snapshot

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/internal/lab/consumertest"
	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/projections/store"
)

// world is a log, its live state, and the snapshots of it.
type world struct {
	t      *testing.T
	ctx    context.Context
	log    *consumertest.Log
	nc     *nats.Conn
	live   *projector.Projector
	reader *Reader
	maker  *Maker
	put    int // bursts
	k      int // the partition that has them
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, ctx: consumertest.Context(t), log: consumertest.Open(t, 2)}
	w.log.Group(5)
	w.k = events.Partition(&events.Event{Kind: events.MessageSent, App: consumertest.App, Group: "g"}, 2)
	w.nc = consumertest.Must[*nats.Conn](t)(w.log.Connect(w.ctx, "test"))
	w.live = w.fold(nil)
	w.reader = w.newReader()
	w.maker = w.newMaker("a")
	return w
}

func (w *world) newReader() *Reader {
	w.t.Helper()
	return &Reader{
		Objects:    consumertest.Must[*Bucket](w.t)(OpenBucket(w.ctx, w.nc, 1)),
		Notes:      consumertest.Must[*cluster.Bucket](w.t)(cluster.OpenBucket(w.ctx, w.nc, BucketName, 1, 0)),
		Partitions: 2, Logger: natstest.Logger(w.t),
	}
}

// newMaker takes over from the one before.
func (w *world) newMaker(node string) *Maker {
	w.t.Helper()
	writer := consumertest.Must[*cluster.Writer](w.t)(cluster.Claim(w.ctx, w.reader.Notes, WriterName, node, "1", func(string, string) bool { return false }))
	m := &Maker{
		Reader: w.newReader(), State: w.live, Writer: writer, Dir: filepath.Join(w.t.TempDir(), "making"), Every: time.Second, Rate: 1 << 30,
		Room: func(int64) error { return nil }, Logger: natstest.Logger(w.t),
	}
	m.begin()
	if err := m.takeOver(w.ctx); err != nil {
		w.t.Fatal(err)
	}
	return m
}

// fold opens and runs a state; begun of snapshots, if there are any.
func (w *world) fold(from projector.Snapshots) *projector.Projector {
	w.t.Helper()
	p := consumertest.Must[*projector.Projector](w.t)(projector.New(w.ctx, w.log, projector.Options{
		Dir: w.t.TempDir(), Snapshots: from, Logger: natstest.Logger(w.t), CacheBytes: 8 << 20,
	}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, p.Close()); err != nil {
			w.t.Error(err)
		}
	})
	return p
}

// more puts events into the log and has the live state fold them.
func (w *world) more() {
	w.t.Helper()
	w.log.Put(7, consumertest.Burst(100*w.put, 100, 5)...)
	w.put++
	w.log.Configure("acme#other", events.DefaultSettings(), uint64(w.put)) // in every partition
	w.folded(w.live)
}

func (w *world) folded(p *projector.Projector) {
	w.t.Helper()
	for k := range w.log.Partitions() {
		if err := p.WaitFor(w.ctx, k, w.log.Last(k)); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) snapshots() {
	w.t.Helper()
	for k := range w.log.Partitions() {
		if err := w.maker.snapshot(w.ctx, k); err != nil {
			w.t.Fatal(err)
		}
	}
}

// kept are the snapshots of the partition.
func (w *world) kept() []Kept {
	w.t.Helper()
	return consumertest.Must[[]Kept](w.t)(w.reader.kept(w.ctx, w.k))
}

// fetched is the entry of the snapshot of the partition that one would begin from; 0 for none.
func (w *world) fetched() uint64 {
	w.t.Helper()
	f, ok, err := w.reader.Fetch(w.ctx, w.k, w.t.TempDir(), func(store.StateInfo) error { return nil })
	if err != nil {
		w.t.Fatal(err)
	}
	if !ok {
		return 0
	}
	return f.Sequence
}

// same has a state fold the log to its end and compares it with the live one.
func (w *world) same(p *projector.Projector) {
	w.t.Helper()
	w.folded(p)
	have := consumertest.Must[[]projector.StateDigest](w.t)(p.Digests(w.ctx))
	want := consumertest.Must[[]projector.StateDigest](w.t)(w.live.Digests(w.ctx))
	for k := range want {
		if have[k] != want[k] {
			w.t.Errorf("the state is %+v, want %+v", have[k], want[k])
		}
	}
}

// table is the largest file of a snapshot.
func (w *world) table(k *Kept) (largest File) {
	w.t.Helper()
	for _, f := range consumertest.Must[manifest](w.t)(w.reader.manifest(w.ctx, k)).Files {
		if strings.HasSuffix(f.Name, ".sst") && f.Size > largest.Size {
			largest = f
		}
	}
	return largest
}

// damage flips a bit of a stored file.
func (w *world) damage(f File) {
	w.t.Helper()
	b := consumertest.Must[[]byte](w.t)(w.reader.Objects.store.GetBytes(w.ctx, f.Object))
	b[len(b)/2] ^= 1
	consumertest.Must[*jetstream.ObjectInfo](w.t)(w.reader.Objects.store.PutBytes(w.ctx, f.Object, b))
}

// A state that is empty begins from the newest snapshot, needs nothing that was in the log before
// it, and comes to the state that folded everything.
func TestStateBeginsFromASnapshot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.more()
	w.snapshots()
	w.more()
	w.snapshots()
	for k := range w.log.Partitions() {
		kept := consumertest.Must[[]Kept](t)(w.reader.kept(w.ctx, k))
		w.log.Purge(k, kept[0].Sequence)
	}
	w.more()
	p := w.fold(w.reader)
	w.same(p)
	result, err := p.Rebuild(w.ctx, projector.RebuildOptions{Snapshots: w.reader})
	if err != nil || !result.Equal || result.Partitions[w.k].After != w.kept()[0].Sequence || result.Partitions[w.k].Live == "" {
		t.Errorf("verified from the snapshot: %+v, %v", result, err)
	}
	if _, err := p.Rebuild(w.ctx, projector.RebuildOptions{}); !errors.Is(err, projector.ErrNeedsArchive) {
		t.Errorf("verified from a log without its start: %v", err)
	}
}

// What has not changed is not stored again; two snapshots are kept, and of the others nothing is
// left.
func TestOnlyWhatChangedIsStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 30 { // so that there is a state beside which a burst is small
		w.more()
	}
	w.snapshots()
	first := w.kept()[0]
	stored := w.maker.Reader.Counts.UploadedBytes.Load()
	w.more()
	if err := w.maker.snapshot(w.ctx, w.k); err != nil {
		t.Fatal(err)
	}
	if again := w.maker.Reader.Counts.UploadedBytes.Load() - stored; int64(again) >= first.Bytes {
		t.Errorf("%d bytes were stored again of %d", again, first.Bytes)
	}
	if kept := w.kept(); len(kept) != 2 || kept[1] != first || kept[0].Sequence <= first.Sequence {
		t.Errorf("kept are %+v, after %+v", kept, first)
	}
	w.more()
	w.snapshots()
	w.more()
	w.snapshots()
	if kept := w.kept(); len(kept) != 2 || kept[1].Sequence <= first.Sequence {
		t.Errorf("kept are %+v, after %+v", kept, first)
	}
	if _, err := w.reader.manifest(w.ctx, &first); !errors.Is(err, errDamaged) {
		t.Errorf("the first snapshot is still there: %v", err)
	}
	left, err := w.reader.Objects.leftovers(w.ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for k := range w.log.Partitions() {
		for _, one := range consumertest.Must[[]Kept](t)(w.reader.kept(w.ctx, k)) {
			named[one.Manifest.Object] = true
			for _, f := range consumertest.Must[manifest](t)(w.reader.manifest(w.ctx, &one)).Files {
				named[f.Object] = f.Size > 0
			}
		}
	}
	delete(named, "")
	if len(left) != 2*len(named) { // the chunks of an object have one subject
		t.Errorf("%d subjects are in the store, of %d objects", len(left), len(named))
	}
}

// A snapshot with a bit that flipped, or of which a part is gone, is passed over for the one
// before; the next one is made with what is damaged stored again.
func TestDamagedSnapshotsArePassedOver(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(w *world, k *Kept){
		"a table":      func(w *world, k *Kept) { w.damage(w.table(k)) },
		"the manifest": func(w *world, k *Kept) { w.damage(k.Manifest) },
		"a table is gone": func(w *world, k *Kept) {
			if err := w.reader.Objects.store.Delete(w.ctx, w.table(k).Object); err != nil {
				w.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for range 10 {
				w.more()
			}
			w.snapshots()
			w.more()
			w.snapshots()
			kept := w.kept()
			if at := w.fetched(); at != kept[0].Sequence {
				t.Fatalf("fetched is the snapshot at %d, want %d", at, kept[0].Sequence)
			}
			damage(w, &kept[0])
			at := w.fetched()
			if at == kept[0].Sequence || w.reader.Counts.Damaged.Load() == 0 {
				t.Errorf("the damaged snapshot was taken")
			}
			if name == "the manifest" && at != kept[1].Sequence {
				t.Errorf("fetched is the snapshot at %d, want the one before at %d", at, kept[1].Sequence)
			}
			w.more()
			w.snapshots()
			if now := w.kept(); w.fetched() != now[0].Sequence || now[0].Sequence <= kept[0].Sequence {
				t.Errorf("after damage, the next snapshot is not good: %+v", now)
			}
		})
	}
}

// A snapshot of another log, of other rules or of another number of partitions is passed over.
func TestSnapshotsThatDoNotFitArePassedOver(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newWorld(t)
	w.more()
	w.snapshots()
	other.more()
	other.more()
	p := other.fold(w.reader)
	other.same(p)
	if n := w.reader.Counts.Unfit.Load(); n != 2 {
		t.Errorf("%d snapshots of another log were passed over, want that of each partition", n)
	}
	for name, change := range map[string]func(*manifest){
		"rules":      func(m *manifest) { m.Rules++ },
		"level":      func(m *manifest) { m.Level++ },
		"partitions": func(m *manifest) { m.Partitions++ },
	} {
		m := consumertest.Must[manifest](t)(w.reader.manifest(w.ctx, &w.kept()[0]))
		m.Sequence += 1000 // a later one
		change(&m)
		before := w.kept()[0].Sequence
		if err := w.maker.keep(w.ctx, &m, 1); err != nil {
			t.Fatal(err)
		}
		w.maker.kept[w.k] = w.maker.kept[w.k][:1]
		if err := w.maker.note(w.ctx, w.k, w.maker.kept[w.k]); err != nil {
			t.Fatal(err)
		}
		if at := w.fetched(); at != 0 {
			t.Errorf("a snapshot with other %s at %d was taken, of %d", name, at, before)
		}
	}
	if w.reader.Counts.Rules.Load() == 0 {
		t.Error("no snapshot was passed over for its rules")
	}
}

// The writer before can finish nothing, and removes nothing of what the next one makes; what it
// left unfinished is removed.
func TestOneMakerAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.more()
	w.snapshots()
	before := w.maker
	// Before is paused with a file stored.
	if _, err := w.reader.Objects.put(w.ctx, "1-unfinished", strings.NewReader("a table")); err != nil {
		t.Fatal(err)
	}
	list := consumertest.Must[[]string](t)(w.reader.Objects.leftovers(w.ctx, nil))
	w.maker = w.newMaker("b")
	if now := consumertest.Must[[]string](t)(w.reader.Objects.leftovers(w.ctx, nil)); len(now) != len(list)-2 {
		t.Errorf("%d subjects are left of %d; two of them are of a file without a snapshot", len(now), len(list))
	}
	w.more()
	w.snapshots()
	made := w.kept()[0]
	if err := before.snapshot(w.ctx, w.k); !errors.Is(err, cluster.ErrFenced) {
		t.Errorf("the maker of before goes on: %v", err)
	}
	if err := before.sweep(w.ctx); !errors.Is(err, cluster.ErrFenced) {
		t.Errorf("the maker of before removes what it does not know: %v", err)
	}
	if at := w.fetched(); at != made.Sequence {
		t.Errorf("fetched is the snapshot at %d, want %d", at, made.Sequence)
	}
}

// Two snapshots of every partition cover the log up to the older one, and nothing less does.
func TestTwoSnapshotsCover(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	covered := func() uint64 {
		t.Helper()
		if err := w.reader.Refresh(w.ctx); err != nil {
			t.Fatal(err)
		}
		return consumertest.Must[uint64](t)(w.reader.Covered(w.ctx, w.k))
	}
	w.more()
	w.snapshots()
	w.more()
	if err := w.maker.snapshot(w.ctx, w.k); err != nil {
		t.Fatal(err)
	}
	if at := covered(); at != 0 {
		t.Errorf("covered up to %d, with one snapshot of the other partition", at)
	}
	w.snapshots()
	if at, want := covered(), w.kept()[1].Sequence; at != want || want == 0 {
		t.Errorf("covered up to %d, want %d", at, want)
	}
}

// A manifest that was tampered with writes nothing outside of its directory.
func TestManifestNamesFilesInItsDirectory(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", ".", "..", "../CURRENT", "a/b", "/etc/passwd"} {
		text := []byte(`{"version":1,"files":[{"name":"` + name + `"}]}`)
		if _, err := parseManifest(text, Kept{}); !errors.Is(err, errDamaged) {
			t.Errorf("a file called %q: %v", name, err)
		}
	}
	if _, err := parseManifest([]byte(`{"version":1,"files":[{"name":"000004.sst"}]}`), Kept{}); err != nil {
		t.Error(err)
	}
}

// The directory of what is under way is empty afterwards, and a snapshot for which there is no room
// is not made.
func TestSnapshotNeedsRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.more()
	full := errors.New("the disk is full")
	w.maker.Room = func(n int64) error {
		if n < 1000 {
			t.Errorf("%d bytes are asked for", n)
		}
		return full
	}
	if err := w.maker.snapshot(w.ctx, w.k); !errors.Is(err, full) {
		t.Errorf("a snapshot without room: %v", err)
	}
	if _, err := os.Stat(w.maker.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was under way is left: %v", err)
	}
	if kept := w.kept(); len(kept) != 0 {
		t.Errorf("kept are %+v", kept)
	}
}
