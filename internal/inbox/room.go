package inbox

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// An app's stream makes room once it is fuller than fullAt of fullOf parts, until it is no
	// fuller than roomAt. It is looked at after every lookAfter-th part of its bytes.
	fullAt, roomAt, fullOf = 7, 6, 8
	lookAfter              = 32
	// maxRounds bounds how many senders make room at one time.
	maxRounds = 16
	// maxShares bounds the senders of an app that are counted.
	maxShares = 65_536
)

// shares counts the bytes that each sender of an app has stored, recent ones more: whenever room is
// made, all counts are halved. They begin with nothing at each start.
type shares struct {
	bytes map[string]int64
	since int64 // bytes stored since the stream was looked at
}

func (s *shares) init() { s.bytes = make(map[string]int64) }

func (s *shares) add(list []*queuedMessage) {
	for _, l := range list {
		s.bytes[l.Sender] += int64(l.cost)
		s.since += int64(l.cost)
	}
	if len(s.bytes) > maxShares {
		s.halve()
	}
}

// halve lets go of senders who have stored little.
func (s *shares) halve() {
	least := int64(0)
	for _, n := range s.bytes {
		least += n
	}
	least /= int64(max(len(s.bytes), 1))
	for sender, n := range s.bytes {
		if s.bytes[sender] = n / 2; len(s.bytes) > maxShares/2 && n < least {
			delete(s.bytes, sender)
		}
	}
}

func (s *shares) largest() (sender string, bytes int64) {
	for name, n := range s.bytes {
		if n > bytes || n == bytes && name < sender {
			sender, bytes = name, n
		}
	}
	return sender, bytes
}

// makeRoom keeps an app's stream from reaching its size, where the server would remove the oldest
// messages whosesoever they are. The senders who have stored most lose the older half of theirs.
func (o *appInboxes) makeRoom(list []*queuedMessage) {
	s, limit := &o.shares, o.inbox.cfg.MaxBytes
	if s.add(list); s.since < limit/lookAfter {
		return
	}
	s.since = 0
	ctx, cancel := context.WithTimeout(o.inbox.ctx, publishTimeout)
	defer cancel()
	info, err := o.stream.Info(ctx)
	full := err == nil && info.State.Bytes > uint64(limit)/fullOf*fullAt
	for round := 0; full && round < maxRounds && err == nil; round++ {
		sender, bytes := s.largest()
		if bytes == 0 {
			break
		}
		s.bytes[sender] /= 2
		if err = o.halve(ctx, token(sender), info.State.LastSeq); err == nil {
			info, err = o.stream.Info(ctx)
			full = err == nil && info.State.Bytes > uint64(limit)/fullOf*roomAt
			o.inbox.metrics.room.Inc()
		}
		if !full {
			s.halve()
		}
	}
	if err != nil && o.inbox.ctx.Err() == nil {
		o.inbox.logger.Warn("no room could be made in the inboxes of an app; the oldest messages leave", "app", o.app, "error", err)
	}
}

// halve removes the older half of what a sender has in the stream, which ends with a sequence.
func (o *appInboxes) halve(ctx context.Context, sender string, last uint64) error {
	first, err := o.stream.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(o.boxes+"*."+sender))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	middle := first.Sequence + (last-first.Sequence)/2 + 1
	for _, subject := range []string{o.boxes + "*." + sender, o.bodies + sender + ".*"} {
		if err := o.stream.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(middle)); err != nil {
			return err
		}
	}
	return nil
}
