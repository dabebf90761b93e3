package inbox

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
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
		if low, err := b.floorOf(ctx, c); err == nil && low > 0 && b.purge(ctx, c.key, low) == nil {
			b.metrics.purged.Inc()
		}
	}
	return nil
}

// purge removes what a user's inbox holds up to a sequence. What stays because of an error leaves
// by age.
func (b *Inbox) purge(ctx context.Context, key string, upto uint64) error {
	app, user, _ := strings.Cut(key, ".")
	stream, subject := b.before, prefixBefore+key
	if upto >= b.first {
		name, err := base64.RawURLEncoding.DecodeString(app)
		if err != nil {
			return err
		}
		if stream, err = b.js.Stream(ctx, appStreamName(string(name))); err != nil {
			return err
		}
		subject = appPrefix + app + ".u." + user + ".*"
	}
	return stream.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(upto+1))
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
		msgs[i] = &nats.Msg{Subject: positionPrefix + c.key, Data: data}
	}
	_, err := b.publish(ctx, msgs)
	return err
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
	if devices, err = decodePositions(msg.Data); err != nil {
		return nil, fmt.Errorf("inbox: load positions: %w", err)
	}
	return devices, nil
}

// decodePositions reads the positions of a user's devices, as [Inbox.publishPositions] writes them:
// each device is there once.
func decodePositions(text []byte) (devices []position, err error) {
	if err := json.Unmarshal(text, &devices); err != nil {
		return nil, err
	}
	devices = heardLast(devices)
	for i, p := range devices {
		if slices.ContainsFunc(devices[:i], func(q position) bool { return q.Device == p.Device }) {
			return nil, fmt.Errorf("device %q is there twice", p.Device)
		}
	}
	return devices, nil
}

// heardLast are the devices that were heard of last, if there are too many.
func heardLast(devices []position) []position {
	if len(devices) <= maxDevices {
		return devices
	}
	slices.SortStableFunc(devices, func(a, b position) int { return cmp.Compare(b.At, a.At) })
	return devices[:maxDevices]
}
