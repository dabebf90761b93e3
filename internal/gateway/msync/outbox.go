package msync

import (
	"sync"
)

// outbox are the sends of a session that are not answered yet, in the order in which they came. They are completed by one goroutine, which
// is there while there are any.
type outbox struct {
	room    chan struct{} // a token for each send
	pending sync.WaitGroup

	mu      sync.Mutex
	queue   []*sending
	busy    bool // the goroutine is there
	refused bool
}

func (o *outbox) init() { o.room = make(chan struct{}, maxSending) }

// admit waits until another send may begin. It reports false once the outbox refuses any.
func (o *outbox) admit(ended <-chan struct{}) bool {
	select {
	case o.room <- struct{}{}:
	case <-ended:
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refused {
		<-o.room
		return false
	}
	o.pending.Add(1)
	return true
}

// add completes an admitted send after those before it.
func (o *outbox) add(x *sending, complete func(*sending)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queue = append(o.queue, x)
	if !o.busy {
		o.busy = true
		go o.run(complete)
	}
}

func (o *outbox) run(complete func(*sending)) {
	for {
		o.mu.Lock()
		if len(o.queue) == 0 {
			o.queue, o.busy = nil, false
			o.mu.Unlock()
			return
		}
		x := o.queue[0]
		o.queue[0] = nil
		o.queue = o.queue[1:]
		o.mu.Unlock()
		complete(x)
		<-o.room
		o.pending.Done()
	}
}

// refuse lets no further send in.
func (o *outbox) refuse() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refused = true
}

// wait waits until all that was admitted is answered. No send may be admitted meanwhile.
func (o *outbox) wait() { o.pending.Wait() }
