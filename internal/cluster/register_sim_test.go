package cluster

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/receiptd/receiptd/internal/lab/simnet"
)

// simRegister is a register for simulations: it answers late, or not although it has done what it
// was asked, and what it says may be old.
type simRegister struct {
	random func(n int) int
	// changed is called with each value that a key gets, before the next one; it may be nil.
	changed func(key string, value []byte)

	mu    sync.Mutex
	keys  map[string][]simValueAt // oldest first
	clock uint64
	cut   map[string]time.Time // since when machines do not reach it
	lossy bool                 // answers are lost now and then
	stale bool                 // reads are answered now and then by a server that was deposed
}

type simValueAt struct {
	text     []byte
	revision uint64
}

func newSimRegister(random func(n int) int) *simRegister {
	return &simRegister{random: random, keys: map[string][]simValueAt{}, cut: map[string]time.Time{}}
}

// toggleCut has a machine not reach it, or reach it again.
func (s *simRegister) toggleCut(node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, is := s.cut[node]; is {
		delete(s.cut, node)
	} else {
		s.cut[node] = time.Now()
	}
}

// since is from when on a machine does not reach it; zero if it does.
func (s *simRegister) since(node string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut[node]
}

// set sets whether answers are lost, and are old.
func (s *simRegister) set(lossy, stale bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lossy, s.stale = lossy, stale
}

func (s *simRegister) heal() {
	s.set(false, false)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = map[string]time.Time{}
}

// asked is the register as a process reaches it.
type asked struct {
	*simRegister
	node *simnet.Node
	ctx  context.Context
}

// reach is the way there and back.
func (a *asked) reach() error {
	if !a.node.Awake() {
		return errCut
	}
	time.Sleep(time.Duration(a.random(20)) * time.Millisecond) // by the clock of the bubble
	if !a.since(a.node.Name()).IsZero() {
		time.Sleep(time.Second) // by the clock of the bubble
		return errCut
	}
	if !a.node.Awake() || a.ctx.Err() != nil {
		return errCut
	}
	return nil
}

func (a *asked) Get(_ context.Context, key string) ([]byte, uint64, error) {
	if err := a.reach(); err != nil {
		return nil, 0, err
	}
	a.mu.Lock()
	values, stale := a.keys[key], a.stale
	a.mu.Unlock()
	if stale && len(values) > 0 && a.random(4) == 0 {
		values = values[:len(values)-1-a.random(min(len(values), 16))]
	}
	if len(values) == 0 {
		return nil, 0, ErrNotFound
	}
	v := values[len(values)-1]
	return v.text, v.revision, nil
}

func (a *asked) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	return a.Update(ctx, key, value, 0)
}

func (a *asked) Update(_ context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if err := a.reach(); err != nil {
		return 0, err
	}
	now, err := a.store(key, value, revision)
	if err != nil {
		return 0, err
	}
	a.mu.Lock()
	lossy := a.lossy
	a.mu.Unlock()
	if lossy && a.random(10) == 0 || a.reach() != nil { // it was done
		return 0, errCut
	}
	return now, nil
}

// store changes a key that is at a revision.
func (s *simRegister) store(key string, value []byte, revision uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	values := s.keys[key]
	if n := len(values); n > 0 && values[n-1].revision != revision || n == 0 && revision != 0 {
		return 0, ErrConflict
	}
	s.clock++
	s.keys[key] = append(values, simValueAt{slices.Clone(value), s.clock})
	if s.changed != nil {
		s.changed(key, value)
	}
	return s.clock, nil
}
