package feed

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/receiptd/receiptd/projections"
)

const (
	// queueMax bounds the bytes that wait in a feed. A feed whose node does not take them in time
	// is over, and that node begins another one.
	queueMax = 1 << 20
	// answerMax is about how many bytes of effects one answer has.
	answerMax = 256 << 10
	// gather is how long a feed waits for more once there is something: a burst is one answer.
	gather = 2 * time.Millisecond
	// waitMax bounds how long an answer waits for something to tell.
	waitMax = time.Second
	// unasked is how long a feed is kept whose node does not ask for it.
	unasked = 3 * time.Second
)

var errNoFeed = errors.New("the feed is not known, or is over")

// outgoing are the feeds of one partition that this node gives to others.
type outgoing struct {
	users atomic.Int64 // of all feeds: while it is 0 the fold looks for nobody

	mu    sync.RWMutex
	feeds map[string]*feed
	upto  uint64 // the last entry that the fold has come to, its effects pushed
}

// feed is one feed to one node. The maps are by user; replacing is nil unless the users are being
// named anew.
type feed struct {
	users, replacing map[uint64]struct{}
	begun            bool
	// The queue has the effects of the entries after from, all of them up to upto.
	from, upto uint64
	queue      effects
	wake       chan struct{}
	over       chan struct{} // closed when it is
	asked      time.Time
}

// wants reports whether a feed is for a user.
func (o *outgoing) wants(app, user string) bool {
	if o.users.Load() == 0 {
		return false
	}
	h := hash(app, user)
	o.mu.RLock()
	defer o.mu.RUnlock()
	for _, f := range o.feeds {
		if _, is := f.users[h]; is {
			return true
		}
	}
	return false
}

// push queues what the fold did at an entry for the feeds that are for the users in it.
func (o *outgoing) push(list []projections.Effect) {
	if o.users.Load() == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range list {
		h := hash(list[i].App, list[i].To)
		for _, f := range o.feeds {
			if _, is := f.users[h]; is {
				f.queue.add(&list[i])
			}
		}
	}
	for id, f := range o.feeds {
		switch {
		case f.queue.bytes > queueMax:
			o.end(id)
		case len(f.queue.list) > 0:
			f.signal()
		}
	}
}

// told notes that the fold has come to an entry. A feed is over if it has left out some: what they
// did was told to nobody.
func (o *outgoing) folded(sequence uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.upto = max(o.upto, sequence)
	for id, f := range o.feeds {
		if f.begun && sequence > f.upto+1 {
			o.end(id)
		}
		f.upto = max(f.upto, sequence)
	}
}

func (f *feed) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// end ends a feed. It is called with mu held.
func (o *outgoing) end(id string) {
	if f := o.feeds[id]; f != nil {
		close(f.over)
		delete(o.feeds, id)
		o.countUsers()
	}
}

// countUsers is called with mu held, when a feed has got other users.
func (o *outgoing) countUsers() {
	n := 0
	for _, f := range o.feeds {
		n += len(f.users)
	}
	o.users.Store(int64(n))
}

// expire ends the feeds that nobody has asked for lately.
func (o *outgoing) expire() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, f := range o.feeds {
		if time.Since(f.asked) > unasked {
			o.end(id)
		}
	}
}

// name has a feed tell of users. Position is asked after that, and is between two entries, so those
// after it have all that they do to these users told.
func (o *outgoing) name(rq *request, position func() (uint64, error)) reply {
	if err := o.add(rq); err != nil {
		return reply{Problem: err.Error()}
	}
	at, err := position()
	if err != nil {
		return reply{Problem: err.Error()}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.feeds[rq.ID]
	if f == nil {
		return reply{Problem: errNoFeed.Error()}
	}
	if rq.Last && !f.begun {
		f.begun, f.from, f.upto = true, at, max(at, o.upto)
	}
	return reply{After: at, Users: len(f.users)}
}

func (o *outgoing) add(rq *request) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.feeds[rq.ID]
	switch {
	case f == nil && !rq.First:
		return errNoFeed
	case f == nil:
		f = &feed{wake: make(chan struct{}, 1), over: make(chan struct{})}
		if o.feeds == nil {
			o.feeds = map[string]*feed{}
		}
		o.feeds[rq.ID] = f
	}
	defer o.countUsers()
	f.asked = time.Now()
	if rq.First {
		f.replacing = map[uint64]struct{}{}
	}
	if f.replacing == nil {
		addHashes(f.users, rq.Whom)
		return nil
	}
	addHashes(f.replacing, rq.Whom)
	if rq.Last {
		f.users, f.replacing = f.replacing, nil
	}
	return nil
}

// poll returns the effects after an entry, all up to which were told. If there are none it waits
// for some as long as it is asked to.
func (o *outgoing) poll(ctx context.Context, rq *request) reply {
	o.mu.Lock()
	f := o.feeds[rq.ID]
	known := f != nil && f.begun
	if known {
		f.asked = time.Now()
		f.from = max(f.from, rq.After)
		if f.queue.forget(rq.After); len(f.queue.list) > 0 {
			f.signal()
		}
	}
	o.mu.Unlock()
	if !known {
		return reply{Problem: errNoFeed.Error()}
	}
	wait := time.NewTimer(time.Duration(min(max(rq.Wait, 0), waitMax.Milliseconds())) * time.Millisecond)
	defer wait.Stop()
	select {
	case <-f.wake:
		time.Sleep(gather)
	case <-wait.C:
	case <-f.over:
		return reply{Problem: errNoFeed.Error()}
	case <-ctx.Done():
		return reply{Problem: "the node is stopping"}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.feeds[rq.ID] != f {
		return reply{Problem: errNoFeed.Error()}
	}
	f.queue.forget(f.from) // a fold that is behind has come to what another copy told
	x := reply{After: f.from, Upto: f.upto, Users: len(f.users), Effects: slices.Clone(f.queue.head(answerMax))}
	switch n := len(x.Effects); {
	case n < len(f.queue.list):
		x.Upto = x.Effects[n-1].Sequence
	case n > 0: // an entry's effects come together, before it is noted that the fold has come to it
		x.Upto = max(x.Upto, x.Effects[n-1].Sequence)
	}
	return x
}
