package msync

import (
	"slices"
	"testing"
)

// What an author has acknowledged never goes backward, in no partition.
func TestWatermarksOnlyRise(t *testing.T) {
	for _, x := range []struct{ older, newer, want []uint64 }{
		{[]uint64{3, 5}, []uint64{4, 2}, []uint64{4, 5}},
		{[]uint64{0, 9}, []uint64{7, 9}, []uint64{7, 9}},
	} {
		if got := higher(slices.Clone(x.older), slices.Clone(x.newer)); !slices.Equal(got, x.want) {
			t.Errorf("%v and %v: %v, want %v", x.older, x.newer, got, x.want)
		}
	}
}
