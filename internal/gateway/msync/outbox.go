package msync

import "sync"

// outbox holds the sends of a session that are not answered yet, in the order in which they came.
// They are completed by one goroutine, which exists while there are any: those that come while it
// waits are the next group.
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

// add has an admitted send completed, together with others that come meanwhile.
func (o *outbox) add(x *sending, complete func([]*sending)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queue = append(o.queue, x)
	if !o.busy {
		o.busy = true
		go o.run(complete)
	}
}

func (o *outbox) run(complete func([]*sending)) {
	for {
		o.mu.Lock()
		list := o.queue
		o.queue = nil
		if o.busy = len(list) > 0; !o.busy {
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		complete(list)
		for range list {
			<-o.room
			o.pending.Done()
		}
	}
}

// refuse admits no further send.
func (o *outbox) refuse() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refused = true
}

// wait waits until every admitted send is answered. No send may be admitted meanwhile.
func (o *outbox) wait() { o.pending.Wait() }
