package cluster

import (
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
)

// inbox gets the answers to all questions of a bus by one subscription. One of its own for each
// question takes room for 65,536 messages in nats.go, and is told to all servers and revoked there.
type inbox struct {
	prefix string // of the subjects that answers come to

	mu     sync.Mutex
	opened uint64
	takers map[string]chan *nats.Msg // by subject
}

const (
	// maxParts bounds the messages of one answer that its taker has not got to. What is beyond is
	// lost.
	maxParts = 256
	// maxPending bounds the bytes of all answers that came while deliver did not run.
	maxPending = 256 << 20
)

// newInbox subscribes as long as the connection lasts.
func newInbox(nc *nats.Conn) (*inbox, error) {
	b := &inbox{prefix: nc.NewInbox() + ".", takers: map[string]chan *nats.Msg{}}
	sub, err := nc.Subscribe(b.prefix+"*", b.deliver)
	if err != nil {
		return nil, err
	}
	return b, sub.SetPendingLimits(-1, maxPending)
}

// open returns a subject for one answer and what its messages come through.
func (b *inbox) open() (subject string, messages <-chan *nats.Msg) {
	taker := make(chan *nats.Msg, maxParts)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opened++
	subject = b.prefix + strconv.FormatUint(b.opened, 36)
	b.takers[subject] = taker
	return subject, taker
}

// close is for those who wait no longer.
func (b *inbox) close(subject string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.takers, subject)
}

// deliver never waits: the answers to all other questions come after this one.
func (b *inbox) deliver(m *nats.Msg) {
	b.mu.Lock()
	taker := b.takers[m.Subject]
	b.mu.Unlock()
	select {
	case taker <- m: // never, if it is nil
	default:
	}
}
