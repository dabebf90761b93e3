package fold

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/store"
)

// stateOn opens a state on a disk.
func stateOn(t *testing.T, fs vfs.FS) *Generation {
	t.Helper()
	g, err := Open("state", Options{CacheBytes: 1, FS: fs, Logger: natstest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// foldAll folds a log, and calls between after each entry.
func foldAll(t *testing.T, g *Generation, log history.Log, between func() error) {
	t.Helper()
	var batch events.Batch
	for _, e := range log {
		batch.SetEvents(e.Events)
		x := projections.Decoded{Sequence: e.Sequence, At: e.At, Fingerprint: e.Sequence, Batch: &batch, Poison: e.Poison}
		if _, err := g.Part.Apply(x); err != nil {
			t.Fatal(err)
		}
		if err := between(); err != nil {
			t.Fatal(err)
		}
	}
}

// A fold that does not wait for its checkpoints comes to the state of one that makes a single
// checkpoint at the end.
func TestFoldGoesOnBesideItsCheckpoint(t *testing.T) {
	for seed := range 20 {
		log := history.Logs().Example(seed)
		var digests [2]string
		for k, between := range []func(*Generation) error{
			func(*Generation) error { return nil },
			(*Generation).checkpointAsync,
		} {
			disk := vfs.NewMem()
			g := stateOn(t, disk)
			foldAll(t, g, log, func() error { return between(g) })
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
			g = stateOn(t, disk)
			if at, _ := g.Part.Position(); at != log[len(log)-1].Sequence {
				t.Errorf("seed %d: position %d, want %d", seed, at, log[len(log)-1].Sequence)
			}
			snap, _, err := g.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			digests[k], _, err = snap.Digest(testContext(t))
			if err := errors.Join(err, snap.Close(), g.Close()); err != nil {
				t.Fatal(err)
			}
		}
		if digests[0] != digests[1] {
			t.Errorf("seed %d: digest %s, want %s", seed, digests[1], digests[0])
		}
	}
}

// The next checkpoint returns the error of a commit that nobody waited for, and nothing is written
// after it.
func TestCheckpointThatNobodyWaitedForFails(t *testing.T) {
	disk := vfs.NewMem()
	broken := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite && strings.Contains(op.Path, "checkpoint-") {
			return errorfs.ErrInjected
		}
		return nil
	})}
	g := stateOn(t, errorfs.Wrap(disk, broken))
	var sent []events.Event
	for n := range 20_000 { // enough for a table file
		sent = append(sent, events.Event{Kind: events.MessageSent, App: app, Group: "g", User: "u0", Message: "m" + string(rune('a'+n%26)) + strings.Repeat("x", n/26%200+1), Receipt: true})
	}
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled = true
	log := history.Log{
		{Sequence: 1, At: 1, Events: []events.Event{{Kind: events.AppConfigured, App: app, Settings: &settings, Revision: 1}}},
		{Sequence: 2, At: 1, Events: []events.Event{{Kind: events.GroupCreated, App: app, Group: "g", User: "u0", Members: []string{"u1"}}}},
		{Sequence: 3, At: 1, Events: sent},
	}
	foldAll(t, g, log[:2], g.Checkpoint)
	if err := g.Store.Flush(); err != nil {
		t.Fatal(err)
	}
	broken.On()
	foldAll(t, g, log[2:], g.checkpointAsync)
	if err := g.Checkpoint(); !errors.Is(err, errorfs.ErrInjected) {
		t.Errorf("the checkpoint after it returns %v", err)
	}
	broken.Off()
	if err := g.Close(); !errors.Is(err, errorfs.ErrInjected) {
		t.Errorf("Close returns %v", err)
	}
	g = stateOn(t, disk)
	if at, _ := g.Part.Position(); at != 2 {
		t.Errorf("position %d, the last that was written is 2", at)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
}

// A fold that hands out its state does not wait for the disk: neither for the checkpoint that this
// takes, nor, on a full disk, for one that waits there for room.
func TestSnapshotBehindDoesNotWaitForAFullDisk(t *testing.T) {
	full := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpFilePreallocate {
			return syscall.ENOSPC
		}
		return nil
	})}
	g, err := Open("state", Options{CacheBytes: 1, FS: errorfs.Wrap(vfs.NewMem(), full), WaitForRoom: true, Logger: natstest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	log := history.Logs().Example(3)
	got := make(chan *store.Snapshot, 2)
	take := func() {
		t.Helper()
		handed := make(chan struct{})
		go func() {
			defer close(handed)
			g.SnapshotBehind(func(snap *store.Snapshot) { got <- snap })
		}()
		select {
		case <-handed:
		case <-time.After(time.Minute):
			t.Fatal("the fold waits")
		}
	}
	last := len(log) - 1
	foldAll(t, g, log[:last], func() error { return nil })
	take()
	snap := <-got
	same := stateOn(t, vfs.NewMem())
	foldAll(t, same, log[:last], func() error { return nil })
	want, _, err := same.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	here, _, err := snap.Digest(testContext(t))
	there, _, err2 := want.Digest(testContext(t))
	if err := errors.Join(err, err2, snap.Close(), want.Close(), same.Close()); err != nil || here != there {
		t.Errorf("the snapshot has the digest %s, %v; want %s", here, err, there)
	}
	foldAll(t, g, log[last:], func() error { return nil })
	full.On()
	done := make(chan error, 1)
	go func() {
		_, err := g.Durable()
		done <- err
	}()
	for end := time.Now().Add(time.Minute); !g.Store.DiskFull(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing waits for room")
		}
	}
	g.checkpointing.Lock() // as a checkpoint that waits for room holds it
	take()
	g.checkpointing.Unlock()
	if snap := <-got; snap != nil {
		t.Error("a state that could not be written is handed out")
		_ = snap.Close()
	}
	full.Off()
	if err := errors.Join(<-done, g.Close()); err != nil {
		t.Error(err)
	}
}
