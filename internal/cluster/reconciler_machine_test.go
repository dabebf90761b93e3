package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/receiptd/receiptd/internal/copystate"
	"github.com/receiptd/receiptd/internal/lab/simnet"
)

// machine is a node: its disk, and the process on it.
type machine struct {
	*simnet.Node
	w          *world
	life       int
	cancel     context.CancelFunc // nil while there is no process
	done       sync.WaitGroup
	reconciler *reconciler

	disk   map[int]time.Time       // the copies that are there, and from when on they are complete
	folded [worldPartitions]uint64 // how far those are that are complete
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
	plan, err := Join(ctx, m.asks(ctx), m.Name(), m.w.copies)
	if err != nil && !errors.Is(err, errCut) {
		m.w.t.Error(err)
	}
	o := Options{
		Name: m.Name(), Life: life, Log: worldLog{}, Register: m.asks(ctx), Plan: plan, MoveAfter: worldMoveAfter,
		Logger: slog.New(slog.DiscardHandler), State: worldState{held: held{m, ctx}}, Draining: func() bool { return false },
	}
	n := &Node{o: o, state: o.State, copies: make([]comparison, worldPartitions)}
	n.members = newMembers(m, m.Name(), life, 1, n.beat)
	n.reconciler = newReconciler(&n.o, n.members)
	n.reconciler.agrees = n.agrees
	n.reconciler.keepFloor = func(ctx context.Context) error { return m.asks(ctx).reach() }
	n.look()
	m.reconciler = n.reconciler
	m.done.Go(func() { _ = n.members.run(ctx) })
	m.done.Go(func() { _ = n.reconciler.run(ctx) })
	m.done.Go(func() {
		_ = every(ctx, beatEvery, func() { n.compareAll(ctx) })
		n.background.Wait()
	})
}

// asks is the register, as a process of the machine reaches it.
func (m *machine) asks(ctx context.Context) *asked { return &asked{m.w.register, m.Node, ctx} }

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

func (s worldState) CopyState(k int) copystate.State          { return s.held.CopyState(k) }
func (s worldState) Serves(k int, at uint64) bool             { return s.held.Serves(k, at) }
func (s worldState) Folded() []uint64                         { return s.held.Folded() }
func (s worldState) AddCopy(ctx context.Context, k int) error { return s.held.AddCopy(ctx, k) }
func (s worldState) DropCopy(k int) error                     { return s.held.DropCopy(k) }
func (worldState) Ready() error                               { return nil }
func (worldState) Levels() []uint64                           { return make([]uint64, worldPartitions) }
func (worldState) Condemned(int) bool                         { return false }

// Condemn is never called: all copies are right.
func (s worldState) Condemn(k int, reason error) error {
	s.m.w.t.Errorf("%s condemns partition %d: %v", s.m.Name(), k, reason)
	return nil
}

// Refuse is never called either.
func (s worldState) Refuse(k int, reason error) error { return s.Condemn(k, reason) }

// ChecksumAt says no more of a copy than how far it is.
func (s worldState) ChecksumAt(ctx context.Context, k int, sequence uint64) (Checksum, time.Duration, error) {
	for {
		w := s.m.w
		w.mu.Lock()
		grown := w.grown
		w.mu.Unlock()
		switch at := s.Folded()[k]; {
		case !s.runs() || at > sequence:
			return Checksum{}, 0, ErrPassed
		case at == sequence:
			return Checksum{Sequence: sequence, Digest: fmt.Sprint(k, "@", sequence)}, 0, nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return Checksum{}, 0, ctx.Err()
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

func (h held) CopyState(k int) copystate.State {
	h.m.w.mu.Lock()
	defer h.m.w.mu.Unlock()
	at, there := h.m.disk[k]
	switch {
	case !there:
		return copystate.Absent
	case time.Now().Before(at):
		return copystate.Arriving
	}
	return copystate.Here
}

func (h held) Serves(k int, _ uint64) bool { return h.CopyState(k) == copystate.Here }

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

func (h held) AddCopy(_ context.Context, k int) error {
	if !h.runs() {
		return errCut
	}
	h.m.w.mu.Lock()
	defer h.m.w.mu.Unlock()
	if _, there := h.m.disk[k]; there {
		return nil
	}
	if since := h.m.w.register.since(h.m.Name()); !since.IsZero() && time.Since(since) > 0 {
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
func (h held) DropCopy(k int) error {
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
	plan := h.m.reconciler.planned()
	need := plan.Copies
	if need == 0 || slices.Contains(plan.Drained, h.m.Name()) {
		need = 1 // as many as there can be; at any rate one
	}
	if complete && others < need && time.Since(w.wiped) > leaveAfter+reconcileEvery {
		w.t.Errorf("%s drops partition %d, and %d others have it; %d are to", h.m.Name(), k, others, need)
	}
	return nil
}
