package store

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// filtered is a database and the filter before it, as a store has them.
type filtered struct {
	t *testing.T
	*filter
}

func openFiltered(t *testing.T, fs vfs.FS, empty bool) *filtered {
	t.Helper()
	return openFilteredFor(t, fs, empty, defaultFilterBytes)
}

func openFilteredFor(t *testing.T, fs vfs.FS, empty bool, bytes int) *filtered {
	t.Helper()
	db, err := pebble.Open("state", &pebble.Options{FS: fs, DisableWAL: true, Logger: logger{testLogger(t), newFailure(fs, "state", nil), new(ended)}})
	if err != nil {
		t.Fatal(err)
	}
	return &filtered{t, newFilter(db, empty, bytes, func(err error) { t.Error(err) })}
}

// commit puts numbered messages into the database, in the order of a store.
func (f *filtered) commit(from, to uint64) {
	f.t.Helper()
	b := f.db.NewBatch()
	for n := from; n < to; n++ {
		f.add(message(n))
		if err := b.Set(message(n), nil, nil); err != nil {
			f.t.Error(err)
		}
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		f.t.Error(err)
	}
}

func message(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte("m"), n) }

func (f *filtered) close() {
	f.t.Helper()
	f.filter.close()
	if err := f.db.Flush(); err != nil {
		f.t.Error(err)
	}
	if err := f.db.Close(); err != nil {
		f.t.Error(err)
	}
}

// A key that the filter does not know is taken for one that is not there: a receipt would be lost.
// So it knows every key, while it learns, while it grows, and after.
func TestFilterKnowsEveryKeyAtAnyTime(t *testing.T) {
	const rounds, each = 40, 300
	disk := vfs.NewMem()
	f := openFiltered(t, disk, true)
	for round := range uint64(rounds) {
		switch {
		case round%20 == 19: // a restart: it learns from the start while more is committed
			f.close()
			f = openFiltered(t, disk, false)
		case round%5 == 4: // full: a further set takes what is committed now
			f.mu.Lock()
			last := f.sets[len(f.sets)-1]
			last.capacity = min(last.capacity, last.keys)
			f.mu.Unlock()
		}
		var asking sync.WaitGroup
		asking.Go(func() {
			for range 2000 {
				if n := rand.Uint64N(round*each + 1); n < round*each && f.lacks(message(n)) {
					t.Errorf("round %d: message %d is committed and lacks", round, n)
					return
				}
			}
		})
		f.commit(round*each, (round+1)*each)
		asking.Wait()
		for n := range (round + 1) * each {
			if f.lacks(message(n)) {
				t.Fatalf("round %d: message %d is committed and lacks", round, n)
			}
		}
	}
	f.learning.Wait()
	wrong := 0
	for n := range uint64(10_000) {
		if !f.lacks(message(n + 1<<40)) {
			wrong++
		}
	}
	if wrong > 300 {
		t.Errorf("%d of 10000 messages that are not there seem to be", wrong)
	}
	f.close()
}

// Learning from a large state must not hold up the end of a process.
func TestFilterStopsLearning(t *testing.T) {
	disk := vfs.NewMem()
	f := openFiltered(t, disk, true)
	f.commit(0, 20_000)
	f.close()
	f = openFiltered(t, disk, false)
	f.stop()
	f.learning.Wait()
	f.mu.Lock()
	complete := f.complete
	f.mu.Unlock()
	if !complete && f.lacks(message(1)) {
		t.Error("what it did not learn lacks")
	}
	f.close()
}

// A store with a small cache has a small filter, and as right a one.
func TestFilterIsNoLargerThanIsAskedFor(t *testing.T) {
	for bytes, want := range map[int]uint64{1: 1, 175: 100, defaultFilterBytes: firstFilterKeys} {
		f := openFilteredFor(t, vfs.NewMem(), true, bytes)
		if got := f.sets[0].capacity; got != want {
			t.Errorf("of %d bytes it is made for %d keys, not %d", bytes, got, want)
		}
		f.commit(0, 300)
		for n := range uint64(300) {
			if f.lacks(message(n)) {
				t.Fatalf("of %d bytes it does not know %d", bytes, n)
			}
		}
		f.close()
	}
}

// Memory is bounded, and so is the number of sets that each lookup asks. Half as many keys again as
// there is room for make it let through more, and not everything.
func TestFilterGrowsToItsBound(t *testing.T) {
	const room, first = 29_300, 1000
	f := openFiltered(t, vfs.NewMem(), true)
	f.sets, f.most = []*keySet{newKeySet(first)}, room
	f.commit(0, room*3/2)
	var total, bytes uint64
	for _, s := range f.sets {
		total += s.capacity
		bytes += s.bloom.NumBits() / 8
	}
	if total != room || len(f.sets) > 6 {
		t.Errorf("%d sets for %d keys, not for %d", len(f.sets), total, room)
	}
	if filterKeys(int(bytes)) > room*11/10 {
		t.Errorf("%d bytes are counted as room for %d keys, not for %d", bytes, filterKeys(int(bytes)), room)
	}
	through := 0
	for n := range uint64(10_000) {
		if !f.lacks(message(n + 1<<40)) {
			through++
		}
	}
	if through > 2000 {
		t.Errorf("%d of 10000 lookups of keys that are not there are let through", through)
	}
	t.Logf("%d sets, %d of 10000 let through", len(f.sets), through)
	f.close()
}
