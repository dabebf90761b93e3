package cluster

import (
	"math/rand/v2"
	"testing"
	"time"
)

const (
	// workSoon is after what time somebody else is at work once a node is dead, or cannot, if the
	// others are well: its silence is noticed, or that it cannot; the right is claimed;
	// and a step under way is repeated, which may be without an answer, as the first one.
	workSoon = goneAfter + unableLooks*workEvery + 2*workEvery + 2*workSlow
	// workAtLast is the same where all have failed again and again just before: each leaves the
	// right to the others for so long.
	workAtLast = maxPauseLooks*workEvery + workSoon
)

// Whatever the machines, the network and the register do: of two that believe that it is their term
// one has its steps take effect, each step once, and none is left out. Once all is well somebody
// goes on; and does so within a bound when the one at work dies, stands still, or cannot.
func TestSeedsOfSingleton(t *testing.T) {
	terms, fenced, twice := 0, 0, 0
	eachSeed(t, *seeds, func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 46))
		names := []string{"a", "b", "c", "d", "e"}[:2+r.IntN(4)]
		w := newSingletonWorld(t, seed, names)
		for range 40 {
			w.fault(names)
			wait := time.Duration(w.random([]int{500, 5000, 20000}[w.random(3)])) * time.Millisecond
			time.Sleep(wait) // by the clock of the bubble
		}
		w.heal()
		w.goesOn("all is well", workAtLast, nil)
		time.Sleep(maxPauseLooks * workEvery) // by the clock of the bubble; no failures count
		soon := workSoon
		if lossy, stale := seed%3 > 0, seed%3 > 1; lossy {
			w.register.set(lossy, stale)
			soon = workAtLast // they fail now and then
		}
		way := w.ways()[w.random(len(w.ways()))]
		dead := w.atWork()
		over := way.fault(dead)
		w.goesOn(way.name, soon, dead)
		over()
		w.goesOn("the other one is back after it: "+way.name, soon, nil)
		w.end()
		terms, fenced, twice = terms+len(w.owners), fenced+w.fenced, twice+w.twice
	})
	t.Logf("%d terms, %d nodes found themselves fenced, %d steps came twice", terms, fenced, twice)
	if terms < 3**seeds || twice == 0 || fenced == 0 && *seeds > 20 {
		t.Error("hardly anything was done")
	}
}

// way is how the one at work comes not to be, and how it comes back.
type way struct {
	name  string
	fault func(x *worker) (over func())
}

func (w *singletonWorld) ways() []way {
	return []way{
		{"killed", func(x *worker) func() { x.kill(); return x.start }},
		{"stands still", func(x *worker) func() { x.pause(true); return func() { x.pause(false) } }},
		{"cannot", func(x *worker) func() { x.set(true, false); return func() { x.set(false, false) } }},
		{"fails", func(x *worker) func() { x.set(false, true); return func() { x.set(false, false) } }},
		{"cut off", func(x *worker) func() {
			cut := func(is bool) {
				w.register.toggleCut(x.Name())
				for name := range w.workers {
					x.cut(name, is)
				}
			}
			cut(true)
			return func() { cut(false) }
		}},
	}
}

// atWork waits until somebody has the right.
func (w *singletonWorld) atWork() *worker {
	for {
		if x := w.holder(); x != nil {
			return x
		}
		time.Sleep(workEvery / 2) // by the clock of the bubble
	}
}

// goesOn holds that somebody other than one is at work within a time, and does not cease to be.
func (w *singletonWorld) goesOn(what string, within time.Duration, not *worker) {
	w.t.Helper()
	time.Sleep(within) // by the clock of the bubble
	for range 2 {
		before, _ := w.steps()
		time.Sleep(5 * workSlow) // by the clock of the bubble
		after, by := w.steps()
		if after == before {
			w.t.Errorf("%s: nobody goes on after %v", what, within)
		}
		if not != nil && by == not.Name() {
			w.t.Errorf("%s: %s is at work after %v", what, by, within)
		}
	}
}
