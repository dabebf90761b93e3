package inbox

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/synadia-io/orbit.go/jetstreamext"
)

// Item is a message in an inbox.
type Item struct {
	// Sequence is its place in the stream. It grows from item to item, with gaps.
	Sequence uint64
	// Data is shared between mailboxes and must not be changed.
	Data []byte
}

// maxLive bounds what waits in memory for one connected device; what exceeds it is read from the
// stream.
const maxLive = 64

// Mailbox is one connected device's view of its user's inbox. Next and Acknowledge are for one
// goroutine.
type Mailbox struct {
	inboxes *appInboxes
	box     string // token(user)
	key     string // userKey
	device  string
	wake    chan struct{}

	acknowledged   uint64   // up to here the device has everything
	cursor         uint64   // up to here Next has handed out
	unacknowledged []uint64 // what was handed out and not acknowledged

	mu      sync.Mutex
	live    []Item
	lagging bool // there may be items after the cursor that are not in live
	closed  bool
}

// Open opens a device's mailbox. It begins with what the device has not acknowledged. The caller
// must Close it.
func (b *Inbox) Open(ctx context.Context, app, user, device string) (*Mailbox, error) {
	o, err := b.app(app)
	if err != nil {
		return nil, err
	}
	m := &Mailbox{inboxes: o, box: token(user), key: userKey(app, user), device: device, wake: make(chan struct{}, 1), lagging: true}
	// Before the position is looked up, so that what comes meanwhile is either read or offered.
	o.hub.add(m)
	if err := o.await(ctx); err != nil {
		o.hub.remove(m)
		return nil, err
	}
	at, err := b.ledger.open(ctx, b, m.key, device)
	if err == nil && b.cfg.Shared {
		if at, err = b.refresh(ctx, m.key, device); err != nil {
			b.ledger.close(m.key)
		}
	}
	if err != nil {
		o.hub.remove(m)
		return nil, err
	}
	if at, err = o.within(ctx, at); err != nil {
		o.hub.remove(m)
		b.ledger.close(m.key)
		return nil, err
	}
	m.acknowledged, m.cursor = at, at
	b.metrics.open.Inc()
	return m, nil
}

// Wake has a token when Next may have something.
func (m *Mailbox) Wake() <-chan struct{} { return m.wake }

// offer takes what the follower read. It never waits.
func (m *Mailbox) offer(item Item) {
	m.mu.Lock()
	if !m.lagging {
		if len(m.live) < maxLive {
			m.live = append(m.live, item)
		} else {
			m.live, m.lagging = nil, true
			m.inboxes.inbox.metrics.missed.Inc()
		}
	}
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Next returns the items after those it returned before, without waiting for new ones: up to limit
// of them, and none that would begin beyond so many bytes. more is a lower bound on how many there
// are besides. It waits only while many acknowledgements are not written, for the disk.
func (m *Mailbox) Next(ctx context.Context, limit, bytes int) (items []Item, more int, err error) {
	if err := m.inboxes.inbox.ledger.settle(ctx, m.key); err != nil {
		return nil, 0, err
	}
	m.mu.Lock()
	lagging := m.lagging
	if lagging {
		// What is offered from here on is kept: the read either has it or came before it.
		m.live, m.lagging = nil, false
	} else {
		items, more = m.takeLive(limit, bytes)
	}
	m.mu.Unlock()
	if lagging {
		if items, more, err = m.inboxes.read(ctx, m, m.cursor+1, limit, bytes); err != nil || more > 0 {
			m.mu.Lock()
			m.live, m.lagging = nil, true
			m.mu.Unlock()
		}
	}
	if n := len(items); n > 0 {
		m.cursor = items[n-1].Sequence
		for _, item := range items {
			m.unacknowledged = append(m.unacknowledged, item.Sequence)
		}
	}
	return items, more, err
}

func (m *Mailbox) takeLive(limit, bytes int) (items []Item, more int) {
	live := m.live
	for len(live) > 0 && live[0].Sequence <= m.cursor { // a read had it already
		live = live[1:]
	}
	n := 0
	for ; n < min(limit, len(live)) && bytes > 0; n++ {
		bytes -= len(live[n].Data)
	}
	items = live[:n:n]
	if m.live = live[n:]; len(m.live) == 0 {
		m.live = nil
	}
	return items, len(live) - n
}

// Acknowledge notes that the device has everything up to a sequence that Next returned. It is on
// the disk within about a second, sooner when much is acknowledged.
func (m *Mailbox) Acknowledge(sequence uint64) {
	if sequence <= m.acknowledged || sequence > m.cursor {
		return
	}
	m.acknowledged = sequence
	n := 0
	for n < len(m.unacknowledged) && m.unacknowledged[n] <= sequence {
		n++
	}
	m.unacknowledged = append(m.unacknowledged[:0], m.unacknowledged[n:]...)
	m.inboxes.inbox.ledger.acknowledge(m.key, m.device, sequence, n)
}

// Refresh makes the next call of Next read the stream, whatever is in memory.
func (m *Mailbox) Refresh() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live, m.lagging = nil, true
}

// Close ends the mailbox. It may be called again.
func (m *Mailbox) Close() {
	m.mu.Lock()
	closed := m.closed
	m.closed = true
	m.mu.Unlock()
	if closed {
		return
	}
	m.inboxes.hub.remove(m)
	if m.inboxes.inbox.cfg.Shared {
		m.inboxes.inbox.ledger.soon(m.key)
	}
	m.inboxes.inbox.ledger.close(m.key)
	m.inboxes.inbox.metrics.open.Dec()
}

// read returns up to limit messages of a mailbox from a sequence on, and how many records there are
// after them.
func (o *appInboxes) read(ctx context.Context, m *Mailbox, from uint64, limit, bytes int) (items []Item, more int, err error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if b := o.inbox; from < b.first {
		items, more, err = b.records(ctx, streamBefore, prefixBefore+m.key, from, limit, bytes)
		if err != nil || more > 0 || len(items) == limit {
			return items, max(more, 1), err
		}
		from = b.first
	}
	for len(items) < limit && bytes > 0 {
		list, after, err := o.inbox.records(ctx, o.stream.CachedInfo().Config.Name, o.boxes+m.box+".*", from, limit-len(items), bytes)
		if err != nil {
			return nil, 0, err
		}
		more = after
		for i, record := range list {
			if bytes <= 0 {
				return items, more + len(list) - i, nil
			}
			data, err := o.resolve(ctx, record.Data)
			if err != nil {
				return nil, 0, err
			}
			if from = record.Sequence + 1; data != nil {
				items, bytes = append(items, Item{record.Sequence, data}), bytes-len(data)
			}
		}
		if more == 0 {
			break
		}
	}
	return items, more, nil
}

// records returns what a stream has under a subject, from a sequence on, and how many there are
// after that: where processes share it, from a replica that has all that the leader has.
func (b *Inbox) records(ctx context.Context, stream, subject string, from uint64, limit, bytes int) (items []Item, more int, err error) {
	for {
		items, more, err = b.replica(ctx, stream, subject, from, limit, bytes)
		if err != nil || more > 0 || !b.cfg.Shared {
			return items, more, err
		}
		next := from
		if n := len(items); n > 0 {
			next = items[n-1].Sequence + 1
		}
		switch lagged, err := b.lagged(ctx, stream, subject, next); {
		case err != nil:
			return nil, 0, fmt.Errorf("inbox: read: %w", err)
		case !lagged:
			return items, 0, nil
		}
		select {
		case <-time.After(behindPause):
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

// replica is records as whichever replica answers has them.
func (b *Inbox) replica(ctx context.Context, stream, subject string, from uint64, limit, bytes int) (items []Item, more int, err error) {
	got, err := jetstreamext.GetBatch(ctx, b.js, stream, limit, jetstreamext.GetBatchSeq(from),
		jetstreamext.GetBatchSubject(subject), jetstreamext.GetBatchMaxBytes(bytes))
	if err != nil {
		return nil, 0, fmt.Errorf("inbox: read: %w", err)
	}
	for msg, err := range got {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return nil, 0, nil
		}
		if err != nil {
			return nil, 0, fmt.Errorf("inbox: read: %w", err)
		}
		items = append(items, Item{msg.Sequence, msg.Data})
		if more, err = strconv.Atoi(msg.Header.Get("Nats-Num-Pending")); err != nil {
			return nil, 0, fmt.Errorf("inbox: read: pending: %w", err)
		}
	}
	if b.cfg.lag != nil {
		items = b.cfg.lag(items)
	}
	b.metrics.read.Add(float64(len(items)))
	return items, more, nil
}
