package projections

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A set of numbers is what a list of them would be, and is the same after it was stored and loaded.
func TestNumbersAreASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s intervals
		var list []uint64
		next := uint64(1)
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			if rapid.IntRange(0, 2).Draw(t, "add") > 0 {
				s.add(next)
				list = append(list, next)
				next += uint64(rapid.SampledFrom([]int{1, 1, 1, 5}).Draw(t, "gap"))
				continue
			}
			n := rapid.Uint64Range(0, next).Draw(t, "number")
			k, found := slices.BinarySearch(list, n)
			if found {
				list = slices.Delete(list, k, k+1)
			}
			if s.remove(n) != found {
				t.Fatalf("remove(%d) of %v is not %v", n, s, found)
			}
		}
		var stored intervals
		stored.decode(&reader{b: s.encode(nil)})
		for _, x := range []*intervals{&s, &stored} {
			for n := range next + 1 {
				if _, found := slices.BinarySearch(list, n); x.has(n) != found {
					t.Fatalf("has(%d) of %v is not %v", n, *x, found)
				}
			}
			if x.count != len(list) || len(list) > 0 && x.first != list[0] || len(list) == 0 && x.first != 0 {
				t.Fatalf("%v is not %v", *x, list)
			}
			for k := 1; k < len(x.list); k++ {
				if x.list[k-1].end >= x.list[k].first {
					t.Fatalf("no gap in %v", *x)
				}
			}
		}
	})
}
