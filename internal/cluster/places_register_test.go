package cluster

import (
	"context"
	"slices"
	"time"
)

type simValueAt struct {
	text     []byte
	revision uint64
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
