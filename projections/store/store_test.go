package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/store"
)

// After a power loss the store is where it was flushed last, neither behind nor halfway beyond.
func TestPowerLossLeavesTheLastFlushedCheckpoint(t *testing.T) {
	disk := vfs.NewCrashableMem()
	log := example(1)
	third := len(log) / 3
	s := open(t, disk)
	p := part(t, s)
	fold(t, p, log[:third])
	commit(t, s, p)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	want, _ := digest(t, s)
	fold(t, p, log[:2*third])
	commit(t, s, p)
	crashed := disk.CrashClone(vfs.CrashCloneCfg{})
	closeStore(t, s)

	s = open(t, crashed)
	if got, _ := digest(t, s); got != want {
		t.Errorf("state %s, flushed was %s", got, want)
	}
	if at := position(t, s); at != log[third-1].Sequence {
		t.Errorf("position %d, flushed was %d", at, log[third-1].Sequence)
	}
	closeStore(t, s)

	s = open(t, disk) // Close flushes
	defer closeStore(t, s)
	if at := position(t, s); at != log[2*third-1].Sequence {
		t.Errorf("position %d after Close, want %d", at, log[2*third-1].Sequence)
	}
}

func TestGetTellsAnEmptyValueFromNone(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer closeStore(t, s)
	p := part(t, s)
	fold(t, p, example(2))
	commit(t, s, p)
	empty := 0
	err := s.Scan(nil, func(key, value []byte) error {
		if len(value) == 0 {
			empty++
		}
		return nil
	})
	if err != nil || empty == 0 {
		t.Fatalf("%d empty values, %v", empty, err)
	}
	for _, key := range keys(t, s, nil) {
		if v, err := s.Get([]byte(key)); v == nil || err != nil {
			t.Errorf("%s: %v, %v", projections.DescribeKey([]byte(key)), v, err)
		}
		if v, err := s.Get([]byte(key + "x")); v != nil || err != nil {
			t.Errorf("%s, which is not there: %v, %v", projections.DescribeKey([]byte(key+"x")), v, err)
		}
	}
}

func keys(t testing.TB, s *store.Store, prefix []byte) (list []string) {
	t.Helper()
	err := s.Scan(prefix, func(key, _ []byte) error {
		list = append(list, string(key))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestScanGivesAPrefixInOrderAndNothingElse(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer closeStore(t, s)
	p := part(t, s)
	fold(t, p, example(3))
	commit(t, s, p)
	all := keys(t, s, nil)
	for _, key := range all {
		for n := 1; n <= len(key); n++ {
			var want []string
			for _, other := range all {
				if strings.HasPrefix(other, key[:n]) {
					want = append(want, other)
				}
			}
			if got := keys(t, s, []byte(key[:n])); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("prefix %q: %q, want %q", key[:n], got, want)
			}
		}
	}
	if got := keys(t, s, []byte{0xff, 0xff}); len(got) > 0 {
		t.Errorf("beyond all keys: %q", got)
	}
	stop := errors.New("enough")
	if err := s.Scan(nil, func(_, _ []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a scan that is stopped returns %v", err)
	}
}

// A value that Get or Scan hands out is used before the next call; what was made of it must not
// change after.
func TestAnswersDoNotShareMemoryWithTheStore(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer closeStore(t, s)
	p := part(t, s)
	fold(t, p, example(4))
	commit(t, s, p)
	users := []string{"u1", "u2", "u3", "u4", "u5", "u6"}
	ask := func(p *projections.Partition) string {
		var b bytes.Buffer
		for _, u := range users {
			list, err := p.Conversations("o#a", u)
			fmt.Fprintln(&b, u, list, err)
			items, _, err := p.Summary("o#a", u, "")
			fmt.Fprintln(&b, items, err)
		}
		return b.String()
	}
	first := part(t, s)
	want := ask(first)
	for range 3 { // the cache is starved: each answer is read anew
		if got := ask(first); got != want {
			t.Fatalf("answers change:\n%s\nthen\n%s", want, got)
		}
	}
}

func TestAdoptReplacesWholeTables(t *testing.T) {
	disk, other := vfs.NewCrashableMem(), vfs.NewMem()
	live, replayed := open(t, disk), open(t, other)
	defer closeStore(t, replayed)
	p, q := part(t, live), part(t, replayed)
	fold(t, p, example(5))
	commit(t, live, p)
	fold(t, q, example(6))
	commit(t, replayed, q)

	before := contents(t, live)
	tables, _ := projections.ProjectionTables("readset")
	if err := live.Adopt(replayed, tables); err != nil {
		t.Fatal(err)
	}
	check := func(s *store.Store) {
		t.Helper()
		got, from := contents(t, s), contents(t, replayed)
		for key, value := range got {
			want := before[key]
			if strings.IndexByte(string(tables), key[0]) >= 0 {
				want = from[key]
			}
			if value != want {
				t.Errorf("%s is %q, want %q", projections.DescribeKey([]byte(key)), value, want)
			}
		}
		for key := range from {
			if _, ok := got[key]; !ok && strings.IndexByte(string(tables), key[0]) >= 0 {
				t.Errorf("%s was not adopted", projections.DescribeKey([]byte(key)))
			}
		}
		for key := range got {
			if v, err := s.Get([]byte(key)); v == nil || err != nil {
				t.Errorf("%s is not found: %v", projections.DescribeKey([]byte(key)), err)
			}
		}
	}
	check(live)
	crashed := disk.CrashClone(vfs.CrashCloneCfg{}) // adopted is durable
	closeStore(t, live)
	s := open(t, crashed)
	defer closeStore(t, s)
	check(s)
}

func contents(t testing.TB, s *store.Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := s.Scan(nil, func(key, value []byte) error {
		all[string(key)] = string(value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Pebble repeats a write that failed again and again, without a word to those who commit; the store
// reports it at once.
func TestFailedWriteEndsTheStore(t *testing.T) {
	disk := vfs.NewMem()
	broken := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".sst") {
			return errorfs.ErrInjected
		}
		return nil
	})}
	s := open(t, errorfs.Wrap(disk, broken))
	log := example(7)
	p := part(t, s)
	half := len(log) / 2
	fold(t, p, log[:half])
	commit(t, s, p)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	broken.On()
	fold(t, p, log)
	commit(t, s, p) // in memory only
	within(t, "Flush", func() {
		if err := s.Flush(); !errors.Is(err, errorfs.ErrInjected) {
			t.Errorf("a flush to a broken disk returns %v", err)
		}
	})
	c, err := p.Capture()
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() error{
		"Commit":    func() error { return s.Commit(c) },
		"Flush":     s.Flush,
		"FlushSoon": s.FlushSoon,
		"Compact":   func() error { return s.Compact(t.Context()) },
	} {
		within(t, name, func() {
			if err := f(); !errors.Is(err, errorfs.ErrInjected) {
				t.Errorf("%s after a failed write returns %v", name, err)
			}
		})
	}
	within(t, "Close", func() {
		if err := s.Close(); !errors.Is(err, errorfs.ErrInjected) {
			t.Errorf("Close after a failed write returns %v", err)
		}
	})
	s = open(t, disk)
	defer closeStore(t, s)
	if at := position(t, s); at != log[half-1].Sequence {
		t.Errorf("position %d, the last that was written is %d", at, log[half-1].Sequence)
	}
}

// A manifest whose sync failed may have its last record or not. Whichever it is, the next start
// finds a state that is a fold of the log: nothing is written twice.
func TestManifestThatCannotBeSyncedEndsTheStore(t *testing.T) {
	for fault, kind := range map[string]errorfs.OpKind{"write": errorfs.OpFileWrite, "sync": errorfs.OpFileSync} {
		t.Run(fault, func(t *testing.T) {
			disk := vfs.NewMem()
			var armed atomic.Bool
			s := openWith(t, store.Options{TableBytes: 1, FS: errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind == kind && strings.Contains(op.Path, "MANIFEST") && armed.CompareAndSwap(true, false) {
					return errorfs.ErrInjected
				}
				return nil
			}))})
			log := example(7)
			p := part(t, s)
			half := len(log) / 2
			fold(t, p, log[:half])
			commit(t, s, p)
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
			armed.Store(true)
			fold(t, p, log)
			if c, err := p.Capture(); err == nil {
				_ = s.Commit(c)
			}
			within(t, "Flush", func() {
				if err := s.Flush(); err == nil {
					t.Error("what is not in the manifest is flushed")
				}
			})
			within(t, "Close", func() { _ = s.Close() })
			if armed.Load() {
				t.Fatal("the manifest was not touched")
			}

			s = open(t, disk)
			defer closeStore(t, s)
			at := position(t, s)
			if at != log[half-1].Sequence && at != log[len(log)-1].Sequence {
				t.Errorf("position %d, was %d durably and got to %d", at, log[half-1].Sequence, log[len(log)-1].Sequence)
			}
			got, _ := digest(t, s)
			upto := half
			if at == log[len(log)-1].Sequence {
				upto = len(log)
			}
			if want := digestOf(t, log[:upto]); got != want {
				t.Errorf("at %d the state is not a fold of the log", at)
			}
		})
	}
}

// within fails the test when f takes for ever.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s does not return", what)
	}
}

func TestOpenOfABrokenDiskIsAnError(t *testing.T) {
	disk := vfs.NewMem()
	s := open(t, disk)
	closeStore(t, s)
	broken := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpOpen {
			return errorfs.ErrInjected
		}
		return nil
	}))
	if s, err := store.Open(dir, store.Options{FS: broken}); !errors.Is(err, errorfs.ErrInjected) || s != nil {
		t.Errorf("opened %v, error %v", s, err)
	}
}
