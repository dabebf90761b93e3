package inbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/internal/leader"
)

// What an inbox holds begins with what it is.
const (
	kindMessage   byte = 0 // a whole message follows
	kindReference byte = 1 // the sequence of its body follows, a varint
)

func reference(sequence uint64) []byte {
	return binary.AppendUvarint([]byte{kindReference}, sequence)
}

// maxCachedBodies bounds the bodies kept in memory, of all apps.
const maxCachedBodies = 32 << 20

// bodies remembers the bodies that passed last, since the inboxes of all recipients refer to them.
type bodies struct {
	mu    sync.Mutex
	data  map[bodyKey][]byte
	order []bodyKey
	bytes int
}

type bodyKey struct {
	inboxes  *appInboxes
	sequence uint64
}

func (c *bodies) put(key bodyKey, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.data[key]; known {
		return
	}
	if c.data == nil {
		c.data = make(map[bodyKey][]byte)
	}
	c.data[key] = data
	c.order = append(c.order, key)
	for c.bytes += len(data); c.bytes > maxCachedBodies; c.order = c.order[1:] {
		c.bytes -= len(c.data[c.order[0]])
		delete(c.data, c.order[0])
	}
}

func (c *bodies) get(key bodyKey) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.data[key]
}

// parseRecord takes a record apart: into a whole message, or the sequence of its body.
func parseRecord(record []byte) (message []byte, body uint64, err error) {
	if len(record) == 0 {
		return nil, 0, errors.New("inbox: an empty record")
	}
	if record[0] == kindMessage {
		return record[1:], 0, nil
	}
	body, n := binary.Uvarint(record[1:])
	if record[0] != kindReference || n != len(record)-1 || body == 0 {
		return nil, 0, fmt.Errorf("inbox: a record begins with %x", record[:min(len(record), 4)])
	}
	return nil, body, nil
}

// resolve returns the message that a record of an inbox stands for; nil if its body has made room.
func (o *appInboxes) resolve(ctx context.Context, record []byte) ([]byte, error) {
	message, sequence, err := parseRecord(record)
	if err != nil || message != nil {
		return message, err
	}
	key := bodyKey{o, sequence}
	if data := o.inbox.bodies.get(key); data != nil {
		return data, nil
	}
	subject, data, err := o.at(ctx, sequence)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound), errors.Is(err, leader.ErrNotFound):
		o.inbox.metrics.gone.Inc()
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("inbox: read a body: %w", err)
	case !strings.HasPrefix(subject, o.bodies):
		return nil, fmt.Errorf("inbox: %d is no body", sequence)
	}
	o.inbox.bodies.put(key, data)
	return data, nil
}

// at returns what the stream has at a sequence. Where processes share it, the leader is asked: a
// body that is not yet in a replica would be taken for one that has made room.
func (o *appInboxes) at(ctx context.Context, sequence uint64) (subject string, data []byte, err error) {
	if o.inbox.cfg.Shared {
		m, err := leader.At(ctx, o.inbox.js.Conn(), o.stream.CachedInfo().Config.Name, sequence)
		return m.Subject, m.Data, err
	}
	m, err := o.stream.GetMsg(ctx, sequence)
	if err != nil {
		return "", nil, err
	}
	return m.Subject, m.Data, nil
}
