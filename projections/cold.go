package projections

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// A question waits for the fold and the fold for a question, so no question may take long with the
// partition locked. What takes long is to load something large: a group with all of its members, a
// message with all of its readers. A question that comes upon one is given up, the thing is read
// without the lock, and the question is asked again.

const (
	// coldMembers and coldBytes are how many members of a group, and how many bytes of a message, a
	// question loads with the partition locked: what takes some tens of microseconds.
	coldMembers = 128
	coldBytes   = 8 << 10
	// coldTries is how often one question loads without the lock: more than for what a step of a
	// list looks at, which is listStep messages and their group. What is evicted again at once
	// every time is loaded under it in the end, for an answer to come at all.
	coldTries = 2 * listStep
	// holdTime is after what time a question of many parts lets the fold go on.
	holdTime = 300 * time.Microsecond
)

// coldKey names a message or, without an id, a group.
type coldKey struct {
	conv uint64
	id   string
}

// coldError is how a question is given up that came upon something large which is not in memory.
type coldError struct{ key coldKey }

func (e *coldError) Error() string {
	return fmt.Sprintf("projections: conversation %d, message %q is not loaded", e.key.conv, e.key.id)
}

// coldIn is the coldError that an error is, or wraps; nil if there is none.
func coldIn(err error) *coldError {
	if err == nil {
		return nil
	}
	var cold *coldError
	errors.As(err, &cold)
	return cold
}

// coldLoad is an object that is being read from the backing. All who ask for it meanwhile wait for
// the same read.
type coldLoad struct {
	done chan struct{} // closed when it is over
	// spoilt: it was in the cache meanwhile, so that what is read may be out of date. Nothing
	// changes without being in the cache, and nothing leaves it before its changes are committed.
	spoilt bool
}

// questions is what holds while one question has the partition locked.
type questions struct {
	held    func(time.Duration) // is told how long each had it; nil if nobody asks
	hurried bool                // the one that has it now is not to load anything large
}

func (q *questions) begin(hurried bool) (begun time.Time) {
	q.hurried = hurried
	if q.held != nil {
		begun = time.Now()
	}
	return begun
}

func (q *questions) end(begun time.Time) {
	q.hurried = false
	if q.held != nil {
		q.held(time.Since(begun))
	}
}

// query answers a question with the partition locked, and keeps the cache within its bounds. f may
// be called several times: what it has done when it fails must do no harm when it is called again.
func query[T any](p *Partition, f func() (T, error)) (T, error) {
	for tries := 0; ; tries++ {
		v, err := hold(p, tries < coldTries, f)
		cold := coldIn(err)
		if cold == nil {
			return v, err
		}
		if err := p.warm(cold.key); err != nil {
			return v, err
		}
	}
}

// hold calls f with the partition locked. If it is hurried, f fails with a [coldError] rather than
// load something large. What an Apply that failed has left is no answer: it has a part of an entry,
// and not the rest.
func hold[T any](p *Partition, hurried bool, f func() (T, error)) (T, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil {
		var none T
		return none, p.failed
	}
	begun := p.questions.begin(hurried)
	defer p.questions.end(begun)
	v, err := f()
	if coldIn(err) == nil { // else what is there already is asked for again
		p.evict()
	}
	return v, err
}

// steps calls f with each item of a list, with the partition locked, and lets the fold go on after
// every n, or earlier if they take long. As for [query], f may be called again with an item that it
// failed for.
func steps[T any](p *Partition, n int, list []T, f func(T) error) error {
	for len(list) > 0 {
		_, err := query(p, func() (struct{}, error) {
			begun := time.Now()
			for k := 0; k < n && len(list) > 0 && (k == 0 || time.Since(begun) < holdTime); k++ {
				if err := f(list[0]); err != nil {
					return struct{}{}, err
				}
				list = list[1:]
			}
			return struct{}{}, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// warm brings something large into the cache. It is called without the lock, and holds it only to
// put into the cache what was read. Afterwards it may be there or not.
func (p *Partition) warm(key coldKey) error {
	p.mu.Lock()
	if l := p.cache.cold[key]; l != nil {
		p.mu.Unlock()
		<-l.done
		return nil
	}
	if p.cache.has(key) {
		p.mu.Unlock()
		return nil
	}
	l := &coldLoad{done: make(chan struct{})}
	p.cache.cold[key] = l
	conv := p.cache.conversationByNum[key.conv] // of the message
	p.mu.Unlock()
	defer close(l.done)

	var install func()
	var err error
	switch {
	case key.id == "":
		install, err = p.readConversation(key.conv)
	case conv != nil:
		install, err = p.readMessage(conv, key.id)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.cache.cold, key)
	if l.spoilt || conv != p.cache.conversationByNum[key.conv] {
		return nil // an error may be of two moments that do not fit
	}
	if err == nil && install != nil {
		install()
	}
	return err
}

// readConversation reads a group as it is stored, and returns what puts it into the cache.
func (p *Partition) readConversation(num uint64) (install func(), err error) {
	c := &conversation{num: num, messages: map[string]*message{}}
	var app uint64
	var members int
	err = p.read(convKey(nil, num), func(v []byte) (err error) {
		app, members, err = c.decodeHeader(v)
		return err
	})
	if err != nil {
		return nil, err
	}
	prefix := memberPrefix(nil, num)
	end := memberPrefix(nil, num)
	end[len(end)-1]++
	err = c.fillMembers(members, len(prefix), func(f func(key, value []byte) error) error { return p.back.Range(prefix, end, f) })
	if err != nil {
		return nil, err
	}
	cost := c.cost() // which looks at all members
	return func() {
		if app >= uint64(len(p.apps.byNum)) {
			return // whoever loads it with the lock says so
		}
		c.app = p.apps.byNum[app]
		c.allStored()
		p.cache.insertConversation(c, cost)
	}, nil
}

// readMessage reads a message of a conversation as it is stored, and returns what puts it into the
// cache.
func (p *Partition) readMessage(c *conversation, id string) (install func(), err error) {
	m := &message{conv: c, id: id}
	// The conversation is of an app for good.
	if err := p.read(messageKey(nil, c.app.num, id, c.num), m.decode); err != nil {
		return nil, err
	}
	return func() { p.cache.addMessage(m) }, nil
}

// read reads one key without the lock; it has to be there.
func (p *Partition) read(key []byte, decode func(value []byte) error) error {
	found := false
	err := p.back.Range(key, append(key[:len(key):len(key)], 0), func(_, value []byte) error {
		found = true
		return decode(value)
	})
	if err == nil && !found {
		err = errCorrupt
	}
	return err
}

// has reports whether it is in the cache.
func (c *cache) has(key coldKey) bool {
	conv := c.conversationByNum[key.conv]
	return conv != nil && (key.id == "" || conv.messages[key.id] != nil)
}

// spoil notes that something came into the cache.
func (c *cache) spoil(conv uint64, id string) {
	if len(c.cold) == 0 {
		return
	}
	if l := c.cold[coldKey{conv, id}]; l != nil {
		l.spoilt = true
	}
}

// fillMembers takes n members out of their stored keys, in which their ordinal begins at a place.
func (c *conversation) fillMembers(n, at int, scan func(f func(key, value []byte) error) error) error {
	c.members = make([]member, n)
	err := scan(func(key, value []byte) error {
		o, k := binary.Uvarint(key[at:])
		if k <= 0 || o >= uint64(n) {
			return errCorrupt
		}
		m := &c.members[o]
		if err := m.decode(value); err != nil {
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.roster.grow(c.members, 2*n)
	for o := range c.members {
		if _, twice := c.ordinal(c.members[o].user); twice {
			return errCorrupt
		}
		c.roster.add(c.members, uint32(o))
	}
	return nil
}
