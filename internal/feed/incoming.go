package feed

import (
	"sync"

	"github.com/receiptd/receiptd/projections"
)

// source is where the effects of a partition come from.
type source int

const (
	own   source = iota // the fold here
	other               // another copy
	both                // another copy, and the fold here is to take over
)

// heldMax bounds what the fold here has done that is to be told when it takes over.
const heldMax = 4 << 20

// incoming are the effects of one partition on their way to the users who are online here. It holds
// the watermark, the entry up to which they were told everything, and lets nothing pass twice.
type incoming struct {
	hub       Hub
	partition int

	mu     sync.Mutex
	source source
	// upto is the watermark while another copy tells, and what the fold here may repeat after that.
	upto uint64
	// held are what the fold here did after an entry, from when it began to serve again.
	held      effects
	heldAfter uint64
	// line is the feed; nil for none. changed is closed when it, or the source, becomes another.
	line    *line
	changed chan struct{}
}

// push takes what the fold here did at an entry.
func (n *incoming) push(list []projections.Effect) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch n.source {
	case own:
		if list = after(list, n.upto); len(list) > 0 {
			n.hub.Push(list)
		}
	case both:
		for i := range list {
			n.held.add(&list[i])
		}
		if n.held.bytes > heldMax {
			n.held, n.heldAfter = effects{}, list[len(list)-1].Sequence
		}
	case other: // which tells it
	}
}

// change notes a source and a feed. It is called with mu held.
func (n *incoming) change(s source, l *line) {
	n.source, n.line = s, l
	if n.changed != nil {
		close(n.changed)
	}
	n.changed = make(chan struct{})
}

// now are the source and the feed, and what is closed when that changes.
func (n *incoming) now() (source, *line, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.changed == nil {
		n.changed = make(chan struct{})
	}
	return n.source, n.line, n.changed
}

// watermark is the entry up to which everything was told.
func (n *incoming) watermark() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.upto
}

// begin has another copy tell. The fold here does not run; it has told everything up to an entry.
func (n *incoming) begin(told uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.upto = max(n.upto, told)
	n.hub.SetRemote(n.partition)
	n.change(other, nil)
}

// follow has a feed tell that begins after an entry.
func (n *incoming) follow(l *line, after uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.held = effects{}
	n.missed(after)
	n.change(other, l)
}

// lose notes that there is no feed.
func (n *incoming) lose() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.held = effects{}
	n.change(other, nil)
}

// missed notes that nothing is told of the entries up to one, and has users look for it in their
// summaries. It is called with mu held.
func (n *incoming) missed(upto uint64) {
	if upto > n.upto {
		n.hub.Missed(n.partition, n.upto, upto)
		n.upto = upto
	}
}

// take tells what came by the feed, but for what was told before.
func (n *incoming) take(x *reply) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.missed(x.After)
	if list := after(x.Effects, n.upto); len(list) > 0 {
		n.hub.Push(list)
	}
	n.upto = max(n.upto, x.Upto)
}

// hold keeps what the fold here does from now on.
func (n *incoming) hold() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.held, n.heldAfter = effects{}, 0
	n.change(both, n.line)
}

// heldFrom notes that the fold stood at an entry after hold: what it does after that is held.
func (n *incoming) heldFrom(after uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.heldAfter = max(n.heldAfter, after)
}

// joined reports whether the feed has told what the fold here has not.
func (n *incoming) joined() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.upto >= n.heldAfter
}

// takeOver has the fold here tell again.
func (n *incoming) takeOver() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.missed(n.heldAfter)
	if list := after(n.held.list, n.upto); len(list) > 0 {
		n.hub.Push(list)
	}
	n.held = effects{}
	n.change(own, nil)
}
