package cluster

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// worlds is how many are tried: each takes as long as many questions.
func worlds() int { return max(1, *seeds/5) }

// Whatever the machines, the network and the register do: no copy leaves before enough others have
// it, and in the end each partition is exactly where it is to be, and stays there.
func TestSeedsOfPlacement(t *testing.T) {
	eachSeed(t, worlds(), func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 45))
		names := []string{"a", "b", "c", "d", "e"}[:3+r.IntN(3)]
		w := newWorld(t, seed, names, 1+r.IntN(3))
		time.Sleep(2 * time.Minute) // by the clock of the bubble
		w.stable("at the beginning")
		for range 20 {
			w.fault(names)
			wait := time.Duration(w.random(20000)) * time.Millisecond
			time.Sleep(wait) // by the clock of the bubble
		}
		w.heal()
		time.Sleep(5 * time.Minute) // by the clock of the bubble
		w.stable("in the end")
		begun, left := w.begun, w.left
		time.Sleep(2 * time.Minute) // by the clock of the bubble
		if w.begun != begun || w.left != left {
			t.Errorf("%d copies were begun and %d left with nothing to do", w.begun-begun, w.left-left)
		}
		w.end()
	})
}

// When a node goes, or comes back, no more moves than the plan for those who are left differs in. A
// short absence moves nothing.
func TestSeedsOfPlacementMoveNoMoreThanTheyHaveTo(t *testing.T) {
	eachSeed(t, worlds(), func(t *testing.T, seed uint64) {
		names := []string{"a", "b", "c", "d"}
		w := newWorld(t, seed, names, 2)
		without := func(name string) int {
			left := slices.DeleteFunc(slices.Clone(names), func(x string) bool { return x == name })
			return moves(spread(worldPartitions, 2, names), spread(worldPartitions, 2, left))
		}
		time.Sleep(2 * time.Minute) // by the clock of the bubble
		atMost := func(what string, most int) {
			t.Helper()
			time.Sleep(2 * time.Minute) // by the clock of the bubble
			w.stable(what)
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.begun > most || w.left > most {
				t.Errorf("%s: %d copies were begun and %d left, %d at most had to", what, w.begun, w.left, most)
			}
			w.begun, w.left = 0, 0
		}
		w.mu.Lock()
		w.begun, w.left = 0, 0
		w.mu.Unlock()
		w.nodes["c"].kill()
		time.Sleep(worldMoveAfter / 2) // by the clock of the bubble
		w.nodes["c"].start()
		atMost("a restart", 0)
		w.nodes["c"].kill()
		atMost("a node less", without("c"))
		w.nodes["c"].start()
		atMost("the node again", without("c"))
		w.pause("a", worldMoveAfter/2)
		atMost("a pause", 0)
		w.pause("a", 2*worldMoveAfter)
		atMost("a long pause", 2*without("a")) // there and back
		deaf := func(is bool) {
			for _, name := range []string{"b", "c", "d"} {
				w.net.Cut(name, "a", is)
			}
		}
		deaf(true)
		w.pause("a", 2*worldMoveAfter)
		time.Sleep(worldMoveAfter / 4) // by the clock of the bubble
		deaf(false)
		atMost("a long pause, after which nothing is heard for a while", 2*without("a"))
		w.end()
	})
}
