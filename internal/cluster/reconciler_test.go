package cluster

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

// registerHere is a register of one process.
type registerHere map[string][]byte

func (r registerHere) Get(_ context.Context, key string) ([]byte, uint64, error) {
	if v, there := r[key]; there {
		return v, 1, nil
	}
	return nil, 0, ErrNotFound
}

func (r registerHere) Create(_ context.Context, key string, value []byte) (uint64, error) {
	r[key] = value
	return 1, nil
}

func (r registerHere) Update(_ context.Context, key string, value []byte, _ uint64) (uint64, error) {
	r[key] = value
	return 1, nil
}

// othersOfC are states of another node's copy, beside which node c has one at entry 100.
var othersOfC = []struct {
	name      string
	change    func(*beat)
	silent    bool
	good      bool // it is enough for the one here to leave
	preferred bool // it is asked first
	asked     bool // it is asked at all
}{
	{"serves", func(*beat) {}, false, true, true, true},
	{"is being fetched", func(b *beat) { b.Copies[0].Phase = phaseArriving }, false, false, false, false},
	{"is not there", func(b *beat) { b.Copies[0].Phase = phaseAbsent }, false, false, false, false},
	{"leaves", func(b *beat) { b.Copies[0].Phase = phaseLeaving }, false, true, false, true},
	{"was wrong and is folded again", func(b *beat) { b.Copies[0].Quarantined = true }, false, false, false, false},
	{"is far behind", func(b *beat) { b.Copies[0].Applied = 10 }, false, false, false, true},
	{"was never the same", func(b *beat) { b.Node = "b" }, false, false, true, true},
	{"is that of another process", func(b *beat) { b.Life = "2" }, false, false, true, true},
	{"is that of a node that starts", func(b *beat) { b.State = StateStarting }, false, false, false, true},
	{"is that of a node that stops", func(b *beat) { b.State = StateDraining }, false, false, false, true},
	{"is that of a node that is silent", func(*beat) {}, true, false, false, true},
}

func (n *Node) hearOther(change func(*beat), silent bool) (name string) {
	b := beat{Node: "a", Life: "1", State: StateServing, Copies: []copyBeat{{Applied: 100}}}
	change(&b)
	n.members.note(b)
	if silent {
		n.members.nodes[b.Node].heard = time.Now().Add(-2 * silentAfter)
	}
	return b.Node
}

// A copy leaves only for others that answer, keep up, and were found to be the same.
func TestForWhichCopiesAnotherOneLeaves(t *testing.T) {
	for _, test := range othersOfC {
		n, _ := newNodeC(Checksum{Sequence: 100})
		n.reconciler.agrees = n.agrees
		n.copies[0].same = map[string]string{"a": "1"}
		n.members.note(n.beat())
		name := n.hearOther(test.change, test.silent)
		if good := n.reconciler.goodAt(0)(name); good != test.good {
			t.Errorf("one that %s: good %v", test.name, good)
		}
		if n.reconciler.goodAt(0)("c") {
			t.Error("a copy leaves for itself")
		}
	}
}

// Copies that are not complete, or wrong, are not asked; those that are late or may be gone only if
// no other one answers.
func TestWhichCopiesAreAsked(t *testing.T) {
	for _, test := range othersOfC {
		n, _ := newNodeC(Checksum{Sequence: 100})
		n.members.note(n.beat())
		name := n.hearOther(test.change, test.silent)
		preferred, others := n.Copies(0)
		if slices.Contains(preferred, name) != test.preferred || slices.Contains(append(preferred, others...), name) != test.asked {
			t.Errorf("one that %s: %v are asked first, and then %v", test.name, preferred, others)
		}
	}
}

// However few nodes are left, one stays that is to have copies, and a copy stays that nobody else
// has.
func TestLastCopyStays(t *testing.T) {
	ctx := t.Context()
	n, _ := newNodeC(Checksum{Sequence: 100})
	r := registerHere{}
	n.o.Register, n.reconciler.r = r, r
	for _, name := range []string{"a", "c"} {
		if _, err := Join(ctx, r, name, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Drain(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	if err := n.Drain(ctx, "a"); !errors.Is(err, ErrRefused) {
		t.Errorf("all nodes are drained: %v", err)
	}
	if err := n.Drain(ctx, "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("an unknown node is drained: %v", err)
	}
	plan := n.reconciler.planned()
	if err := vouch(ctx, r, 0, "c"); err != nil {
		t.Fatal(err)
	}
	for range 3 { // a is gone: there is no node that can have copies
		if err := n.reconciler.step(ctx, 0, false, plan.enough(nil)); err != nil {
			t.Fatal(err)
		}
	}
	if phase, stuck := n.reconciler.now(0); phase != "" || stuck == "" {
		t.Errorf("the only copy of a drained node is %q, and in its way is %q", phase, stuck)
	}
}
