package cluster

import (
	"encoding/json"
	"slices"
	"testing"
)

// FuzzPlan: whatever the bucket has of a plan, a partition is wanted on nodes that can
// have it, on each once, and on one at least; and what is read is the same once it is stored.
func FuzzPlan(f *testing.F) {
	f.Add([]byte(`{"copies":2,"chosen":true,"nodes":["a","b","c"],"drained":["b"],"moves":[{"partition":1,"from":"a","to":"c"}]}`), 1)
	f.Add([]byte(`{"copies":-1,"moves":[{"partition":-1,"from":"a","to":"a"}]}`), -1)
	f.Add([]byte(`{"copies":1,"moves":[{"partition":0,"from":"a","to":"b"},{"partition":0,"from":"b","to":"c"}]}`), 0)
	f.Add([]byte(`null`), 0)
	can := []string{"a", "b", "c", "d"}
	f.Fuzz(func(t *testing.T, text []byte, partition int) {
		var p Plan
		if json.Unmarshal(text, &p) != nil {
			return
		}
		partition &= 7
		want := p.wanted(8, can)[partition]
		once := slices.Compact(slices.Sorted(slices.Values(want)))
		if len(want) == 0 || len(once) != len(want) || p.Copies > 0 && len(want) > p.Copies {
			t.Errorf("%q: partition %d is wanted on %v", text, partition, want)
		}
		for _, node := range want {
			if !slices.Contains(can, node) {
				t.Errorf("%q: partition %d is wanted on %s", text, partition, node)
			}
		}
		stored, err := json.Marshal(p)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		var again Plan
		if err := json.Unmarshal(stored, &again); err != nil || !slices.Equal(again.wanted(8, can)[partition], want) {
			t.Errorf("%q is stored as %q", text, stored)
		}
		for _, node := range can {
			p.without(node)
		}
		if slices.ContainsFunc(p.Nodes, func(node string) bool { return slices.Contains(can, node) }) {
			t.Errorf("%q: what was forgotten is there: %+v", text, p)
		}
	})
}
