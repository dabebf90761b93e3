package cluster

import (
	"context"
	"sync"
)

// rounds do something for many callers at once: whoever joins is served by a round that began after
// that. While one round is under way, the next one gathers.
type rounds struct {
	do func(context.Context) error

	mu      sync.Mutex
	running bool
	next    *round
}

type round struct {
	done chan struct{}
	err  error
}

// join waits for a round that begins after the call. A round goes on without those who gave up.
func (r *rounds) join(ctx context.Context) error {
	r.mu.Lock()
	if r.next == nil {
		r.next = &round{done: make(chan struct{})}
	}
	mine := r.next
	if !r.running {
		r.running = true
		go r.run()
	}
	r.mu.Unlock()
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// run does rounds as long as somebody has joined.
func (r *rounds) run() {
	for {
		r.mu.Lock()
		now := r.next
		r.next = nil
		if now == nil {
			r.running = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), roundMax)
		now.err = r.do(ctx)
		cancel()
		close(now.done)
	}
}
