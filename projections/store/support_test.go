package store_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/store"
)

const dir = "state"

func open(t testing.TB, fs vfs.FS) *store.Store {
	t.Helper()
	return openWith(t, store.Options{FS: fs})
}

// openTables opens a store that makes tables of every checkpoint, however small.
func openTables(t testing.TB, fs vfs.FS) *store.Store {
	t.Helper()
	return openWith(t, store.Options{FS: fs, TableBytes: 1})
}

func openWith(t testing.TB, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t testing.TB, s *store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// part opens the fold over a store.
func part(t testing.TB, s *store.Store) *projections.Partition {
	t.Helper()
	p, err := projections.Open(0, s, projections.Options{CacheBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// position is what a store stands at.
func position(t testing.TB, s *store.Store) uint64 {
	t.Helper()
	seq, _ := part(t, s).Position()
	return seq
}

// fold applies those of the entries that are new to the fold.
func fold(t testing.TB, p *projections.Partition, log history.Log) {
	t.Helper()
	var batch events.Batch
	at, _ := p.Position()
	for _, e := range log {
		if e.Sequence <= at {
			continue
		}
		batch.SetEvents(e.Events)
		x := projections.Decoded{Sequence: e.Sequence, At: e.At, Fingerprint: e.Sequence, Batch: &batch, Poison: e.Poison}
		if _, err := p.Apply(x); err != nil {
			t.Fatal(err)
		}
	}
}

func commit(t testing.TB, s *store.Store, p *projections.Partition) {
	t.Helper()
	c, err := p.Capture()
	if err == nil {
		err = s.Commit(c)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.Committed(c)
}

// digest is that of what is committed.
func digest(t testing.TB, s *store.Store) (sum string, keys int) {
	t.Helper()
	snap := s.Snapshot()
	defer snap.Close()
	sum, keys, err := snap.Digest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return sum, keys
}

// example is a log with a bit of everything in it.
func example(seed int) history.Log { return history.Logs().Example(seed) }

// longExample is the longest of some logs, for tests that need a state of some size, whatever
// is drawn.
func longExample() (longest history.Log) {
	for seed := range 10 {
		if log := example(seed); len(log) > len(longest) {
			longest = log
		}
	}
	return longest
}
