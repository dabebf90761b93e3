package cluster

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/receiptd/receiptd/internal/lab/simnet"
)

// The world of placement: nodes with disks, whose processes come and go, on a network that loses, a
// register that answers late, or not although it has done what it was asked, and a log, some of
// whose partitions get entries and others none any more.

const (
	worldPartitions = 6
	worldMoveAfter  = 10 * time.Second
)

var errCut = errors.New("no answer")

type world struct {
	t      *testing.T
	r      *rand.Rand
	net    *simnet.Network
	nodes  map[string]*machine
	copies int

	register *simRegister

	mu    sync.Mutex
	wiped time.Time // when a disk was lost last
	begun int
	left  int
	log   [worldPartitions]uint64 // the last entry of each
	grown chan struct{}           // closed when an entry comes
	over  chan struct{}           // closed when the world ends
}

// worldIdle is when each partition gets its last entry: the first one has none, and the last ones
// always get some.
var worldIdle = [worldPartitions]time.Duration{0, 5 * time.Second, time.Minute, 3 * time.Minute, time.Hour, time.Hour}

func newWorld(t *testing.T, seed uint64, names []string, copies int) *world {
	w := &world{
		t: t, r: rand.New(rand.NewPCG(seed, 1)), nodes: map[string]*machine{}, copies: copies,
		grown: make(chan struct{}), over: make(chan struct{}),
	}
	w.register = newSimRegister(w.random)
	w.net = simnet.New(rand.New(rand.NewPCG(seed, 2)), simDelay, ErrNobody)
	for _, name := range names {
		w.nodes[name] = &machine{Node: w.net.Add(name), w: w, disk: map[int]time.Time{}}
	}
	for _, name := range names { // once all are there: what one says is looked up among them
		w.nodes[name].start()
	}
	go w.grow(rand.New(rand.NewPCG(seed, 3)))
	return w
}

// grow has entries come.
func (w *world) grow(r *rand.Rand) {
	for began := time.Now(); ; {
		select {
		case <-time.After(time.Duration(r.IntN(1000)) * time.Millisecond):
		case <-w.over:
			return
		}
		k := r.IntN(worldPartitions)
		if time.Since(began) >= worldIdle[k] {
			continue
		}
		w.mu.Lock()
		w.log[k]++
		close(w.grown)
		w.grown = make(chan struct{})
		w.mu.Unlock()
	}
}

func (w *world) random(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.r.IntN(n)
}

// operator changes the plan as somebody from outside does.
func (w *world) operator(f func(*Plan)) {
	var up []*machine
	for _, m := range w.nodes {
		if m.cancel != nil && !m.Paused() && w.register.since(m.Name()).IsZero() {
			up = append(up, m)
		}
	}
	if len(up) == 0 {
		return
	}
	slices.SortFunc(up, func(a, b *machine) int { return slices.Compare([]byte(a.Name()), []byte(b.Name())) })
	m := up[0]
	for range 5 {
		if _, err := change(context.Background(), &asked{w.register, m.Node, context.Background()}, planKey, func(p *Plan) (bool, error) { f(p); return true, nil }); err == nil {
			return
		}
	}
}

// fault does something to a machine, to the network or to the plan.
func (w *world) fault(names []string) {
	m := w.nodes[names[w.random(len(names))]]
	switch w.random(11) {
	case 0, 1:
		m.kill()
	case 2, 3:
		m.start()
	case 4:
		if m.Paused() {
			m.Resume()
		} else {
			m.Pause()
		}
	case 5:
		w.register.toggleCut(m.Name())
	case 6:
		w.net.SetLoss([]float64{0, 0.05, 0.2}[w.random(3)])
		w.register.set(!w.register.lossy, false)
	case 7:
		to := names[w.random(len(names))]
		w.net.Cut(m.Name(), to, !w.net.IsCut(m.Name(), to))
	case 8: // a machine that lost its disk
		m.kill()
		w.mu.Lock()
		m.disk, w.wiped = map[int]time.Time{}, time.Now()
		w.mu.Unlock()
	case 9:
		if i := slices.Index(names, m.Name()); i > 0 { // the first one is never drained
			w.operator(func(p *Plan) {
				if j := slices.Index(p.Drained, m.Name()); j >= 0 {
					p.Drained = slices.Delete(p.Drained, j, j+1)
				} else {
					p.Drained = append(p.Drained, m.Name())
				}
			})
		}
	case 10:
		copies := w.random(4)
		k, from, to := w.random(worldPartitions), names[w.random(len(names))], names[w.random(len(names))]
		w.operator(func(p *Plan) {
			p.Copies = copies
			p.Moves = []Move{{k, from, to}}
		})
	}
}

// heal has everything run and reach everything.
func (w *world) heal() {
	w.register.heal()
	w.net.Heal()
	for _, name := range slices.Sorted(maps.Keys(w.nodes)) {
		w.nodes[name].start()
	}
}

// pause has a machine stand still for some time.
func (w *world) pause(name string, d time.Duration) {
	m := w.nodes[name]
	m.Pause()
	time.Sleep(d) // by the clock of the bubble
	m.Resume()
}

// have are the machines that have a complete copy of a partition, and are there.
func (w *world) have(k int) (list []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, m := range w.nodes {
		if at, there := m.disk[k]; there && !time.Now().Before(at) && m.cancel != nil {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// stable holds that each partition is exactly where it is to be.
func (w *world) stable(what string) {
	w.t.Helper()
	var any *machine
	for _, m := range w.nodes {
		if m.cancel != nil {
			any = m
		}
	}
	plan := any.reconciler.planned()
	can := any.reconciler.can(&plan)
	for k, want := range plan.wanted(worldPartitions, can) {
		slices.Sort(want)
		if got := w.have(k); !slices.Equal(got, want) {
			w.t.Errorf("%s: partition %d is on %v; it is to be on %v, of %v by %+v", what, k, got, want, can, plan)
		}
	}
}

func (w *world) end() {
	for _, m := range w.nodes {
		m.kill()
	}
	close(w.over)
	synctest.Wait()
}
