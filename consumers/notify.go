package consumers

import (
	"errors"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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
	for len(effects) > 0 {
		// Receipts of one author come in bursts: a message is read by many, a chat is opened.
		app, user := effects[0].App, effects[0].To
		run := 1
		for run < len(effects) && effects[run].To == user && effects[run].App == app {
			run++
		}
		if s := n.shard(user); s.online.Load() != 0 {
			for _, sub := range s.subscriptions(app, user) {
				sub.add(effects[:run])
			}
		}
		effects = effects[run:]
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
