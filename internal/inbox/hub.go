package inbox

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// hub hands new messages of the stream to the mailboxes that they are for.
type hub struct {
	mu sync.RWMutex
	// boxes holds slices that are replaced and never changed.
	boxes map[string][]*Mailbox // by userKey
	last  uint64                // the follower's
}

func (h *hub) init(last uint64) { h.boxes, h.last = make(map[string][]*Mailbox), last }

func (h *hub) of(key string) []*Mailbox {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.boxes[key]
}

func (h *hub) add(m *Mailbox) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.boxes[m.key] = append(slices.Clip(h.boxes[m.key]), m)
}

func (h *hub) remove(m *Mailbox) (last bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.boxes[m.key]
	i := slices.Index(old, m)
	if i < 0 {
		return false
	}
	if len(old) == 1 {
		delete(h.boxes, m.key)
		return true
	}
	h.boxes[m.key] = slices.Concat(old[:i], old[i+1:])
	return false
}

// Online reports whether a device of the user is connected here.
func (b *Inbox) Online(app, user string) bool { return b.hub.of(userKey(app, user)) != nil }

// followPause is how long the follower waits after an error before it tries again.
const followPause = 100 * time.Millisecond

// follow reads the end of the stream for as long as the inbox is open.
func (b *Inbox) follow() {
	for b.ctx.Err() == nil {
		err := b.followOnce()
		if b.ctx.Err() != nil {
			return
		}
		b.logger.Warn("following the inboxes was interrupted", "error", err)
		select {
		case <-time.After(followPause):
		case <-b.ctx.Done():
		}
	}
}

func (b *Inbox) followOnce() error {
	consumer, err := b.messages.OrderedConsumer(b.ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: b.hub.last + 1,
	})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(4096))
	if err != nil {
		return err
	}
	defer messages.Stop()
	defer context.AfterFunc(b.ctx, messages.Stop)()
	for {
		msg, err := messages.Next()
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
			return err
		}
		if err != nil {
			if errors.Is(err, jetstream.ErrNoHeartbeat) {
				continue // the consumer makes itself anew
			}
			return err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		b.hub.last = meta.Sequence.Stream
		for _, m := range b.hub.of(msg.Subject()[len(messagePrefix):]) {
			m.offer(Item{meta.Sequence.Stream, msg.Data()})
		}
	}
}
