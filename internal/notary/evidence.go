package notary

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/projections"
)

// Evidence makes the file that shows that a user has read a message of a conversation: see
// [merkle.Evidence]. With
// wholeEntry it has the entry, which discloses all events in that, of other apps too; without, the
// entry is only there if it has no other event. The error is [projections.ErrNotFound] if there is
// no such message or the user has not read it, and [eventlog.ErrTrimmed] if the entry has left the
// log.
func (n *Notary) Evidence(ctx context.Context, c events.Conversation, message, user string, wholeEntry bool) ([]byte, error) {
	at, event, err := n.find(ctx, c, message, user)
	if err != nil {
		return nil, err
	}
	if err := n.settle(ctx, at.partition, at.entry.Sequence); err != nil {
		return nil, err
	}
	proof, err := n.Inclusion(at.partition, at.entry.Sequence, 0)
	if err != nil {
		return nil, err
	}
	if eventlog.Leaf(at.entry) != proof.Leaf {
		return nil, fmt.Errorf("%w: partition %d, entry %d is another one than was folded", errRewritten, at.partition, at.entry.Sequence)
	}
	verifier, err := note.NewVerifier(n.key.public)
	if err != nil {
		return nil, err
	}
	origin, _, err := merkle.OpenCheckpoint(verifier, proof.Checkpoint)
	if err != nil {
		return nil, err
	}
	var signer note.Signer
	if !wholeEntry && at.events > 1 {
		signer = n.key.signer
	}
	e, err := merkle.NewEvidence(eventlog.Stored(at.entry), event, at.index, proof, origin, signer)
	if err != nil {
		return nil, err
	}
	return e.Encode()
}

// location is where a receipt is.
type location struct {
	partition int
	entry     eventlog.Entry
	index     int
	events    int // in the entry
}

// search is the search for the event by which a user has read a message.
type search struct {
	n         *Notary
	message   projections.Message
	app, user string
	readAt    int64
	partition int
	batch     events.Batch
}

// find finds the event by which a user has read a message. The state knows when that was, not
// where.
func (n *Notary) find(ctx context.Context, c events.Conversation, message, user string) (at location, event *events.Event, err error) {
	s := search{n: n, app: c.App, user: user, partition: c.Partition(n.o.Log.Partitions())}
	found, err := n.o.State.MessageIn(c, message, "")
	if err != nil {
		return at, nil, err
	}
	s.message = found.Message
	if s.readAt, err = n.readAt(c, message, user); err != nil {
		return at, nil, err
	}
	// The receipt is of the time of reading, or waited for its message before that, or came later
	// and reported that time.
	for _, x := range [][2]int64{
		{s.readAt, s.readAt},
		{s.readAt - events.ParkedFor.Milliseconds(), s.readAt},
		{s.readAt, s.readAt + events.LongestReportAge.Milliseconds()},
	} {
		at, event, err = s.between(ctx, x[0], x[1])
		if err != nil || event != nil {
			return at, event, err
		}
	}
	return at, nil, fmt.Errorf("%w: the receipt is not in the log any more", eventlog.ErrTrimmed)
}

// readAt is when a user has read a message, in Unix milliseconds.
func (n *Notary) readAt(c events.Conversation, message, user string) (int64, error) {
	const page = 1000
	for offset := 0; ; {
		list, err := n.o.State.Readers(c, message, offset, page)
		if err != nil {
			return 0, err
		}
		for _, r := range list.Readers {
			if r.User == user {
				return r.ReadAt, nil
			}
		}
		if offset = list.Next; offset == 0 {
			return 0, fmt.Errorf("%w: %s has not read it", projections.ErrNotFound, user)
		}
	}
}

// between looks for the event in the entries from one time to another.
func (s *search) between(ctx context.Context, from, to int64) (at location, event *events.Event, err error) {
	log := s.n.o.Log
	first, last, err := log.Bounds(ctx, s.partition)
	if err != nil {
		return at, nil, err
	}
	if first, err = s.firstAt(ctx, first, last, from); err != nil || first > last {
		return at, nil, err
	}
	r, err := log.Read(ctx, s.partition, first-1)
	if err != nil {
		return at, nil, err
	}
	defer r.Close()
	for r.Last() < last {
		e, err := r.Next(ctx)
		if err != nil {
			return at, nil, err
		}
		if e.Time.UnixMilli() > to {
			break
		}
		if index, x := s.in(&e); x != nil {
			return location{s.partition, e, index, s.batch.Len()}, x, nil
		}
	}
	return at, nil, nil
}

// firstAt is the first entry that is not older than a time.
func (s *search) firstAt(ctx context.Context, first, last uint64, from int64) (uint64, error) {
	for first <= last {
		middle := first + (last-first)/2
		e, err := s.n.o.Log.EntryAt(ctx, s.partition, middle)
		if err != nil {
			return 0, err
		}
		if e.Time.Before(time.UnixMilli(from)) {
			first = middle + 1
		} else {
			last = middle - 1
		}
	}
	return first, nil
}

// in looks for the event in an entry.
func (s *search) in(e *eventlog.Entry) (index int, event *events.Event) {
	if events.DecodeEntry(e.Subject, e.Data, "", e.Partitions, &s.batch) != nil {
		return 0, nil // poison
	}
	var x events.Event
	for i, kind := range s.batch.Kinds {
		if kind != events.MessageRead && kind != events.ConversationRead {
			continue
		}
		if s.batch.Event(i, &x); s.reads(&x) && (kind == events.MessageRead || s.isOf(e.Time.UnixMilli(), x.Time)) {
			return i, &x
		}
	}
	return 0, nil
}

// isOf reports whether a conversation read that was stored at a time, and says that it happened at
// another one or, with 0, does not say, may be of the time of reading.
func (s *search) isOf(stored, happened int64) bool {
	return stored == s.readAt || stored > s.readAt && happened != 0 && happened <= s.readAt
}

// reads reports whether an event reads the message: by its id or, in a single chat, with all that
// was sent before.
func (s *search) reads(x *events.Event) bool {
	m := &s.message
	if x.App != s.app || x.User != s.user || x.Group != m.Group || m.Group == "" && x.Peer != m.From {
		return false
	}
	return x.Kind == events.MessageRead && x.Message == m.ID || x.Kind == events.ConversationRead && m.Group == ""
}
