package consumers

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// ErrNotifyClosed is returned by [Subscription.Next] once the subscription or its [Notify] is closed.
var ErrNotifyClosed = errors.New("consumers: notify is closed")

// NotifyOptions bound what one subscriber may cost. Zero values mean the defaults.
type NotifyOptions struct {
	// FlushInterval is how long receipts of one message are gathered into one notification.
	// Default 50 ms.
	FlushInterval time.Duration
	// MaxPending bounds the distinct messages that wait for one subscriber. Default 1024.
	MaxPending int
	// MaxPendingBytes bounds the texts that wait for one subscriber. Default 256 KiB.
	MaxPendingBytes int
	// Registerer gets the metrics; nil = none.
	Registerer prometheus.Registerer
}

func (o NotifyOptions) withDefaults() NotifyOptions {
	if o.FlushInterval <= 0 {
		o.FlushInterval = 50 * time.Millisecond
	}
	if o.MaxPending <= 0 {
		o.MaxPending = 1024
	}
	if o.MaxPendingBytes <= 0 {
		o.MaxPendingBytes = 256 << 10
	}
	return o
}

// Notify tells users who are online what happened to their messages.
//
// Folds hand effects in with [Notify.Deliver]; each connection of a user takes them out with a
// [Subscription]. Between the two, all receipts of one message become one [Notification] with the
// latest count, so that an author pays for messages and not for readers. The first reader of a
// message and the last one are passed on at once, what lies between within the flush interval.
//
// There is no goroutine in it: the subscriber's own goroutine waits, and while it is busy sending
// receipts keep merging. What cannot be merged within the bounds is given up, and the subscriber
// is told to look at the summary ([Push.Resync]); the fold never waits for a subscriber.
type Notify struct {
	opts       NotifyOptions
	partitions int
	seed       maphash.Seed
	shards     [notifyShards]notifyShard
	closed     atomic.Bool

	effects   prometheus.Counter
	overflows prometheus.Counter
}

// notifyShards is a power of two, large enough that most are empty while few users are online.
const notifyShards = 1024

type notifyShard struct {
	// online counts the keys of users: it answers for an empty shard without the lock.
	online atomic.Int32
	mu     sync.RWMutex
	// users holds slices that are replaced and never changed, so that they can be read unlocked.
	users map[userKey][]*Subscription
}

type userKey struct{ app, user string }

// NewNotify makes a Notify for a log of that many partitions.
func NewNotify(partitions int, opts NotifyOptions) *Notify {
	n := &Notify{
		opts:       opts.withDefaults(),
		partitions: partitions,
		seed:       maphash.MakeSeed(),
		effects: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "receiptd_notify_effects_total",
			Help: "Receipts handed to notify, before they are merged.",
		}),
		overflows: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "receiptd_notify_overflows_total",
			Help: "Subscribers that fell behind their bound and were sent to the summary.",
		}),
	}
	if opts.Registerer != nil {
		opts.Registerer.MustRegister(n.effects, n.overflows)
	}
	return n
}

func (n *Notify) shard(user string) *notifyShard {
	return &n.shards[maphash.String(n.seed, user)&(notifyShards-1)]
}

// Online reports whether the user has a subscription. It is meant to be asked per receipt: a hash
// and an atomic load when nobody of the user's shard is online, a read lock otherwise.
func (n *Notify) Online(app, user string) bool {
	s := n.shard(user)
	if s.online.Load() == 0 {
		return false
	}
	return s.subscriptions(app, user) != nil
}

func (s *notifyShard) subscriptions(app, user string) []*Subscription {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.users[userKey{app, user}]
}

// Deliver merges effects into what waits for the users concerned. It never waits for a subscriber,
// and keeps neither the slice nor the strings in it. Effects of one partition must come in the
// order of their sequences; different partitions may deliver at the same time.
func (n *Notify) Deliver(effects []projections.Effect) {
	n.effects.Add(float64(len(effects)))
	var last userKey // of this call: receipts of one author come in bursts
	var subs []*Subscription
	for i := range effects {
		e := &effects[i]
		if i == 0 || e.To != last.user || e.App != last.app {
			last = userKey{e.App, e.To}
			subs = nil
			if s := n.shard(e.To); s.online.Load() != 0 {
				subs = s.subscriptions(e.App, e.To)
			}
		}
		for _, s := range subs {
			s.add(e)
		}
	}
}

// Subscribe makes the user online. A user may have several subscriptions; each gets everything that
// is delivered after Subscribe has returned. The caller must Close it.
func (n *Notify) Subscribe(app, user string) *Subscription {
	sub := &Subscription{
		notify: n,
		key:    userKey{strings.Clone(app), strings.Clone(user)},
		wake:   make(chan struct{}, 1),
		upto:   make([]uint64, n.partitions),
	}
	s := n.shard(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	// Under the lock, so that Close either finds the subscription or is seen here.
	if n.closed.Load() {
		sub.closed = true
		return sub
	}
	if s.users == nil {
		s.users = make(map[userKey][]*Subscription)
	}
	old := s.users[sub.key]
	if old == nil {
		s.online.Add(1)
	}
	s.users[sub.key] = append(slices.Clip(old), sub)
	return sub
}

func (n *Notify) unsubscribe(sub *Subscription) {
	s := n.shard(sub.key.user)
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.users[sub.key]
	i := slices.Index(old, sub)
	switch {
	case i < 0:
	case len(old) == 1:
		delete(s.users, sub.key)
		s.online.Add(-1)
	default:
		s.users[sub.key] = slices.Concat(old[:i], old[i+1:])
	}
}

// Close ends all subscriptions and refuses new ones.
func (n *Notify) Close() {
	n.closed.Store(true)
	for i := range n.shards {
		s := &n.shards[i]
		s.mu.RLock()
		var subs []*Subscription
		for _, list := range s.users {
			subs = append(subs, list...)
		}
		s.mu.RUnlock()
		for _, sub := range subs {
			sub.Close()
		}
	}
}

// Notification is what a user is told about one of his messages, or about one single chat: the
// latest of what happened since the last notification of the same message and kind.
type Notification struct {
	// Kind is events.MessageDelivered, events.MessageRead or events.ConversationRead.
	Kind events.Kind
	// Group is empty in a single chat.
	Group string
	// Message is empty for a conversation read.
	Message string
	// Reader is the last who read or was delivered to, At when that was (Unix milliseconds) and
	// Content what he sent along.
	Reader, Content string
	At              int64
	// Count is the message's read count, Eligible its frozen readers.
	Count, Eligible int

	urgent bool
}

// Push is what [Subscription.Next] hands out at one time.
type Push struct {
	// Notifications has at most one for each message and kind, in the order in which they began to wait.
	Notifications []Notification
	// Upto, when not nil, has for each partition the sequence up to which this subscription has
	// handed out everything since it began; 0 where it had nothing. It is nil while something older
	// than these notifications still waits.
	Upto []uint64
	// Resync says that receipts were given up because the subscriber fell behind. The author's summary still
	// has the group reads among them.
	Resync bool
}

// Subscription is one connection of a user who is online. Next is for one goroutine; Close may be
// called from any.
type Subscription struct {
	notify *Notify
	key    userKey
	wake   chan struct{}

	mu      sync.Mutex
	pending []*Notification
	index   map[receiptKey]*Notification
	urgent  int       // pending that must not wait
	bytes   int       // of texts in pending
	since   time.Time // when pending stopped being empty
	upto    []uint64  // per partition, the last sequence that was added
	lost    bool      // the bound was passed: pending is empty until Next has said so
	closed  bool
}

// receiptKey is what receipts are merged by. Group reads of a message share one key; in a single
// chat the peer is part of it, since two chats may use the same message id.
type receiptKey struct {
	kind                 events.Kind
	group, message, peer string
}

func (n *Notification) key() receiptKey {
	k := receiptKey{kind: n.Kind, group: n.Group, message: n.Message}
	if n.Group == "" {
		k.peer = n.Reader
	}
	return k
}

// add merges one effect into what waits.
func (s *Subscription) add(e *projections.Effect) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.lost {
		return
	}
	s.upto[e.Partition] = max(s.upto[e.Partition], e.Sequence)

	k := receiptKey{kind: e.Kind, group: e.Group, message: e.Message}
	if e.Group == "" {
		k.peer = e.Reader
	}
	n := s.index[k]
	if n == nil {
		if n = s.begin(e); n == nil {
			return
		}
	}
	s.bytes += len(e.Reader) + len(e.Content) - len(n.Reader) - len(n.Content)
	if s.bytes > s.notify.opts.MaxPendingBytes {
		s.overflow()
		return
	}
	if n.Reader != e.Reader {
		n.Reader = strings.Clone(e.Reader)
	}
	n.Content = strings.Clone(e.Content)
	n.At, n.Count, n.Eligible = e.At, e.Count, e.Eligible
	if !n.urgent && isUrgent(e) {
		n.urgent = true
		s.urgent++
		s.signal()
	}
}

// isUrgent says what must not wait for the flush interval: the first reader of a message, the last one,
// and a conversation read, of which there are few.
func isUrgent(e *projections.Effect) bool {
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
	if len(s.pending) >= s.notify.opts.MaxPending {
		s.overflow()
		return nil
	}
	if len(s.pending) == 0 {
		s.since = time.Now()
		s.signal()
	}
	if s.index == nil {
		s.index = make(map[receiptKey]*Notification)
	}
	n := &Notification{
		Kind:    e.Kind,
		Group:   strings.Clone(e.Group),
		Message: strings.Clone(e.Message),
		Reader:  strings.Clone(e.Reader),
	}
	s.bytes += len(n.Group) + len(n.Message) + len(n.Reader)
	s.pending = append(s.pending, n)
	s.index[n.key()] = n
	return n
}

// overflow gives up what waits, and all that comes until Next has told the subscriber.
func (s *Subscription) overflow() {
	s.notify.overflows.Inc()
	s.reset()
	s.lost = true
	s.signal()
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

// Next waits until there is something to tell and returns it. The error is the context's or
// [ErrNotifyClosed].
func (s *Subscription) Next(ctx context.Context) (Push, error) {
	for {
		push, wait, err := s.take()
		if err != nil || push.Resync || len(push.Notifications) > 0 {
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

// take returns what is ready to go. If nothing is, wait is the time until the flush interval is over; 0 means
// that nothing waits at all.
func (s *Subscription) take() (push Push, wait time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return Push{}, 0, ErrNotifyClosed
	case s.lost:
		s.lost = false
		return Push{Resync: true}, 0, nil
	case len(s.pending) == 0:
		return Push{}, 0, nil
	}
	wait = s.notify.opts.FlushInterval - time.Since(s.since)
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
		s.bytes -= len(n.Group) + len(n.Message) + len(n.Reader) + len(n.Content)
		if n.urgent {
			s.urgent--
		}
		taken = append(taken, *n)
	}
	clear(s.pending[len(rest):])
	s.pending = rest
	if len(rest) == 0 {
		s.reset() // a burst must not leave its memory behind in every subscription
	}
	return taken
}

// Close ends the subscription: the user is offline if it was his last. It may be called more than once.
func (s *Subscription) Close() {
	s.notify.unsubscribe(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.reset()
	s.signal()
}
