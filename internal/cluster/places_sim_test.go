package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/receiptd/receiptd/internal/lab/simnet"
	"github.com/receiptd/receiptd/internal/presence"
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

	mu     sync.Mutex
	keys   map[string]simValueAt
	clock  uint64
	cut    map[string]time.Time // since when machines do not reach the register
	wiped  time.Time            // when a disk was lost last
	begun  int
	left   int
	seldom bool                    // answers of the register are lost now and then
	log    [worldPartitions]uint64 // the last entry of each
	grown  chan struct{}           // closed when an entry comes
	over   chan struct{}           // closed when the world ends
}

// worldIdle is when each partition gets its last entry: the first one has none, and the last ones
// always get some.
var worldIdle = [worldPartitions]time.Duration{0, 5 * time.Second, time.Minute, 3 * time.Minute, time.Hour, time.Hour}

type simValueAt struct {
	text     []byte
	revision uint64
}

// machine is a node: its disk, and the process on it.
type machine struct {
	*simnet.Node
	w      *world
	life   int
	cancel context.CancelFunc // nil while there is no process
	done   sync.WaitGroup
	places *places

	disk   map[int]time.Time       // the copies that are there, and from when on they are complete
	folded [worldPartitions]uint64 // how far those are that are complete
}

func newWorld(t *testing.T, seed uint64, names []string, copies int) *world {
	w := &world{
		t: t, r: rand.New(rand.NewPCG(seed, 1)), nodes: map[string]*machine{}, copies: copies,
		keys: map[string]simValueAt{}, cut: map[string]time.Time{}, grown: make(chan struct{}), over: make(chan struct{}),
	}
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

// start begins a process, which has what is on the disk.
func (m *machine) start() {
	if m.cancel != nil {
		return
	}
	m.Start()
	m.life++
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	life := fmt.Sprint(m.life)
	plan, err := Join(ctx, &asked{m, ctx}, m.Name(), m.w.copies)
	if err != nil && !errors.Is(err, errCut) {
		m.w.t.Error(err)
	}
	o := Options{
		Name: m.Name(), Life: life, Log: worldLog{}, Register: &asked{m, ctx}, Plan: plan, MoveAfter: worldMoveAfter,
		Logger: slog.New(slog.DiscardHandler), State: worldState{held: held{m, ctx}}, Draining: func() bool { return false },
	}
	n := &Node{o: o, state: o.State, copies: make([]comparison, worldPartitions)}
	n.members = newMembers(m, m.Name(), life, 1, n.beat)
	n.places = newPlaces(&n.o, n.members)
	n.places.agrees = n.agrees
	n.places.keepFloor = func(ctx context.Context) error { return (&asked{m, ctx}).reach() }
	n.look()
	m.places = n.places
	m.done.Go(func() { _ = n.members.run(ctx) })
	m.done.Go(func() { _ = n.places.run(ctx) })
	m.done.Go(func() {
		_ = every(ctx, beatEvery, func() { n.compareAll(ctx) })
		n.background.Wait()
	})
}

// kill ends the process.
func (m *machine) kill() {
	if m.cancel == nil {
		return
	}
	m.Kill()
	m.cancel()
	m.cancel = nil
	m.done.Wait()
}

type worldLog struct{ Log }

func (worldLog) Partitions() int  { return worldPartitions }
func (worldLog) Identity() uint64 { return 1 }

type worldState struct {
	State
	held
}

func (s worldState) Presence(k int) presence.Presence       { return s.held.Presence(k) }
func (s worldState) Serves(k int, at uint64) bool           { return s.held.Serves(k, at) }
func (s worldState) Folded() []uint64                       { return s.held.Folded() }
func (s worldState) Begin(ctx context.Context, k int) error { return s.held.Begin(ctx, k) }
func (s worldState) Drop(k int) error                       { return s.held.Drop(k) }
func (worldState) Ready() error                             { return nil }
func (worldState) Levels() []uint64                         { return make([]uint64, worldPartitions) }
func (worldState) Condemned(int) bool                       { return false }

// Condemn is never called: all copies are right.
func (s worldState) Condemn(k int, reason error) error {
	s.m.w.t.Errorf("%s condemns partition %d: %v", s.m.Name(), k, reason)
	return nil
}

// MarkAt says no more of a copy than how far it is.
func (s worldState) MarkAt(ctx context.Context, k int, sequence uint64) (Mark, time.Duration, error) {
	for {
		w := s.m.w
		w.mu.Lock()
		grown := w.grown
		w.mu.Unlock()
		switch at := s.Folded()[k]; {
		case !s.runs() || at > sequence:
			return Mark{}, 0, ErrPassed
		case at == sequence:
			return Mark{Sequence: sequence, Digest: fmt.Sprint(k, "@", sequence)}, 0, nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return Mark{}, 0, ctx.Err()
		}
	}
}

// held are the copies of a machine, as one of its processes has them.
type held struct {
	m   *machine
	ctx context.Context
}

// runs waits while the machine stands still, and reports whether the process is there still.
func (h held) runs() bool { return h.m.Awake() && h.ctx.Err() == nil }

func (h held) Presence(k int) presence.Presence {
	h.m.w.mu.Lock()
	defer h.m.w.mu.Unlock()
	at, there := h.m.disk[k]
	switch {
	case !there:
		return presence.Absent
	case time.Now().Before(at):
		return presence.Arriving
	}
	return presence.Here
}

func (h held) Serves(k int, _ uint64) bool { return h.Presence(k) == presence.Here }

// Folded is where the log ends, or ended when the machine stood still.
func (h held) Folded() []uint64 {
	paused := h.m.Paused()
	w := h.m.w
	w.mu.Lock()
	defer w.mu.Unlock()
	for k := range h.m.folded {
		at, there := h.m.disk[k]
		switch {
		case !there || time.Now().Before(at):
			h.m.folded[k] = 0
		case !paused:
			h.m.folded[k] = w.log[k]
		}
	}
	return slices.Clone(h.m.folded[:])
}

func (h held) Begin(_ context.Context, k int) error {
	if !h.runs() {
		return errCut
	}
	h.m.w.mu.Lock()
	defer h.m.w.mu.Unlock()
	if _, there := h.m.disk[k]; there {
		return nil
	}
	if since, cut := h.m.w.cut[h.m.Name()]; cut && time.Since(since) > 0 {
		h.m.w.t.Errorf("%s begins a copy, and reaches nobody to tell of it", h.m.Name())
	}
	if h.m.w.r.IntN(10) == 0 {
		return errors.New("no snapshot, for now")
	}
	arriving := 0
	for _, at := range h.m.disk {
		if time.Now().Before(at) {
			arriving++
		}
	}
	if arriving > 0 {
		h.m.w.t.Errorf("%s begins a copy while %d arrive", h.m.Name(), arriving)
	}
	h.m.disk[k] = time.Now().Add(time.Duration(50+h.m.w.r.IntN(3000)) * time.Millisecond)
	h.m.w.begun++
	return nil
}

// Drop holds that whatever left before, there are as many others as there are to be.
func (h held) Drop(k int) error {
	if !h.runs() {
		return errCut
	}
	w := h.m.w
	w.mu.Lock()
	defer w.mu.Unlock()
	complete := !time.Now().Before(h.m.disk[k])
	delete(h.m.disk, k)
	w.left++
	others := 0
	for _, m := range w.nodes {
		if at, there := m.disk[k]; there && !time.Now().Before(at) {
			others++
		}
	}
	plan := h.m.places.planned()
	need := plan.Copies
	if need == 0 || slices.Contains(plan.Drained, h.m.Name()) {
		need = 1 // as many as there can be; at any rate one
	}
	if complete && others < need && time.Since(w.wiped) > leaveAfter+placeEvery {
		w.t.Errorf("%s drops partition %d, and %d others have it; %d are to", h.m.Name(), k, others, need)
	}
	return nil
}

// asked is the register as a process reaches it.
type asked struct {
	m   *machine
	ctx context.Context
}

// reach is the way there and back.
func (a *asked) reach() error {
	if !a.m.Awake() {
		return errCut
	}
	time.Sleep(time.Duration(a.m.w.random(20)) * time.Millisecond) // by the clock of the bubble
	a.m.w.mu.Lock()
	_, cut := a.m.w.cut[a.m.Name()]
	a.m.w.mu.Unlock()
	if cut {
		time.Sleep(time.Second) // by the clock of the bubble
		return errCut
	}
	if !a.m.Awake() || a.ctx.Err() != nil {
		return errCut
	}
	return nil
}

func (w *world) random(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.r.IntN(n)
}

func (a *asked) Get(_ context.Context, key string) ([]byte, uint64, error) {
	if err := a.reach(); err != nil {
		return nil, 0, err
	}
	a.m.w.mu.Lock()
	defer a.m.w.mu.Unlock()
	v, there := a.m.w.keys[key]
	if !there {
		return nil, 0, ErrNotFound
	}
	return v.text, v.revision, nil
}

func (a *asked) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	return a.Update(ctx, key, value, 0)
}

func (a *asked) Update(_ context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if err := a.reach(); err != nil {
		return 0, err
	}
	w := a.m.w
	w.mu.Lock()
	if w.keys[key].revision != revision {
		w.mu.Unlock()
		return 0, ErrConflict
	}
	w.clock++
	now := w.clock
	w.keys[key] = simValueAt{slices.Clone(value), now}
	lost := w.seldom && w.r.IntN(10) == 0
	w.mu.Unlock()
	if lost || a.reach() != nil { // it was done
		return 0, errCut
	}
	return now, nil
}

// operator changes the plan as somebody from outside does.
func (w *world) operator(f func(*Plan)) {
	var up []*machine
	for _, m := range w.nodes {
		if m.cancel != nil && !m.Paused() && w.cut[m.Name()].IsZero() {
			up = append(up, m)
		}
	}
	if len(up) == 0 {
		return
	}
	slices.SortFunc(up, func(a, b *machine) int { return slices.Compare([]byte(a.Name()), []byte(b.Name())) })
	m := up[0]
	for range 5 {
		if _, err := change(context.Background(), &asked{m, context.Background()}, planKey, func(p *Plan) (bool, error) { f(p); return true, nil }); err == nil {
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
		w.mu.Lock()
		if _, is := w.cut[m.Name()]; is {
			delete(w.cut, m.Name())
		} else {
			w.cut[m.Name()] = time.Now()
		}
		w.mu.Unlock()
	case 6:
		w.net.SetLoss([]float64{0, 0.05, 0.2}[w.random(3)])
		w.mu.Lock()
		w.seldom = !w.seldom
		w.mu.Unlock()
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
	w.mu.Lock()
	w.cut, w.seldom = map[string]time.Time{}, false
	w.mu.Unlock()
	w.net.Heal()
	for _, name := range slices.Sorted(maps.Keys(w.nodes)) {
		w.nodes[name].start()
	}
}

// pause has a machine stand still for a time and returns how many copies others have to make in its
// place.
func (w *world) pause(name string, d time.Duration) int {
	m := w.nodes[name]
	m.Pause()
	time.Sleep(d) // by the clock of the bubble
	m.Resume()
	if d < worldMoveAfter {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(m.disk)
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
	plan := any.places.planned()
	can := any.places.can(&plan)
	for k := range worldPartitions {
		want := plan.wanted(k, can)
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
