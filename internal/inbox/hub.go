package inbox

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// hub hands new messages of an app's stream to the mailboxes that they are for.
type hub struct {
	mu sync.RWMutex
	// boxes holds slices that are replaced and never changed.
	boxes map[string][]*Mailbox // by token(user)
	last  atomic.Uint64         // up to here the follower has read
}

func (h *hub) init() { h.boxes = make(map[string][]*Mailbox) }

func (h *hub) of(key string) []*Mailbox {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.boxes[key]
}

func (h *hub) add(m *Mailbox) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.boxes[m.box] = append(slices.Clip(h.boxes[m.box]), m)
}

func (h *hub) remove(m *Mailbox) (last bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.boxes[m.box]
	i := slices.Index(old, m)
	if i < 0 {
		return false
	}
	if len(old) == 1 {
		delete(h.boxes, m.box)
		return true
	}
	h.boxes[m.box] = slices.Concat(old[:i], old[i+1:])
	return false
}

const (
	// followPause is how long the follower waits after an error before it tries again.
	followPause = 100 * time.Millisecond
	// followBytes bounds what is on its way to the follower of an app.
	followBytes = 4 << 20
)

// follow reads the end of the stream for as long as the inbox is open.
func (o *appInboxes) follow() {
	ctx := o.inbox.ctx
	for ctx.Err() == nil {
		err := o.followOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		o.inbox.logger.Warn("following the inboxes was interrupted", "app", o.app, "error", err)
		select {
		case <-time.After(followPause):
		case <-ctx.Done():
		}
	}
}

func (o *appInboxes) followOnce(ctx context.Context) error {
	consumer, err := o.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: o.hub.last.Load() + 1,
	})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullMaxBytes(followBytes))
	if err != nil {
		return err
	}
	defer messages.Stop()
	defer context.AfterFunc(ctx, messages.Stop)()
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
		o.hub.last.Store(meta.Sequence.Stream)
		if box, ok := strings.CutPrefix(msg.Subject(), o.boxes); ok {
			box, _, _ = strings.Cut(box, ".")
			o.offer(o.hub.of(box), meta.Sequence.Stream, msg.Data())
		} else {
			o.inbox.bodies.put(bodyKey{o, meta.Sequence.Stream}, msg.Data())
		}
	}
}

// offer gives the mailboxes of a user what their inbox got.
func (o *appInboxes) offer(to []*Mailbox, sequence uint64, record []byte) {
	if len(to) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(o.inbox.ctx, publishTimeout)
	defer cancel()
	data, err := o.resolve(ctx, record)
	for _, m := range to {
		if err != nil {
			m.Refresh() // whoever reads it finds out what is wrong
		} else if data != nil {
			m.offer(Item{sequence, data})
		}
	}
}
