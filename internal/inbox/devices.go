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
	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/internal/leader"
)

// Where several processes serve the devices of one user, none of them knows all. Then each device's
// position is a message of its own, changed only on the condition of what was read before, so that
// no process overwrites what another one wrote, and messages are only removed by what all of them
// wrote.

const (
	deviceStream = "RECEIPTD_INBOX_DEVICES"
	devicePrefix = "receipts.device.v1."

	// devicesAtOnce bounds the positions that are being written at one time.
	devicesAtOnce = 64
	// behindPause is the time between two looks at a replica that lags.
	behindPause = 20 * time.Millisecond
)

func (c *Config) deviceStream() jetstream.StreamConfig {
	devices := c.positionStream()
	devices.Name = deviceStream
	devices.Description = "receiptd: up to where each device has taken its messages, of several nodes"
	devices.Subjects = []string{devicePrefix + "*.*.*"}
	return devices
}

func deviceSubject(key, device string) string {
	return devicePrefix + key + "." + token(device)
}

// loadDevices returns the positions of a user's devices, whichever process wrote them: those that
// were heard of last, if there are too many.
func (b *Inbox) loadDevices(ctx context.Context, key string) (devices []position, err error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	for from := uint64(1); ; {
		m, err := leader.Next(ctx, b.js.Conn(), deviceStream, from, devicePrefix+key+".*")
		if errors.Is(err, leader.ErrNotFound) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("inbox: load positions: %w", err)
		}
		p, err := storedDevice(key, m)
		if err != nil {
			return nil, err
		}
		devices = append(devices, p)
		from = m.Sequence + 1
	}
	return heardLast(devices), nil
}

// storedDevice reads the position of a device of a user, which is stored under the device's name.
func storedDevice(key string, m leader.Message) (p position, err error) {
	if err := json.Unmarshal(m.Data, &p); err != nil {
		return position{}, fmt.Errorf("inbox: load positions: %w", err)
	}
	if m.Subject != deviceSubject(key, p.Device) {
		return position{}, fmt.Errorf("inbox: load positions: %s is that of device %q", m.Subject, p.Device)
	}
	p.written, p.revision = p.Sequence, m.Sequence
	return p, nil
}

// publishDevices writes the positions that changed.
func (b *Inbox) publishDevices(ctx context.Context, part []change) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(devicesAtOnce)
	for _, c := range part {
		for _, p := range c.devices {
			if p.Sequence <= p.written {
				continue
			}
			group.Go(func() error {
				now, err := b.publishDevice(ctx, c.key, p)
				if err == nil {
					b.ledger.settled(c.user, now)
				}
				return err
			})
		}
	}
	return group.Wait()
}

// publishDevice writes one position, unless the device has said more to another process, and
// returns what is stored then.
func (b *Inbox) publishDevice(ctx context.Context, key string, p position) (position, error) {
	for {
		data, err := json.Marshal(p)
		if err != nil {
			return p, err
		}
		ctx, cancel := context.WithTimeout(ctx, publishTimeout)
		defer cancel()
		msg := &nats.Msg{Subject: deviceSubject(key, p.Device), Data: data}
		ack, err := b.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(p.revision), jetstream.WithRetryAttempts(0))
		if err == nil {
			p.written, p.revision = p.Sequence, ack.Sequence
			return p, nil
		}
		if !overtaken(err) {
			return p, err
		}
		m, err := leader.Last(ctx, b.js.Conn(), deviceStream, msg.Subject)
		switch {
		case errors.Is(err, leader.ErrNotFound): // by age
			p.revision = 0
			continue
		case err != nil:
			return p, err
		}
		stored, err := storedDevice(key, m)
		if err != nil || stored.Sequence >= p.Sequence {
			return stored, err
		}
		p.revision = stored.revision
	}
}

// Codes of JetStream for a subject whose last message is another one.
const (
	codeWrongLastSequence   = 10071
	codeWrongLastReplicated = 10164
)

func overtaken(err error) bool {
	e, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (e.ErrorCode == codeWrongLastSequence || e.ErrorCode == codeWrongLastReplicated)
}

// settled notes what is stored of a device.
func (l *ledger) settled(u *userDevices, stored position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range u.devices {
		if p := &u.devices[i]; p.Device == stored.Device && p.revision < stored.revision {
			p.Sequence = max(p.Sequence, stored.Sequence)
			p.written, p.revision = stored.Sequence, stored.revision
		}
	}
}

// refresh brings what is in memory of a user's devices up to what other processes wrote, and
// returns the position of one of them.
func (b *Inbox) refresh(ctx context.Context, key, device string) (uint64, error) {
	stored, err := b.loadDevices(ctx, key)
	if err != nil {
		return 0, err
	}
	l := &b.ledger
	l.mu.Lock()
	u := l.users[key]
	for _, s := range stored {
		known := slices.ContainsFunc(u.devices, func(p position) bool { return p.Device == s.Device })
		if !known && len(u.devices) < maxDevices {
			u.devices = append(u.devices, s)
		}
	}
	l.mu.Unlock()
	for _, s := range stored {
		l.settled(u, s)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return u.at(device), nil
}

// floorOf is the sequence that every device of a user has reached, whichever process serves it.
func (b *Inbox) floorOf(ctx context.Context, c change) (uint64, error) {
	if !b.cfg.Shared {
		return floor(c.devices), nil
	}
	devices, err := b.loadDevices(ctx, c.key)
	return floor(devices), err
}

// lagged reports whether the leader of a stream has something under a subject, from a sequence on,
// that a replica did not have.
func (b *Inbox) lagged(ctx context.Context, stream, subject string, from uint64) (bool, error) {
	_, err := leader.Next(ctx, b.js.Conn(), stream, from, subject)
	if errors.Is(err, leader.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
