package fair

import (
	"container/heap"
	"container/list"
	"context"
	"errors"
	"sync"
)

// ErrCrowded is returned when as many wait already as may.
var ErrCrowded = errors.New("fair: too many wait")

// Key is whom something is for.
type Key struct {
	// App is the tenant, User one of its users; empty for the tenant itself.
	App, User string
}

// Options of a [Semaphore].
type Options struct {
	// Capacity is how much there is at first; see [Semaphore.Resize].
	Capacity int64
	// MaxWaiting bounds those who wait; 0 = no bound.
	MaxWaiting int
	// Weight is the share of a tenant beside that of others, at least 1; nil = 1 for each.
	Weight func(app string) int
}

// Semaphore is a limited amount of something. Its methods may be called from many goroutines. As
// long as there is enough for everybody, nobody waits and nothing is remembered.
type Semaphore struct {
	o Options

	mu      sync.Mutex
	free    int64
	clock   float64
	waiting int
	tenants map[string]*tenant // those with waiters
	order   ordered[*tenant]   // the same
}

// tenant is one for whom somebody waits.
type tenant struct {
	app    string
	weight float64
	due    float64 // when the next of its waiters is, by the clock
	rank           // in the order
	lines  list.List
	users  map[string]*line
}

// line are the waiters of one user, in the order in which they came.
type line struct {
	user    string
	tenant  *tenant
	place   *list.Element // among the lines of the tenant, of which the first is next
	waiters list.List
}

type waiter struct {
	n      int64
	line   *line
	place  *list.Element // in its line
	served chan struct{} // closed when it has what it waits for
}

// New makes a semaphore.
func New(o Options) *Semaphore {
	return &Semaphore{o: o, free: o.Capacity, tenants: map[string]*tenant{}}
}

// Acquire takes n, or all there is if n is more, and waits for its turn if need be. The error is
// the cause of the context's end, or [ErrCrowded]; then nothing was taken. What was taken is given
// back by Release, with the number that Acquire returned.
func (s *Semaphore) Acquire(ctx context.Context, key Key, n int64) (taken int64, err error) {
	if taken, ok := s.TryAcquire(n); ok {
		return taken, nil
	}
	s.mu.Lock()
	n = min(n, s.o.Capacity)
	if s.o.MaxWaiting > 0 && s.waiting >= s.o.MaxWaiting {
		s.mu.Unlock()
		return 0, ErrCrowded
	}
	w := s.enqueue(key, n)
	s.serve()
	s.mu.Unlock()
	select {
	case <-w.served:
		return n, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-w.served: // at the same moment: others have a use for it
		s.free += n
	default:
		s.remove(w)
	}
	s.serve()
	return 0, context.Cause(ctx)
}

// TryAcquire is Acquire for one who does not wait: ok is false if nothing was taken.
func (s *Semaphore) TryAcquire(n int64) (taken int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = min(n, s.o.Capacity)
	if s.waiting > 0 || n > s.free {
		return 0, false
	}
	s.free -= n
	return n, true
}

// Release gives back what Acquire took.
func (s *Semaphore) Release(taken int64) {
	if taken == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free += taken
	s.serve()
}

// Resize changes how much there is. What is in use stays so: after it has become less, nobody gets
// anything until enough was given back.
func (s *Semaphore) Resize(capacity int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free += capacity - s.o.Capacity
	s.o.Capacity = capacity
	s.serve()
}

// Waiting is how many wait.
func (s *Semaphore) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting
}

// Taken is how much is in use.
func (s *Semaphore) Taken() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.o.Capacity - s.free
}

// enqueue adds a waiter. s.mu is held, as in all that follows.
func (s *Semaphore) enqueue(key Key, n int64) *waiter {
	t := s.tenants[key.App]
	if t == nil {
		t = &tenant{app: key.App, weight: s.weight(key.App), due: s.clock, users: map[string]*line{}}
		s.tenants[key.App] = t
		heap.Push(&s.order, t)
	}
	l := t.users[key.User]
	if l == nil {
		l = &line{user: key.User, tenant: t}
		l.place = t.lines.PushBack(l)
		t.users[key.User] = l
	}
	w := &waiter{n: n, line: l, served: make(chan struct{})}
	w.place = l.waiters.PushBack(w)
	s.waiting++
	return w
}

func (s *Semaphore) weight(app string) float64 {
	if s.o.Weight == nil {
		return 1
	}
	return float64(max(1, s.o.Weight(app)))
}

// serve serves those who are due, as long as there is enough for the next one. Nobody overtakes it:
// one who waits for much gets it when what is in use has been given back.
func (s *Semaphore) serve() {
	for s.waiting > 0 {
		t := s.order[0]
		l := t.lines.Front().Value.(*line)
		w := l.waiters.Front().Value.(*waiter)
		if w.n > s.free && s.free < s.o.Capacity { // it may want more than there is by now
			return
		}
		s.free -= w.n
		s.clock = t.due
		t.due += float64(max(1, w.n)) / t.weight
		t.lines.MoveToBack(l.place) // the next user's turn
		heap.Fix(&s.order, t.at)
		s.remove(w)
		close(w.served)
	}
}

// remove forgets a waiter, and its user and tenant if nobody else waits for them.
func (s *Semaphore) remove(w *waiter) {
	l, t := w.line, w.line.tenant
	l.waiters.Remove(w.place)
	s.waiting--
	if l.waiters.Len() > 0 {
		return
	}
	t.lines.Remove(l.place)
	delete(t.users, l.user)
	if t.lines.Len() == 0 {
		heap.Remove(&s.order, t.at)
		delete(s.tenants, t.app)
	}
}

// before is the order of the tenants: who is due first is served first.
func (t *tenant) before(other *tenant) bool { return t.due < other.due }
