package cluster

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// worlds is how many are tried: each takes as long as many questions.
func worlds() int { return max(1, *seeds/5) }

// Whatever the machines, the network and the register do: no copy leaves before enough others have
// it, and in the end each partition is exactly where it is to be, and stays there.
func TestSeedsOfPlacement(t *testing.T) {
	for seed := range worlds() {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(seed), 45))
			names := []string{"a", "b", "c", "d", "e"}[:3+r.IntN(3)]
			w := newWorld(t, uint64(seed), names, 1+r.IntN(3))
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
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// Who goes takes its own copies along, and who comes back gets those: nothing else moves. A short
// absence moves nothing.
func TestSeedsOfPlacementMoveNoMoreThanTheyHaveTo(t *testing.T) {
	for seed := range worlds() {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, uint64(seed), []string{"a", "b", "c", "d"}, 2)
			time.Sleep(2 * time.Minute) // by the clock of the bubble
			moves := func(what string, most int) {
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
			had := len(w.nodes["c"].disk)
			w.mu.Unlock()
			w.nodes["c"].kill()
			time.Sleep(worldMoveAfter / 2) // by the clock of the bubble
			w.nodes["c"].start()
			moves("a restart", 0)
			w.nodes["c"].kill()
			moves("a node less", had)
			w.nodes["c"].start()
			moves("the node again", had)
			moves("a pause", w.pause("a", worldMoveAfter/2))
			had = w.pause("a", 2*worldMoveAfter)
			moves("a long pause", had)
			deaf := func(is bool) {
				for _, name := range []string{"b", "c", "d"} {
					w.net.Cut(name, "a", is)
				}
			}
			deaf(true)
			had = w.pause("a", 2*worldMoveAfter)
			time.Sleep(worldMoveAfter / 4) // by the clock of the bubble
			deaf(false)
			moves("a long pause, after which nothing is heard for a while", had)
			w.end()
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
