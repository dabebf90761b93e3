package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/internal/presence"
)

// Which copies are taken for wrong does not depend on who asks, and is never all of them.
func TestWhoIsWrong(t *testing.T) {
	mark := func(node, digest string, refolded int) markOf {
		return markOf{node, Mark{9, 0, "c", digest, refolded, 2}}
	}
	for _, test := range []struct {
		marks []markOf
		want  string
	}{
		{[]markOf{mark("a", "x", 0)}, ""},
		{[]markOf{mark("a", "x", 0), mark("b", "x", 0), mark("c", "x", 0)}, ""},
		{[]markOf{mark("a", "x", 0), mark("b", "y", 0), mark("c", "x", 0)}, "b"},
		{[]markOf{mark("a", "y", 0), mark("b", "x", 0), mark("c", "x", 0)}, "a"},
		{[]markOf{mark("a", "y", 3), mark("b", "x", 0), mark("c", "x", 0)}, "a"},
		{[]markOf{mark("a", "x", 0), mark("b", "y", 0)}, "b"},
		{[]markOf{mark("a", "x", 0), mark("b", "y", 1)}, "a"},
		{[]markOf{mark("a", "x", 1), mark("b", "y", 1)}, "b"},
		{[]markOf{mark("a", "x", 0), mark("b", "y", 0), mark("c", "z", 0)}, "bc"},
		{[]markOf{mark("a", "x", 0), mark("b", "y", 0), mark("c", "z", 1)}, "ab"},
	} {
		for turn := range len(test.marks) {
			marks := append(append([]markOf{}, test.marks[turn:]...), test.marks[:turn]...)
			found := map[string]bool{}
			wrong, settled := differing(marks, 0)
			if !settled {
				t.Errorf("%s: it is not settled which are wrong", fmt.Sprint(marks))
			}
			for _, w := range wrong {
				found[w.node] = true
			}
			got := ""
			for _, m := range test.marks {
				if found[m.node] {
					got += m.node
				}
			}
			if got != test.want {
				t.Errorf("%s: wrong are %q, want %q", fmt.Sprint(marks), got, test.want)
			}
		}
	}
}

// copyHere is this node's copy of one partition.
type copyHere struct {
	State
	folded    uint64
	condemned bool
}

func (c *copyHere) Folded() []uint64            { return []uint64{c.folded} }
func (c *copyHere) Levels() []uint64            { return []uint64{1} }
func (c *copyHere) Condemned(int) bool          { return c.condemned }
func (c *copyHere) Durable(int) (uint64, error) { return c.folded, nil }
func (c *copyHere) Ready() error                { return nil }
func (c *copyHere) Condemn(int, error) error    { c.condemned = true; return nil }

// MarkAt waits for an entry that is not folded, and takes no time.
func (c *copyHere) MarkAt(ctx context.Context, _ int, sequence uint64) (Mark, time.Duration, error) {
	if sequence > c.folded {
		<-ctx.Done()
		return Mark{}, 0, ctx.Err()
	}
	return Mark{Sequence: sequence, Chain: "c", Digest: "x"}, 0, nil
}

func (c *copyHere) WaitFor(context.Context, int, uint64) error { return nil }

// oneLog is a log of one partition.
type oneLog struct{ Log }

func (oneLog) Partitions() int  { return 1 }
func (oneLog) Identity() uint64 { return 1 }

func (c *copyHere) Presence(int) presence.Presence { return presence.Here }

// newNodeC is a node c beside a and b, with a mark of its copy.
func newNodeC(mine Mark) (*Node, *copyHere) {
	here := &copyHere{folded: mine.Sequence}
	o := Options{Name: "c", Life: "1", Log: oneLog{}, State: here, Logger: slog.New(slog.DiscardHandler), Draining: func() bool { return false }}
	n := &Node{o: o, state: here, copies: make([]comparison, 1)}
	n.members = newMembers(nil, "c", "1", 1, n.beat)
	n.places = newPlaces(&n.o, n.members)
	n.divergences = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "divergences"}, []string{"partition"})
	n.copies[0].mark = mine
	n.look()
	return n, here
}

func (n *Node) hear(node string, mark Mark, quarantined bool) {
	n.members.note(beat{Node: node, State: StateServing, Copies: []copyBeat{{Applied: mark.Sequence, Mark: mark, Quarantined: quarantined}}})
}

// All digests of a node together take a twentieth of the time, however many copies it has.
func TestComparisonsTakeTheirShare(t *testing.T) {
	n, _ := newNodeC(Mark{Sequence: 9})
	for _, copies := range []int{1, 6, 64} {
		n.copies = make([]comparison, copies)
		for _, cost := range []time.Duration{0, time.Millisecond, time.Second} {
			pause := n.comparePause(cost)
			if share := float64(copies) * cost.Seconds() / pause.Seconds(); pause < compareEvery || share > .0501 {
				t.Errorf("%d copies of %s each: every %s, which is %.2f of the time", copies, cost, pause, share)
			}
		}
	}
	if pause := n.comparePause(24 * time.Hour); pause != compareLatest {
		t.Errorf("a state of a day is compared every %s", pause)
	}
}

// A copy is judged by those of the same entry of the same tree, and by nothing else.
func TestOnlyMarksOfTheSameEntryAreCompared(t *testing.T) {
	mine := Mark{Sequence: 9, Chain: "c", Digest: "x"}
	with := func(change func(*Mark)) Mark {
		m := mine
		change(&m)
		return m
	}
	differs := with(func(m *Mark) { m.Digest = "y" })
	for _, test := range []struct {
		name              string
		other             Mark
		quarantined       bool
		condemned, agreed bool
	}{
		{"the same", mine, false, false, true},
		{"another digest", differs, false, true, false},
		{"another chain", with(func(m *Mark) { m.Chain = "d" }), false, true, false},
		{"an entry before", with(func(m *Mark) { m.Digest, m.Sequence = "y", 8 }), false, false, false},
		{"a tree that begins elsewhere", with(func(m *Mark) { m.Digest, m.Chain, m.Base = "y", "d", 5 }), false, false, false},
		{"of other rules", with(func(m *Mark) { m.Digest, m.Rules = "y", 3 }), false, false, false},
		{"no mark", Mark{}, false, false, false},
		{"one that is wrong itself", differs, true, false, true},
	} {
		n, here := newNodeC(mine)
		n.hear("a", test.other, test.quarantined)
		n.hear("b", test.other, test.quarantined)
		n.judge(0, n.members.list())
		if agreed := n.copies[0].agreed == 9; here.condemned != test.condemned || agreed != test.agreed {
			t.Errorf("%s: condemned %v, agreed %v", test.name, here.condemned, agreed)
		}
	}
}

// While the mark of a copy that serves is missing, and may make the majority, no copy is condemned;
// not for ever.
func TestCopiesThatDifferWaitForTheOthers(t *testing.T) {
	mine := Mark{Sequence: 9, Chain: "c", Digest: "x"}
	differs, before := mine, mine
	differs.Digest, before.Sequence = "y", 8
	for _, test := range []struct {
		name      string
		late      Mark
		after     time.Duration
		condemned time.Duration // not before; 0 = never
	}{
		{"it is as the one here", mine, time.Second, 0},
		{"it is as the other one", differs, time.Second, time.Second},
		{"it does not come", before, 2 * judgeWait, judgeWait},
	} {
		synctest.Test(t, func(t *testing.T) {
			n, here := newNodeC(mine)
			late, began := before, time.Now()
			for time.Since(began) < 2*judgeWait {
				if time.Since(began) >= test.after {
					late = test.late
				}
				n.hear("a", late, false)
				n.hear("b", differs, false)
				if n.judge(0, n.members.list()); here.condemned {
					break
				}
				time.Sleep(beatEvery)
			}
			if after := time.Since(began); here.condemned != (test.condemned > 0) || here.condemned && after < test.condemned {
				t.Errorf("%s: condemned %v, after %s", test.name, here.condemned, after)
			}
		})
	}
}

// What a node says of itself is of now, and not of its last beat.
func TestNodeDescribesItselfAsItIs(t *testing.T) {
	n, here := newNodeC(Mark{Sequence: 9, Chain: "c", Digest: "x"})
	n.members.note(n.beat())
	here.folded = 10
	if got := n.Describe().Partitions[0].Copies; len(got) != 1 || got[0].Applied != 10 || got[0].Sequence != 9 {
		t.Errorf("%+v", got)
	}
}

// Where the log ends before the entry at which copies were to be compared, they are compared where
// it ends, at once.
func TestLogThatStopsIsComparedWhereItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, here := newNodeC(Mark{})
		ctx, cancel := context.WithCancel(t.Context())
		here.folded = 4
		for range 5 {
			n.members.note(n.beat())
			n.compareAll(ctx)
			time.Sleep(beatEvery)
		}
		if at := n.copies[0].mark.Sequence; at != 4 {
			t.Errorf("compared at entry %d, waiting for %d; the log ends with 4", at, n.copies[0].marking)
		}
		cancel()
		n.background.Wait()
	})
}

// A node that comes to be the one to say where copies are compared says where the log ends,
// whatever it said before: a copy that has come since is compared there, without another entry.
func TestCopyThatComesIsComparedWhereTheLogEnds(t *testing.T) {
	for _, said := range []uint64{0, 5, 12} {
		n, _ := newNodeC(Mark{Sequence: 9, Chain: "c", Digest: "x"})
		n.copies[0].compare, n.copies[0].seen = said, 9
		n.propose(0, 9, n.members.list())
		n.members.note(n.beat())
		if at := n.proposed(0, n.members.list()); at != 9 {
			t.Errorf("after %d it says %d; the log ends with 9", said, at)
		}
	}
}
