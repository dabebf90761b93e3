package projections_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/internal/lab/sim/history"
)

// TestCacheCountsWhatItHolds guards the bound on memory: a count that drifts from what is cached
// would, over weeks, make the cache useless or unbounded.
func TestCacheCountsWhatItHolds(t *testing.T) {
	logs := history.Logs()
	rapid.Check(t, func(t *rapid.T) {
		log := logs.Draw(t, "log")
		f := newFold(t, memory{}, rapid.SampledFrom([]int{0, 1, 4000}).Draw(t, "cache bytes"))
		for _, e := range log {
			f.apply(e)
			if counted, actual := f.part.CacheSize(); counted != actual {
				t.Fatalf("after entry %d: counted %d bytes, cached %d", e.Sequence, counted, actual)
			}
			if rapid.IntRange(0, 4).Draw(t, "commit") == 0 {
				f.commit()
			}
		}
	})
}

// What is not in the backing yet must not be evicted, however small the cache; and it must be once
// it is.
func TestCacheLetsGoOfWhatIsCommitted(t *testing.T) {
	logs := history.Logs()
	rapid.Check(t, func(t *rapid.T) {
		log := logs.Draw(t, "log")
		large, small := newFold(t, memory{}, 0), newFold(t, memory{}, 1)
		for _, e := range log {
			large.apply(e)
			small.apply(e)
		}
		large.commit()
		small.commit()
		if a, b := large.state.dump(), small.state.dump(); a != b {
			t.Fatalf("a small cache lost changes:\nlarge:\n%s\nsmall:\n%s", a, b)
		}
		_, _ = small.part.Message("o#a", "no such message") // makes the cache evict
		if _, left := small.part.CacheSize(); left != 0 {
			t.Fatalf("%d bytes are cached beyond the budget", left)
		}
	})
}
