package notify

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// Notification is what users are told about one of their messages, or about one single chat: the
// latest of what happened since the last notification of the same message and kind.
type Notification struct {
	// Kind is events.MessageDelivered, events.MessageRead or events.ConversationRead. Of what the
	// user did themselves (Own) it is events.MessageRead, ConversationRead or
	// ConversationMarkedUnread.
	Kind events.Kind
	// Own says that it tells of what the user did, on whichever device. Peer is then the other side
	// of a single chat, Unread the user's unread count in the conversation, and Marked whether they
	// have marked it.
	// EventID is the id of the event by which they did it, empty if it has none.
	Own     bool
	Peer    string
	Unread  int
	Marked  bool
	EventID string
	// Group is empty in a single chat.
	Group string
	// Message is empty for a conversation read.
	Message string
	// Reader is the latest user who read the message or had it delivered, At is when that was
	// (Unix milliseconds), and Content is what they sent along.
	Reader, Content string
	At              int64
	// Count is the message's read count, Eligible its frozen readers.
	Count, Eligible int

	urgent bool
	// partition and sequence are of the entry of the latest that it tells of.
	partition int
	sequence  uint64
}

// Push is what [Subscription.Next] hands out at one time.
type Push struct {
	// Notifications has at most one for each message and kind, in the order in which they began
	// to wait; of what the user did themselves, in the order of the latest of each, so that the
	// last one of a conversation has its unread count and mark.
	Notifications []Notification
	// Upto, when not nil, has for each partition the sequence up to which this subscription has
	// handed out everything since it began, or since it last said Resync; 0 where it had
	// nothing. It is nil while something older than these notifications still waits.
	Upto []uint64
	// Resync says that receipts were given up because the subscriber fell behind. The author's
	// summary still has them.
	Resync bool
	// Missed, when not nil, has for partitions of which receipts were not pushed the entry after
	// which they come: up to there the subscriber has been handed out everything. The author's
	// summary has them, and until [Subscription.SkipUpto] says that the subscriber was told,
	// nothing of these partitions that came later is handed out. It comes alone.
	Missed map[int]uint64
}

// Subscription is one connection of a user who is online. Next and Poll are for one goroutine;
// Close may be called from any.
type Subscription struct {
	hub  *Hub
	key  userKey
	own  []events.Kind // what it is told of that the user did
	wake chan struct{}

	mu      sync.Mutex
	pending []*Notification
	index   map[receiptKey]*Notification
	urgent  int       // pending that must not wait
	bytes   int       // of texts in pending
	since   time.Time // when pending stopped being empty
	upto    []uint64  // per partition, the last sequence that was added
	told    []uint64  // per partition, up to where a summary has told of everything; nil = none has
	lost    bool      // the bound was passed: pending is empty until Next has said so
	gaps    gaps      // what was not pushed, and no summary has told of
	asked   time.Time // when Next said so last
	closed  bool
}

// receiptKey is what receipts are merged by. Group reads of a message share one key; in a single
// chat the peer is part of it, since two chats may use the same message id.
type receiptKey struct {
	kind                 events.Kind
	own                  bool
	group, message, peer string
}

func (n *Notification) key() receiptKey {
	return receiptKey{n.Kind, n.Own, n.Group, n.Message, otherSide(n.Own, n.Group, n.Peer, n.Reader)}
}

// keyOf is the key of the notification that an effect is merged into.
func keyOf(e *projections.Effect) receiptKey {
	return receiptKey{e.Kind, e.Own, e.Group, e.Message, otherSide(e.Own, e.Group, e.Peer, e.Reader)}
}

// otherSide names the other user of a single chat: to the reader's own devices the peer, to the
// peer's the reader.
func otherSide(own bool, group, peer, reader string) string {
	switch {
	case own:
		return peer
	case group == "":
		return reader
	}
	return ""
}

// add merges effects into what waits, and wakes Next once if there is a reason to.
func (s *Subscription) add(effects []projections.Effect) {
	s.mu.Lock()
	defer s.mu.Unlock()
	waited, urgent := len(s.pending), s.urgent
	for i := range effects {
		if s.closed || s.lost {
			break
		}
		s.merge(&effects[i])
	}
	if s.urgent > urgent || s.lost || waited == 0 && len(s.pending) > 0 {
		s.signal()
	}
}

func (s *Subscription) merge(e *projections.Effect) {
	switch {
	case e.Own: // it is in no summary, and moves no cursor
		if !slices.Contains(s.own, e.Kind) {
			return
		}
	default:
		s.upto[e.Partition] = max(s.upto[e.Partition], e.Sequence)
		if s.toldOf(e.Partition, e.Sequence) {
			return
		}
	}
	n := s.index[keyOf(e)]
	if n == nil {
		if n = s.begin(e); n == nil {
			return
		}
	}
	s.bytes += len(e.Reader) + len(e.Content) - len(n.Reader) - len(n.Content)
	if s.bytes > s.hub.o.MaxPendingBytes {
		s.overflow()
		return
	}
	if n.Reader != e.Reader {
		n.Reader = strings.Clone(e.Reader)
	}
	n.Content = strings.Clone(e.Content)
	n.At, n.Count, n.Eligible = e.At, e.Count, e.Eligible
	n.partition, n.sequence = e.Partition, e.Sequence
	n.Unread, n.Marked, n.EventID = e.Unread, e.Marked, strings.Clone(e.EventID)
	if e.Own {
		s.toTheEnd(n)
	}
	if !isUrgent(e) {
		return
	}
	s.hurry(n)
	if e.Own { // what the user did before is not told after it
		for _, n := range s.pending {
			if n.Own {
				s.hurry(n)
			}
		}
	}
}

// toTheEnd makes a notification the last that waits.
func (s *Subscription) toTheEnd(n *Notification) {
	if last := len(s.pending) - 1; s.pending[last] != n {
		at := slices.Index(s.pending, n)
		copy(s.pending[at:], s.pending[at+1:])
		s.pending[last] = n
	}
}

// hurry has a notification not wait for the flush interval.
func (s *Subscription) hurry(n *Notification) {
	if !n.urgent {
		n.urgent = true
		s.urgent++
	}
}

// isUrgent says what must not wait for the flush interval: the first reader of a message, the last
// one, and a conversation read, of which there are few.
func isUrgent(e *projections.Effect) bool {
	if e.Own { // not a burst of reads, message by message
		return e.Kind != events.MessageRead
	}
	switch e.Kind {
	case events.MessageRead:
		return e.Count <= 1 || e.Count == e.Eligible
	case events.ConversationRead:
		return true
	}
	return false
}

// begin makes the notification the effect is merged into; nil if there is no room.
func (s *Subscription) begin(e *projections.Effect) *Notification {
	if len(s.pending) >= s.hub.o.MaxPending {
		s.overflow()
		return nil
	}
	if len(s.pending) == 0 {
		s.since = time.Now()
	}
	if s.index == nil {
		s.index = make(map[receiptKey]*Notification)
	}
	n := &Notification{
		Kind:    e.Kind,
		Own:     e.Own,
		Peer:    strings.Clone(e.Peer),
		Group:   strings.Clone(e.Group),
		Message: strings.Clone(e.Message),
		Reader:  strings.Clone(e.Reader),
	}
	s.bytes += n.size()
	s.pending = append(s.pending, n)
	s.index[n.key()] = n
	return n
}

// size is the memory of the texts that it has from the start.
func (n *Notification) size() int { return len(n.Group) + len(n.Peer) + len(n.Message) + len(n.Reader) }

// overflow gives up what waits, and all that comes until Next has told the subscriber.
func (s *Subscription) overflow() {
	s.hub.overflows.Inc()
	s.reset()
	s.lost = true
}

func (s *Subscription) reset() {
	s.pending, s.index = nil, nil
	s.urgent, s.bytes = 0, 0
}

// signal wakes Next. One token is enough: Next looks at everything when it wakes.
func (s *Subscription) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Wake has a token when [Subscription.Poll] may have something, for those who wait for more than
// one thing.
func (s *Subscription) Wake() <-chan struct{} { return s.wake }

// Next waits until there is something to tell and returns it. The error is the context's or
// [ErrClosed].
func (s *Subscription) Next(ctx context.Context) (Push, error) {
	for {
		push, wait, err := s.Poll()
		if err != nil || push.Resync || push.Missed != nil || len(push.Notifications) > 0 {
			return push, err
		}
		if err := s.sleep(ctx, wait); err != nil {
			return Push{}, err
		}
	}
}

// sleep returns when woken, when the context ends, or after wait if that is not zero.
func (s *Subscription) sleep(ctx context.Context, wait time.Duration) error {
	var due <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-s.wake:
	case <-due:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// Poll is Next without waiting: it returns what is ready to go. If nothing is, wait is the time
// until the flush interval is over; 0 means that nothing waits at all.
func (s *Subscription) Poll() (push Push, wait time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return Push{}, 0, ErrClosed
	case s.lost:
		s.lost = false
		return Push{Resync: true}, 0, nil
	case len(s.gaps) > 0:
		// First what waits from before them: a summary may not have it any more.
		push.Notifications = s.takeWhere(func(n *Notification) bool { return !s.gaps.before(n) })
		switch wait = s.hub.o.FlushInterval - time.Since(s.asked); {
		case len(push.Notifications) > 0:
			s.signal() // there is more
			return push, 0, nil
		case wait > 0: // the last summary had less
			return push, wait, nil
		}
		s.asked = time.Now()
		return Push{Missed: s.gaps.afters()}, 0, nil
	case len(s.pending) == 0:
		return Push{}, 0, nil
	}
	wait = s.hub.o.FlushInterval - time.Since(s.since)
	if all := wait <= 0 || s.urgent == len(s.pending); all {
		push.Notifications = s.takeWhere(func(*Notification) bool { return true })
		push.Upto = slices.Clone(s.upto)
	} else if s.urgent > 0 {
		push.Notifications = s.takeWhere(func(n *Notification) bool { return n.urgent })
	}
	return push, wait, nil
}

// takeWhere removes the notifications that fit from what waits, keeping the order of both parts.
func (s *Subscription) takeWhere(fits func(*Notification) bool) (taken []Notification) {
	rest := s.pending[:0]
	for _, n := range s.pending {
		if !fits(n) {
			rest = append(rest, n)
			continue
		}
		delete(s.index, n.key())
		s.bytes -= n.size() + len(n.Content)
		if n.urgent {
			s.urgent--
		}
		n.partition, n.sequence = 0, 0 // for us only
		taken = append(taken, *n)
	}
	clear(s.pending[len(rest):])
	s.pending = rest
	if len(rest) == 0 {
		s.reset() // a burst must not leave its memory behind in every subscription
	}
	return taken
}

// Close ends the subscription: the user is offline if it was their last. It may be called more than
// once.
func (s *Subscription) Close() {
	s.hub.unsubscribe(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.reset()
	s.signal()
}
