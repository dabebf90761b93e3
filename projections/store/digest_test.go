package store_test

import (
	"context"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/internal/lab/sim/history"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/store"
)

// The same log gives the same digest, however often it was committed, flushed and compacted on the
// way.
func TestDigestIsThatOfTheLog(t *testing.T) {
	for seed := range 10 {
		log := example(seed)
		var want string
		for way, every := range []int{1, 3, len(log)} {
			s := open(t, vfs.NewMem())
			p := part(t, s)
			for i := range log {
				fold(t, p, log[:i+1])
				if i%every == 0 {
					commit(t, s, p)
				}
				if i%20 == 0 && way == 0 {
					if err := s.Flush(); err != nil {
						t.Fatal(err)
					}
				}
			}
			commit(t, s, p)
			if way == 1 {
				if err := s.Compact(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			got, n := digest(t, s)
			if len(got) != 32 || n != len(keys(t, s, nil)) {
				t.Fatalf("seed %d: digest %q of %d keys, there are %d", seed, got, n, len(keys(t, s, nil)))
			}
			if want == "" {
				want = got
			}
			if got != want {
				t.Errorf("seed %d: digest %s when committed every %d entries, %s otherwise", seed, got, every, want)
			}
			closeStore(t, s)
		}
		if other := digestOf(t, example(seed+1000)); other == want {
			t.Errorf("two logs have the digest %s", want)
		}
	}
}

func digestOf(t *testing.T, log history.Log) string {
	t.Helper()
	s := open(t, vfs.NewMem())
	defer closeStore(t, s)
	p := part(t, s)
	fold(t, p, log)
	commit(t, s, p)
	sum, _ := digest(t, s)
	return sum
}

func TestSnapshotStaysAsItWas(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer closeStore(t, s)
	log := example(11)
	p := part(t, s)
	fold(t, p, log[:len(log)/2])
	commit(t, s, p)
	want, _ := digest(t, s)
	snap := s.Snapshot()
	defer snap.Close()
	fold(t, p, log)
	commit(t, s, p)
	if err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, _, err := snap.Digest(t.Context())
	if err != nil || got != want {
		t.Errorf("digest %s, %v; was %s", got, err, want)
	}
	if now, _ := digest(t, s); now == want {
		t.Error("the store did not go on")
	}
}

// plant puts one table of another state into a store.
func plant(t *testing.T, into *store.Store, log history.Log, projection string) {
	t.Helper()
	from := open(t, vfs.NewMem())
	defer closeStore(t, from)
	p := part(t, from)
	fold(t, p, log)
	commit(t, from, p)
	tables, ok := projections.ProjectionTables(projection)
	if !ok {
		t.Fatalf("no projection %s", projection)
	}
	if err := into.Adopt(from, tables); err != nil {
		t.Fatal(err)
	}
}

func TestCompareNamesTheFirstDifference(t *testing.T) {
	log := example(13)
	for len(keysOf(t, log)) < 20 {
		t.Fatal("the example has too little in it")
	}
	for _, c := range []struct {
		name       string
		live, fold history.Log // what is planted into either state
		what       string
	}{
		{"only live", log, nil, "only live"},
		{"only replayed", nil, log, "only replayed"},
		{"value", log, log[:len(log)/2], ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			live, replayed := open(t, vfs.NewMem()), open(t, vfs.NewMem())
			defer closeStore(t, live)
			defer closeStore(t, replayed)
			plant(t, live, c.live, "readset")
			plant(t, replayed, c.fold, "readset")
			a, b := live.Snapshot(), replayed.Snapshot()
			defer a.Close()
			defer b.Close()
			diff, err := store.Compare(t.Context(), a, b)
			if err != nil || diff == nil {
				t.Fatalf("difference %+v, %v", diff, err)
			}
			want := firstDifference(t, live, replayed)
			if diff.Key != projections.DescribeKey([]byte(want)) || c.what != "" && diff.What != c.what {
				t.Errorf("%+v, want %s, %s", diff, projections.DescribeKey([]byte(want)), c.what)
			}
			if diff.Live == diff.Replayed {
				t.Errorf("no values: %+v", diff)
			}
			if same, err := store.Compare(t.Context(), a, a); same != nil || err != nil {
				t.Errorf("a state differs from itself: %+v, %v", same, err)
			}
		})
	}
}

func keysOf(t *testing.T, log history.Log) []string {
	t.Helper()
	s := open(t, vfs.NewMem())
	defer closeStore(t, s)
	p := part(t, s)
	fold(t, p, log)
	commit(t, s, p)
	return keys(t, s, nil)
}

// firstDifference is found the plain way.
func firstDifference(t *testing.T, x, y *store.Store) string {
	t.Helper()
	a, b := contents(t, x), contents(t, y)
	first := ""
	for _, side := range []map[string]string{a, b} {
		for key := range side {
			v, here := a[key]
			w, there := b[key]
			if (here != there || v != w) && (first == "" || key < first) {
				first = key
			}
		}
	}
	return first
}

func TestComparingEndsWithTheContext(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer closeStore(t, s)
	snap := s.Snapshot()
	defer snap.Close()
	plant(t, s, example(13), "readset")
	full := s.Snapshot()
	defer full.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if diff, err := store.Compare(ctx, full, full); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", diff, err)
	}
}
