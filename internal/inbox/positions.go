package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// keepPositions writes positions until the inbox is closed.
func (b *Inbox) keepPositions() {
	b.ledger.changed.Run(b.ctx, func(err error) {
		b.logger.Warn("positions could not be written, trying again", "error", err)
	})
}

// writePositions writes what changed, many users with one sync, and removes the messages that all
// devices of a user have. It deletes from users what is written.
func (b *Inbox) writePositions(ctx context.Context, users map[string]*userDevices) error {
	list := b.ledger.snapshot(users, time.Now().Add(-b.cfg.MaxAge))
	for part := range slices.Chunk(list, maxBatch) {
		if err := b.publishPositions(ctx, part); err != nil {
			return fmt.Errorf("inbox: write positions: %w", err)
		}
		b.ledger.written(part)
		for _, c := range part {
			delete(users, c.key)
		}
	}
	for _, c := range list {
		if !c.purge {
			continue
		}
		if low, err := b.floorOf(ctx, c); err == nil && low > 0 {
			// What stays because of an error here leaves by age.
			if b.messages.Purge(ctx, jetstream.WithPurgeSubject(messagePrefix+c.key), jetstream.WithPurgeSequence(low+1)) == nil {
				b.metrics.purged.Inc()
			}
		}
	}
	return nil
}

func (b *Inbox) publishPositions(ctx context.Context, part []change) error {
	if b.cfg.Shared {
		return b.publishDevices(ctx, part)
	}
	msgs := make([]*nats.Msg, len(part))
	for i, c := range part {
		data, err := json.Marshal(c.devices)
		if err != nil {
			return err
		}
		msgs[i] = &nats.Msg{Subject: positionPrefix + c.key, Data: data, Header: nats.Header{}}
	}
	return b.publish(ctx, msgs)
}

func (b *Inbox) loadPositions(ctx context.Context, key string) (devices []position, err error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if b.cfg.Shared {
		if devices, err = b.loadDevices(ctx, key); err != nil || len(devices) > 0 {
			return devices, err
		}
		// None yet: what a process wrote that served them alone.
	}
	msg, err := b.positions.GetLastMsgForSubject(ctx, positionPrefix+key)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("inbox: load positions: %w", err)
	}
	if err := json.Unmarshal(msg.Data, &devices); err != nil {
		return nil, fmt.Errorf("inbox: load positions: %w", err)
	}
	return devices, nil
}
