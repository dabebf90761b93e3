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
	tenants map[string]*tenant // those that are remembered
	order   ordered[*tenant]   // of them, those with waiters
	// ahead are the others: the clock is not yet where they would be due. They are forgotten when
	// it is, or when nobody waits.
	ahead ordered[*tenant]
}

// tenant is a tenant with waiters, or one that had some lately.
type tenant struct {
	app    string
	weight float64
	due    float64 // when the next of its waiters is, by the clock
	rank           // in the order, or among those ahead
	lines  list.List
	users  map[string]*line
}

// line are the waiters of one user, in the order in which they came.
type line struct {
	user    string
	tenant  *tenant
	element *list.Element // among the lines of the tenant, of which the first is next
	waiters list.List
}

type waiter struct {
	n       int64
	line    *line
	element *list.Element // in its line
	served  chan struct{} // closed when it has what it waits for
}

// New makes a semaphore.
func New(o Options) *Semaphore {
	return &Semaphore{o: o, free: o.Capacity, tenants: map[string]*tenant{}}
}

// Acquire takes n, or all there is if n is more, and waits for its turn if need be. The error is
// the cause of the context's end, or [ErrCrowded]; then nothing was taken. What was taken is given
// back by Release, with the number that Acquire returned.
func (s *Semaphore) Acquire(ctx context.Context, key Key, n int64) (taken int64, err error) {
	return s.AcquireFunc(ctx, key, n, func() {})
}

// AcquireFunc is Acquire that tells those who have to wait: it calls waits before it does, once,
// and not at all if there is enough. Nobody else is held up by that.
func (s *Semaphore) AcquireFunc(ctx context.Context, key Key, n int64, waits func()) (taken int64, err error) {
	s.mu.Lock()
	n = min(n, s.o.Capacity)
	if s.takeNow(n) {
		s.mu.Unlock()
		return n, nil
	}
	if s.o.MaxWaiting > 0 && s.waiting >= s.o.MaxWaiting {
		s.mu.Unlock()
		return 0, ErrCrowded
	}
	w := s.enqueue(key, n)
	s.serve()
	s.mu.Unlock()
	waits()
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
	if !s.takeNow(n) {
		return 0, false
	}
	return n, true
}

// takeNow takes n if nobody waits and there is as much. s.mu is held.
func (s *Semaphore) takeNow(n int64) bool {
	if s.waiting > 0 || n > s.free {
		return false
	}
	s.free -= n
	return true
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
	} else if t.lines.Len() == 0 {
		heap.Remove(&s.ahead, t.at)
		heap.Push(&s.order, t)
	}
	l := t.users[key.User]
	if l == nil {
		l = &line{user: key.User, tenant: t}
		l.element = t.lines.PushBack(l)
		t.users[key.User] = l
	}
	w := &waiter{n: n, line: l, served: make(chan struct{})}
	w.element = l.waiters.PushBack(w)
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
		s.advance(t.due)
		t.due += float64(max(1, w.n)) / t.weight
		t.lines.MoveToBack(l.element) // the next user's turn
		heap.Fix(&s.order, t.at)
		s.remove(w)
		close(w.served)
	}
}

// advance sets the clock, and forgets those who would be due by then.
func (s *Semaphore) advance(to float64) {
	s.clock = to
	for len(s.ahead) > 0 && s.ahead[0].due <= to {
		delete(s.tenants, heap.Pop(&s.ahead).(*tenant).app)
	}
}

// remove forgets a waiter, and its user if nobody else waits for them. A tenant for whom nobody
// does is remembered for as long as it would be due later than others: else it would be due at once
// whenever it comes again, before all who have waited in the meantime.
func (s *Semaphore) remove(w *waiter) {
	l, t := w.line, w.line.tenant
	l.waiters.Remove(w.element)
	s.waiting--
	if l.waiters.Len() > 0 {
		return
	}
	t.lines.Remove(l.element)
	delete(t.users, l.user)
	if t.lines.Len() > 0 {
		return
	}
	heap.Remove(&s.order, t.at)
	if s.waiting > 0 && t.due > s.clock {
		heap.Push(&s.ahead, t)
		return
	}
	delete(s.tenants, t.app)
	if s.waiting == 0 {
		clear(s.tenants)
		s.ahead, s.clock = s.ahead[:0], 0
	}
}

// before is the order of the tenants: whichever is due first is served first.
func (t *tenant) before(other *tenant) bool { return t.due < other.due }
