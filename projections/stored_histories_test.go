package projections_test

import (
	"flag"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/internal/lab/oracle"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/store"
)

// stored is a state in Pebble, on a disk that can lose its power.
type stored struct {
	*store.Store
	t     *rapid.T
	disk  *vfs.MemFS
	cache *pebble.Cache
	// tableBytes is the size from which on a checkpoint becomes table files.
	tableBytes int
}

func newStored(t *rapid.T, cache *pebble.Cache) *stored {
	s := &stored{t: t, disk: vfs.NewCrashableMem(), cache: cache, tableBytes: rapid.SampledFrom([]int{1, 2000, 0}).Draw(t, "table bytes")}
	s.open()
	return s
}

func (s *stored) open() {
	st, err := store.Open("state", store.Options{FS: s.disk, Cache: s.cache, TableBytes: s.tableBytes})
	if err != nil {
		s.t.Fatalf("open store: %v", err)
	}
	s.Store = st
}

func (s *stored) commit(c *projections.Checkpoint) error { return s.Commit(c) }

func (s *stored) dump() string {
	copied := memory{}
	err := s.Scan(nil, func(key, value []byte) error {
		copied[string(key)] = string(value)
		return nil
	})
	if err != nil {
		s.t.Fatalf("scan: %v", err)
	}
	return copied.dump()
}

// restart closes the store and opens it again.
func (s *stored) restart() {
	if err := s.Close(); err != nil {
		s.t.Fatalf("close store: %v", err)
	}
	s.open()
}

// powerLoss drops some of what was not synced, or all of it, and opens the store again.
func (s *stored) powerLoss(random *rand.Rand) {
	disk := s.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: random.IntN(3) * 50, RNG: random})
	if err := s.Discard(); err != nil {
		s.t.Fatalf("discard store: %v", err)
	}
	s.disk = disk
	s.open()
}

// checkLess bounds the checks of a test that takes some dozen times as long for each as others do:
// with the race detector Pebble notes the stack of whoever opens an iterator. In the long form it
// takes a share of those that are asked for.
func checkLess(t *testing.T) {
	t.Helper()
	asked := flag.Lookup("rapid.checks")
	n := asked.Value.(flag.Getter).Get().(int)
	most := max(100, n/20)
	if testing.Short() {
		most = 25 // of which rapid takes a fifth
	}
	if err := asked.Value.Set(strconv.Itoa(min(n, most))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = asked.Value.Set(strconv.Itoa(n)) })
}

// TestHistoriesSurvivePowerLoss folds random histories over Pebble and stops at any point, in any
// way. The store has to come back at some checkpoint, and the fold of the rest has to end with the
// state of an undisturbed fold.
func TestHistoriesSurvivePowerLoss(t *testing.T) {
	checkLess(t)
	logs := history.Logs()
	cache := pebble.NewCache(8 << 20)
	defer cache.Unref()
	for _, name := range []string{"restarts", "power losses"} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				log := logs.Draw(t, "log")
				random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
				model := oracle.NewWithLimits(0, history.SmallLimits())
				straight := newFold(t, memory{}, 0)
				disk := newStored(t, cache)
				defer func() { _ = disk.Discard() }()
				f := newFold(t, disk, random.IntN(2)*1500+1)
				for _, e := range log {
					want := e.Apply(model)
					straight.apply(e)
					if got := f.apply(e); !slices.Equal(got, want) {
						t.Fatalf("entry %d: outcomes\n got  %v\n want %v", e.Sequence, describe(got), describe(want))
					}
					f.disturb(random.IntN(20), model)
					switch n := random.IntN(40); {
					case n < 4:
						if err := disk.Flush(); err != nil {
							t.Fatalf("flush: %v", err)
						}
					case n == 4 && name == "restarts":
						disk.restart()
						f.crash()
					case n == 4:
						disk.powerLoss(random)
						f.crash()
					}
				}
				compareWithModel(t, f.part, model)
				straight.commitAll()
				f.commitAll()
				if a, b := straight.state.dump(), disk.dump(); a != b {
					t.Fatalf("the states differ:\nstraight:\n%s\nstored:\n%s", a, b)
				}
			})
		})
	}
}
