package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/receiptd/receiptd/internal/copystate"
)

// Which copies are taken for wrong does not depend on who asks, and is never all of them.
func TestWhoIsWrong(t *testing.T) {
	checksum := func(node, digest string, refolded int) nodeChecksum {
		return nodeChecksum{node, Checksum{9, 0, "c", digest, refolded, 2}}
	}
	for _, test := range []struct {
		checksums []nodeChecksum
		want      string
	}{
		{[]nodeChecksum{checksum("a", "x", 0)}, ""},
		{[]nodeChecksum{checksum("a", "x", 0), checksum("b", "x", 0), checksum("c", "x", 0)}, ""},
		{[]nodeChecksum{checksum("a", "x", 0), checksum("b", "y", 0), checksum("c", "x", 0)}, "b"},
		{[]nodeChecksum{checksum("a", "y", 0), checksum("b", "x", 0), checksum("c", "x", 0)}, "a"},
		{[]nodeChecksum{checksum("a", "y", 3), checksum("b", "x", 0), checksum("c", "x", 0)}, "a"},
		{[]nodeChecksum{checksum("a", "x", 0), checksum("b", "y", 0)}, "b"},
		{[]nodeChecksum{checksum("a", "x", 0), checksum("b", "y", 1)}, "a"},
		{[]nodeChecksum{checksum("a", "x", 1), checksum("b", "y", 1)}, "b"},
		{[]nodeChecksum{checksum("a", "x", 0), checksum("b", "y", 0), checksum("c", "z", 0)}, "bc"},
		{[]nodeChecksum{checksum("a", "x", 0), checksum("b", "y", 0), checksum("c", "z", 1)}, "ab"},
	} {
		for first := range len(test.checksums) {
			checksums := append(append([]nodeChecksum{}, test.checksums[first:]...), test.checksums[:first]...)
			found := map[string]bool{}
			wrong, settled := differing(checksums, 0)
			if !settled {
				t.Errorf("%s: it is not settled which are wrong", fmt.Sprint(checksums))
			}
			for _, w := range wrong {
				found[w.node] = true
			}
			got := ""
			for _, m := range test.checksums {
				if found[m.node] {
					got += m.node
				}
			}
			if got != test.want {
				t.Errorf("%s: wrong are %q, want %q", fmt.Sprint(checksums), got, test.want)
			}
		}
	}
}

// copyHere is this node's copy of one partition.
type copyHere struct {
	State
	folded    uint64
	condemned bool
	refused   bool
}

func (c *copyHere) Folded() []uint64            { return []uint64{c.folded} }
func (c *copyHere) Levels() []uint64            { return []uint64{1} }
func (c *copyHere) Condemned(int) bool          { return c.condemned }
func (c *copyHere) Durable(int) (uint64, error) { return c.folded, nil }
func (c *copyHere) Ready() error                { return nil }
func (c *copyHere) Condemn(int, error) error    { c.condemned = true; return nil }
func (c *copyHere) Refuse(int, error) error     { c.condemned, c.refused = true, true; return nil }

// ChecksumAt waits for an entry that is not folded, and takes no time.
func (c *copyHere) ChecksumAt(ctx context.Context, _ int, sequence uint64) (Checksum, time.Duration, error) {
	if sequence > c.folded {
		<-ctx.Done()
		return Checksum{}, 0, ctx.Err()
	}
	return Checksum{Sequence: sequence, Chain: "c", Digest: "x"}, 0, nil
}

func (c *copyHere) WaitFor(context.Context, int, uint64) error { return nil }

// oneLog is a log of one partition.
type oneLog struct{ Log }

func (oneLog) Partitions() int  { return 1 }
func (oneLog) Identity() uint64 { return 1 }

func (c *copyHere) CopyState(int) copystate.State { return copystate.Here }

// newNodeC is a node c beside a and b, with a checksum of its copy.
func newNodeC(mine Checksum) (*Node, *copyHere) { return newNode("c", mine) }

func newNode(name string, mine Checksum) (*Node, *copyHere) {
	here := &copyHere{folded: mine.Sequence}
	o := Options{Name: name, Life: "1", Log: oneLog{}, State: here, Logger: slog.New(slog.DiscardHandler), Draining: func() bool { return false }}
	n := &Node{o: o, state: here, copies: make([]comparison, 1)}
	n.members = newMembers(nil, name, "1", 1, n.beat)
	n.reconciler = newReconciler(&n.o, n.members)
	n.divergences = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "divergences"}, []string{"partition"})
	n.copies[0].checksum = mine
	n.look()
	return n, here
}

func (n *Node) hear(node string, checksum Checksum, quarantined bool) {
	n.members.note(beat{Node: node, State: StateServing, Copies: []copyBeat{{Applied: checksum.Sequence, Checksum: checksum, Quarantined: quarantined}}})
}

// All digests of a node together take a twentieth of the time, however many copies it has.
func TestComparisonsTakeTheirShare(t *testing.T) {
	n, _ := newNodeC(Checksum{Sequence: 9})
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
func TestOnlyChecksumsOfTheSameEntryAreCompared(t *testing.T) {
	mine := Checksum{Sequence: 9, Chain: "c", Digest: "x"}
	with := func(change func(*Checksum)) Checksum {
		m := mine
		change(&m)
		return m
	}
	differs := with(func(m *Checksum) { m.Digest = "y" })
	for _, test := range []struct {
		name                       string
		other                      Checksum
		quarantined                bool
		condemned, agreed, counted bool
	}{
		{"the same", mine, false, false, true, false},
		{"another digest", differs, false, true, false, true},
		{"another chain", with(func(m *Checksum) { m.Chain = "d" }), false, true, false, true},
		{"an entry before", with(func(m *Checksum) { m.Digest, m.Sequence = "y", 8 }), false, false, false, false},
		{"a tree that begins elsewhere", with(func(m *Checksum) { m.Digest, m.Chain, m.Base = "y", "d", 5 }), false, false, false, false},
		{"of other rules", with(func(m *Checksum) { m.Digest, m.Rules = "y", 3 }), false, false, false, false},
		{"no checksum", Checksum{}, false, false, false, false},
		{"one that is wrong itself", differs, true, false, true, true},
		{"one that was so before", with(func(m *Checksum) { m.Digest, m.Sequence = "y", 8 }), true, false, true, false},
	} {
		n, here := newNodeC(mine)
		n.hear("a", test.other, test.quarantined)
		n.hear("b", test.other, test.quarantined)
		for range 2 { // it counts once, however often it is looked at
			n.judge(0, n.members.list())
		}
		if counted := testutil.ToFloat64(n.divergences.WithLabelValues("0")); counted != 0 && counted != 1 || test.counted != (counted == 1) {
			t.Errorf("%s: counted %v times", test.name, counted)
		}
		if agreed := n.copies[0].agreed == 9; here.condemned != test.condemned || agreed != test.agreed {
			t.Errorf("%s: condemned %v, agreed %v", test.name, here.condemned, agreed)
		}
	}
}

// While the checksum of a copy that serves is missing, and may make the majority, no copy is
// condemned; not for ever.
func TestCopiesThatDifferWaitForTheOthers(t *testing.T) {
	mine := Checksum{Sequence: 9, Chain: "c", Digest: "x"}
	differs, before := mine, mine
	differs.Digest, before.Sequence = "y", 8
	for _, test := range []struct {
		name      string
		late      Checksum
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
	n, here := newNodeC(Checksum{Sequence: 9, Chain: "c", Digest: "x"})
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
		n, here := newNodeC(Checksum{})
		ctx, cancel := context.WithCancel(t.Context())
		here.folded = 4
		for range 5 {
			n.members.note(n.beat())
			n.compareAll(ctx)
			time.Sleep(beatEvery)
		}
		if at := n.copies[0].checksum.Sequence; at != 4 {
			t.Errorf("compared at entry %d, waiting for %d; the log ends with 4", at, n.copies[0].computing)
		}
		cancel()
		n.background.Wait()
	})
}

// A node that comes to be the one to say where copies are compared says where the log ends,
// whatever it said before: a copy that has come since is compared there, without another entry.
func TestCopyThatComesIsComparedWhereTheLogEnds(t *testing.T) {
	for _, said := range []uint64{0, 5, 12} {
		n, _ := newNodeC(Checksum{Sequence: 9, Chain: "c", Digest: "x"})
		n.copies[0].compare, n.copies[0].seen = said, 9
		n.propose(0, 9, n.members.list())
		n.members.note(n.beat())
		if at := n.proposed(0, n.members.list()); at != 9 {
			t.Errorf("after %d it says %d; the log ends with 9", said, at)
		}
	}
}
