package notify

import (
	"errors"
	"hash/maphash"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// ErrClosed is returned by [Subscription.Next] once the subscription or its [Hub] is closed.
var ErrClosed = errors.New("notify: closed")

// Options bound what one subscriber may cost. Zero values mean the defaults.
type Options struct {
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

func (o Options) withDefaults() Options {
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

// Hub tells users who are online what happened to their messages.
//
// Folds hand effects in with [Hub.Push]; each connection of a user takes them out with a
// [Subscription]. Between the two, all receipts of one message become one [Notification] with the
// latest count, so that an author pays for messages and not for readers. The first reader of a
// message and the last one are passed on at once, what lies between within the flush interval.
//
// There is no goroutine in it: the subscriber's own goroutine waits, and while it is busy sending
// receipts keep merging. What cannot be merged within the bounds is given up, and the subscriber is
// told to look at the summary ([Push.Resync]); the fold never waits for a subscriber.
type Hub struct {
	o          Options
	partitions int
	seed       maphash.Seed
	// online counts the keys of users: while it is 0 nobody has to be looked for.
	online atomic.Int64
	shards [shardCount]shard
	closed atomic.Bool
	// remote are the partitions that another node's fold has told of.
	remote []atomic.Bool

	effects   prometheus.Counter
	overflows prometheus.Counter
}

// shardCount is a power of two, large enough that most are empty while few users are online.
const shardCount = 1024

type shard struct {
	// online counts the keys of users: it answers for an empty shard without the lock.
	online atomic.Int32
	mu     sync.RWMutex
	// users holds slices that are replaced and never changed, so that they can be read
	// unlocked.
	users map[userKey][]*Subscription
}

type userKey struct{ app, user string }

// New makes a Hub for a log of that many partitions.
func New(partitions int, o Options) *Hub {
	h := &Hub{
		o:          o.withDefaults(),
		partitions: partitions,
		remote:     make([]atomic.Bool, partitions),
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
	if o.Registerer != nil {
		o.Registerer.MustRegister(h.effects, h.overflows)
	}
	return h
}

func (h *Hub) shard(user string) *shard {
	return &h.shards[maphash.String(h.seed, user)&(shardCount-1)]
}

// Online reports whether the user has a subscription. It is meant to be asked per receipt: an
// atomic load when nobody is online, a hash and another one when nobody of the user's shard is, a
// read lock otherwise.
func (h *Hub) Online(app, user string) bool {
	if h.online.Load() == 0 {
		return false
	}
	s := h.shard(user)
	if s.online.Load() == 0 {
		return false
	}
	return s.subscriptions(app, user) != nil
}

func (s *shard) subscriptions(app, user string) []*Subscription {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.users[userKey{app, user}]
}

// Push merges effects into what waits for the users concerned. It never waits for a subscriber, and
// keeps neither the slice nor the strings in it. Effects of one partition must come in the order of
// their sequences; different partitions may push at the same time.
func (h *Hub) Push(effects []projections.Effect) {
	h.effects.Add(float64(len(effects)))
	for len(effects) > 0 {
		// Receipts of one author come in bursts: a message is read by many, a chat is
		// opened.
		app, user := effects[0].App, effects[0].To
		run := 1
		for run < len(effects) && effects[run].To == user && effects[run].App == app {
			run++
		}
		if s := h.shard(user); s.online.Load() != 0 {
			for _, sub := range s.subscriptions(app, user) {
				sub.add(effects[:run])
			}
		}
		effects = effects[run:]
	}
}

// Users are the apps and users that are online. Those who come or go meanwhile may be among them or
// not.
func (h *Hub) Users() iter.Seq2[string, string] {
	return func(yield func(app, user string) bool) {
		for i := range h.shards {
			s := &h.shards[i]
			s.mu.RLock()
			keys := slices.Collect(maps.Keys(s.users))
			s.mu.RUnlock()
			for _, key := range keys {
				if !yield(key.app, key.user) {
					return
				}
			}
		}
	}
}

// Count is how many users are online.
func (h *Hub) Count() int { return int(h.online.Load()) }

// SetRemote says that from now on another node's fold may be what a partition's effects come from.
// These may come a good while after a summary that has them.
func (h *Hub) SetRemote(partition int) { h.remote[partition].Store(true) }

// Missed tells all subscribers that what a partition's entries after one did, up to another one, is
// not pushed. Each is told of it by their summary: see [Push.Missed].
func (h *Hub) Missed(partition int, after, upto uint64) {
	for _, sub := range h.all() {
		sub.miss(partition, gap{after, upto})
	}
}

// all are the subscriptions there are.
func (h *Hub) all() (subs []*Subscription) {
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.RLock()
		for _, list := range s.users {
			subs = append(subs, list...)
		}
		s.mu.RUnlock()
	}
	return subs
}

// Subscribe makes the user online. A user may have several subscriptions; each gets everything that
// is pushed after Subscribe has returned, and of what the user did themselves the kinds that own
// names: a subscriber is not woken for what it would not tell. The caller must Close it.
func (h *Hub) Subscribe(app, user string, own ...events.Kind) *Subscription {
	sub := &Subscription{
		hub:  h,
		key:  userKey{strings.Clone(app), strings.Clone(user)},
		own:  own,
		wake: make(chan struct{}, 1),
		upto: make([]uint64, h.partitions),
	}
	s := h.shard(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	// Under the lock, so that Close either finds the subscription or is seen here.
	if h.closed.Load() {
		sub.closed = true
		return sub
	}
	if s.users == nil {
		s.users = make(map[userKey][]*Subscription)
	}
	old := s.users[sub.key]
	if old == nil {
		s.online.Add(1)
		h.online.Add(1)
	}
	s.users[sub.key] = append(slices.Clip(old), sub)
	return sub
}

func (h *Hub) unsubscribe(sub *Subscription) {
	s := h.shard(sub.key.user)
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.users[sub.key]
	i := slices.Index(old, sub)
	switch {
	case i < 0:
	case len(old) == 1:
		delete(s.users, sub.key)
		s.online.Add(-1)
		h.online.Add(-1)
	default:
		s.users[sub.key] = slices.Concat(old[:i], old[i+1:])
	}
}

// Close ends all subscriptions and refuses new ones.
func (h *Hub) Close() {
	h.closed.Store(true)
	for _, sub := range h.all() {
		sub.Close()
	}
}
