package cluster

import "testing"

// The level is raised to what all know, when all serve.
func TestLevelIsThatWhichAllKnow(t *testing.T) {
	type node struct {
		state string
		max   uint64
	}
	serving := func(max uint64) node { return node{StateServing, max} }
	for _, test := range []struct {
		nodes map[string]node
		want  uint64
	}{
		{nil, 0},
		{map[string]node{"a": serving(2)}, 2},
		{map[string]node{"a": serving(3), "b": serving(2), "c": serving(3)}, 2},
		{map[string]node{"a": serving(2), "b": serving(0)}, 1}, // which knows of no levels
		{map[string]node{"a": serving(2), "b": {StateStarting, 2}}, 0},
		{map[string]node{"a": serving(2), "b": {StateDraining, 2}}, 0},
	} {
		heard := map[string]*member{}
		for name, n := range test.nodes {
			heard[name] = &member{beat: beat{Node: name, State: n.state, MaxLevel: n.max}}
		}
		if got := levelOf(heard); got != test.want {
			t.Errorf("%v: level %d, want %d", test.nodes, got, test.want)
		}
	}
}
