package cluster

import (
	"fmt"
	"slices"
	"testing"
)

// Each partition is on so many nodes, and no node has much more than its share, however few
// partitions there are; one that goes takes little more along than it has.
func TestSharesAreEven(t *testing.T) {
	t.Parallel()
	for _, partitions := range []int{1, 2, 6, 16, 64, 256} {
		for count := 1; count <= 10; count++ {
			var nodes []string
			for i := range count {
				nodes = append(nodes, fmt.Sprintf("receiptd-%d", i))
			}
			for copies := 1; copies <= count; copies++ {
				all := spread(partitions, copies, nodes)
				has := map[string]int{}
				for k, list := range all {
					if len(slices.Compact(slices.Sorted(slices.Values(list)))) != copies {
						t.Fatalf("partition %d is on %v, want %d nodes", k, list, copies)
					}
					for _, node := range list {
						has[node]++
					}
				}
				mean := float64(partitions*copies) / float64(count)
				for node, n := range has {
					if float64(n) >= 1.125*mean+2 {
						t.Errorf("%d copies of %d partitions on %d nodes: %s has %d, the mean is %.1f", copies, partitions, count, node, n, mean)
					}
				}
				if gone := nodes[0]; copies < count && partitions >= 64 {
					moved := moves(all, spread(partitions, copies, nodes[1:]))
					if most := has[gone] + has[gone]/2 + 2; moved > most {
						t.Errorf("%d copies of %d partitions on %d nodes: %d move when one goes that has %d", copies, partitions, count, moved, has[gone])
					}
				}
			}
		}
	}
	has := map[string]int{}
	for _, list := range spread(6, 1, []string{"a", "b", "c"}) {
		has[list[0]]++
	}
	if has["a"] != 2 || has["b"] != 2 || has["c"] != 2 { // of which five prefer b
		t.Errorf("%v", has)
	}
}

// moves is how many copies are where there was none before.
func moves(before, after [][]string) (count int) {
	for k, list := range after {
		for _, node := range list {
			if !slices.Contains(before[k], node) {
				count++
			}
		}
	}
	return count
}
