package cluster

import "testing"

// The level is raised to what all know, when all serve, by the one of the first name.
func TestLevelIsThatWhichAllKnow(t *testing.T) {
	type node struct {
		state string
		max   uint64
	}
	serving := func(max uint64) node { return node{StateServing, max} }
	for _, test := range []struct {
		self  string
		nodes map[string]node
		want  uint64
	}{
		{"a", nil, 0},
		{"a", map[string]node{"a": serving(2)}, 2},
		{"a", map[string]node{"a": serving(3), "b": serving(2), "c": serving(3)}, 2},
		{"a", map[string]node{"a": serving(2), "b": serving(0)}, 1}, // which knows of no levels
		{"a", map[string]node{"a": serving(2), "b": {StateStarting, 2}}, 0},
		{"a", map[string]node{"a": serving(2), "b": {StateDraining, 2}}, 0},
		{"b", map[string]node{"a": serving(2), "b": serving(2)}, 0},
	} {
		heard := map[string]*member{}
		for name, n := range test.nodes {
			heard[name] = &member{beat: beat{Node: name, State: n.state, MaxLevel: n.max}}
		}
		if got := levelOf(test.self, heard); got != test.want {
			t.Errorf("%s, %v: level %d, want %d", test.self, test.nodes, got, test.want)
		}
	}
}
