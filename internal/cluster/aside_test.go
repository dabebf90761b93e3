package cluster

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// disputant is a node whose program decides in its own way, and whose copy may be spoilt.
type disputant struct {
	*Node
	here    *copyHere
	program string
	digest  string // of the copy that it has now
	back    int    // the step at which it is folded again
	times   int    // how often it was put aside
}

// dispute has nodes compare their copies, of the programs and with what was spoilt at first ("." =
// nothing), and returns them when they should have come to rest.
func dispute(t *testing.T, seed uint64, programs, spoilt string) []*disputant {
	const steps = 600
	r := rand.New(rand.NewPCG(seed, 1))
	// Nothing is lost or late, and those that are put aside together come back so.
	calm := seed == 0
	var all []*disputant
	for i := range programs {
		n, here := newNode(string(rune('a'+i)), Checksum{})
		x := &disputant{Node: n, here: here, program: programs[i : i+1], digest: programs[i : i+1]}
		if spoilt[i] != '.' {
			x.digest = spoilt[i : i+1]
		}
		all = append(all, x)
	}
	for step := 1; step <= steps; step++ {
		time.Sleep(beatEvery) // by the clock of the bubble
		for _, x := range all {
			if x.here.condemned && !x.here.refused && step >= x.back {
				x.here.condemned, x.digest = false, x.program
			}
			c := &x.copies[0]
			x.here.folded = uint64(step / 4)
			if !x.here.condemned && (calm || r.IntN(3) > 0) { // else its checksum is late
				c.checksum = Checksum{Sequence: x.here.folded, Chain: "c", Digest: x.digest, Refolded: c.refolded}
			}
		}
		for _, x := range all {
			x.look()
			for _, other := range all {
				if calm || r.IntN(4) > 0 { // else the beat is lost
					x.members.note(other.beat())
				}
			}
		}
		for _, x := range all {
			if was := x.here.condemned; was {
				continue
			}
			if x.judge(0, x.members.list()); x.here.condemned {
				x.times++
				if x.back = step + 20; !calm {
					x.back = step + 1 + r.IntN(40)
				}
				if step > steps/2 {
					t.Errorf("seed %d, %s with %s: after %d steps %s is put aside for the %d. time", seed, programs, spoilt, step, x.o.Name, x.times)
				}
			}
		}
	}
	return all
}

// Copies that were spoilt are folded again and are the same then. Programs that decide otherwise
// come to rest: those that serve in the end are of one mind, that of most if there is one, the
// others are refused, and none was folded again more than a few times.
func TestDisputesComeToRest(t *testing.T) {
	for _, test := range []struct{ programs, spoilt, want string }{
		{"xxx", "...", "xxx"}, {"xxx", ".y.", "xxx"}, {"xx", "y.", "xx"}, {"xx", ".y", "xx"}, {"xxx", "yz.", "xxx"}, {"xxxx", "yy..", ""},
		{"xxy", "...", "xx."}, {"yxx", "...", ".xx"}, {"yxx", ".z.", ""},
		{"xy", "..", ""}, {"xxyy", "....", ""}, {"xyz", "...", ""}, {"xyxy", "....", ""}, {"xyzw", "....", ""},
	} {
		for seed := range uint64(40) {
			synctest.Test(t, func(t *testing.T) {
				served := ""
				got := ""
				for _, x := range dispute(t, seed, test.programs, test.spoilt) {
					d := x.digest
					if x.here.condemned {
						d = "."
					}
					got += d
					if d != "." && !strings.Contains(served, d) {
						served += d
					}
					if x.times > 4 {
						t.Errorf("seed %d, %s with %s: %s was put aside %d times", seed, test.programs, test.spoilt, x.o.Name, x.times)
					}
					if refused := x.beat().Copies[0]; refused.Refused != x.here.refused || refused.Refused != strings.Contains(refused.Stuck, "although it was folded again") {
						t.Errorf("%s says %+v", x.o.Name, refused)
					}
				}
				if len(served) != 1 || test.want != "" && got != test.want {
					t.Errorf("seed %d, %s with %s: in the end there are %s", seed, test.programs, test.spoilt, fmt.Sprintf("%q", got))
				}
			})
		}
	}
}

// A copy that was folded again is believed once it was the same as all others that serve, of which
// there has to be one, and none of which is being folded again. If it differs before that it is
// refused.
func TestUntilWhenACopyIsDoubted(t *testing.T) {
	mine := Checksum{Sequence: 9, Chain: "c", Digest: "x"}
	differs, before := mine, mine
	differs.Digest, before.Sequence = "y", 8
	same := copyBeat{Applied: 9, Checksum: mine}
	for _, test := range []struct {
		name    string
		others  []copyBeat
		doubted bool
	}{
		{"nobody else is heard", nil, true},
		{"the others are the same", []copyBeat{same, same}, false},
		{"the only other one is the same", []copyBeat{same}, false},
		{"the checksum of one is of another entry", []copyBeat{same, {Applied: 9, Checksum: before}}, true},
		{"one is folded again", []copyBeat{same, {Applied: 9, Checksum: differs, Quarantined: true}}, true},
		{"one is refused", []copyBeat{same, {Applied: 9, Checksum: differs, Quarantined: true, Refused: true}}, false},
		{"the only other one is refused", []copyBeat{{Applied: 9, Checksum: differs, Quarantined: true, Refused: true}}, true},
		{"nobody else folds it", []copyBeat{{Phase: phaseAbsent}}, true},
	} {
		n, here := newNodeC(mine)
		n.copies[0].doubted = true
		for i, c := range test.others {
			n.members.note(beat{Node: string(rune('a' + i)), State: StateServing, Copies: []copyBeat{c}})
		}
		n.judge(0, n.members.list())
		if n.copies[0].doubted != test.doubted {
			t.Errorf("%s: doubted %v", test.name, n.copies[0].doubted)
		}
		next := mine // at which it differs
		next.Sequence, differs.Sequence = 10, 10
		n.copies[0].checksum = next
		n.hear("a", differs, false)
		n.hear("b", differs, false)
		if n.judge(0, n.members.list()); !here.condemned || here.refused != test.doubted {
			t.Errorf("%s: condemned %v, refused %v", test.name, here.condemned, here.refused)
		}
		differs.Sequence = 9
	}
}
