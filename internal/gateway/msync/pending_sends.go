package msync

import "sync"

// pendingSends holds the sends of a session that are not answered yet, in the order in which they
// came. They are completed by one goroutine, which exists while there are any: those that come
// while it waits are the next group.
type pendingSends struct {
	room    chan struct{} // a token for each send
	waiting sync.WaitGroup

	mu      sync.Mutex
	queue   []*pendingSend
	busy    bool // the goroutine is there
	refused bool
}

func (p *pendingSends) init() { p.room = make(chan struct{}, maxSending) }

// admit waits until another send may begin. It reports false once the session refuses any.
func (p *pendingSends) admit(ended <-chan struct{}) bool {
	select {
	case p.room <- struct{}{}:
	case <-ended:
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused {
		<-p.room
		return false
	}
	p.waiting.Add(1)
	return true
}

// add has an admitted send completed, together with others that come meanwhile.
func (p *pendingSends) add(x *pendingSend, complete func([]*pendingSend)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, x)
	if !p.busy {
		p.busy = true
		go p.run(complete)
	}
}

func (p *pendingSends) run(complete func([]*pendingSend)) {
	for {
		p.mu.Lock()
		list := p.queue
		p.queue = nil
		if p.busy = len(list) > 0; !p.busy {
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		complete(list)
		for range list {
			<-p.room
			p.waiting.Done()
		}
	}
}

// refuse admits no further send.
func (p *pendingSends) refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = true
}

// wait waits until every admitted send is answered. No send may be admitted meanwhile.
func (p *pendingSends) wait() { p.waiting.Wait() }
