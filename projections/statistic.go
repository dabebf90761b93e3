package projections

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/receiptd/receiptd/events"
)

// author is what a sender of group messages has not seen: the messages that were read since.
type author struct {
	node
	app  *app
	user string
	// next is the number the next pending message gets.
	next uint64
	// items are the pending messages by number.
	items []pendingRef
}

type pendingRef struct {
	n    uint64
	conv uint64
	id   string
}

// pendingCost is the memory of one pendingRef, its id included.
const pendingCost = 64

func (u *author) cacheNode() *node { return &u.node }
func (u *author) cost() int        { return 200 + 2*len(u.user) + len(u.items)*pendingCost }
func (u *author) forget(*Partition) {
	delete(u.app.authors, u.user)
}

// holds reports whether a message that was given number n is still in the list. Whoever takes one out
// of the middle clears the message's number; only those pushed out at the front keep a stale one.
func (u *author) holds(n uint64) bool { return n != 0 && len(u.items) > 0 && n >= u.items[0].n }

func (p *Partition) author(a *app, user string) (*author, error) {
	if u := a.authors[user]; u != nil {
		u.used = true
		return u, nil
	}
	u := &author{app: a, user: strings.Clone(user), next: 1}
	v, err := p.back.Get(authorKey(p.key(), a.num, user))
	if err != nil {
		return nil, err
	}
	if v != nil {
		r := reader{b: v}
		u.next = r.uvarint()
		if r.bad {
			return nil, errCorrupt
		}
		if err := p.loadPending(u); err != nil {
			return nil, err
		}
	}
	u.used = true
	a.authors[u.user] = u
	p.authorRing.add(u)
	p.cacheBytes += u.cost()
	return u, nil
}

func (p *Partition) loadPending(u *author) error {
	prefix := pendingPrefix(p.key(), u.app.num, u.user)
	return p.back.Scan(prefix, func(key, value []byte) error {
		key = key[len(prefix):]
		r := reader{b: value}
		conv := r.uvarint()
		if len(key) != 8 || r.bad {
			return errCorrupt
		}
		u.items = append(u.items, pendingRef{n: binary.BigEndian.Uint64(key), conv: conv, id: string(r.b)})
		return nil
	})
}

func (p *Partition) touchAuthor(u *author) {
	if u.epoch != p.epoch {
		u.epoch = p.epoch
		p.dirtyAuthors = append(p.dirtyAuthors, u)
	}
}

// authorOf returns the summary of the message's sender.
func (p *Partition) authorOf(m *message) (*author, error) {
	if m.author != nil {
		m.author.used = true
		return m.author, nil
	}
	u, err := p.author(m.conv.app, m.conv.members[m.sender].user)
	if err != nil {
		return nil, err
	}
	u.refs++
	m.author = u
	return u, nil
}

// makePending puts a message with a new read into its sender's summary, if it is not in it.
func (p *Partition) makePending(m *message) error {
	u, err := p.authorOf(m)
	if err != nil {
		return err
	}
	if u.holds(m.pending) {
		return nil
	}
	m.pending = u.next
	u.next++
	u.items = append(u.items, pendingRef{n: m.pending, conv: m.conv.num, id: m.id})
	p.cacheBytes += pendingCost
	p.put(pendingKey(p.key(), u.app.num, u.user, m.pending),
		append(binary.AppendUvarint(nil, m.conv.num), m.id...))
	if len(u.items) > p.limits.Pending {
		p.del(pendingKey(p.key(), u.app.num, u.user, u.items[0].n))
		u.items[0] = pendingRef{}
		u.items = u.items[1:]
		p.cacheBytes -= pendingCost
	}
	p.touchAuthor(u)
	return nil
}

// dropPending takes a message out of its sender's summary.
func (p *Partition) dropPending(m *message) error {
	if m.pending == 0 {
		return nil
	}
	u, err := p.authorOf(m)
	if err != nil {
		return err
	}
	k, found := slices.BinarySearchFunc(u.items, m.pending, func(x pendingRef, n uint64) int {
		return int(int64(x.n) - int64(n))
	})
	if found {
		p.del(pendingKey(p.key(), u.app.num, u.user, m.pending))
		u.items = slices.Delete(u.items, k, k+1)
		p.cacheBytes -= pendingCost
		p.touchAuthor(u)
	}
	m.pending = 0
	return nil
}

// statisticSeen decides statistic.seen: what had no read after the entry is seen.
func (p *Partition) statisticSeen(a *app, i int) (events.Outcome, error) {
	upto := p.entry.extra(i).Upto
	u, err := p.author(a, p.entry.user(i))
	if err != nil {
		return 0, err
	}
	keep := make([]pendingRef, 0, len(u.items))
	for _, x := range u.items {
		m, err := p.messageByRef(x.conv, x.id)
		if err != nil {
			return 0, err
		}
		if m.lastSeq > upto {
			keep = append(keep, x)
			continue
		}
		m.pending = 0
		p.touchMessage(m)
		p.del(pendingKey(p.key(), a.num, u.user, x.n))
	}
	if len(keep) == len(u.items) {
		return events.OutcomeDuplicate, nil
	}
	p.cacheBytes -= pendingCost * (len(u.items) - len(keep))
	u.items = keep
	p.touchAuthor(u)
	return events.OutcomeApplied, nil
}

// messageByRef returns a message that has to be there.
func (p *Partition) messageByRef(conv uint64, id string) (*message, error) {
	c, err := p.loadConv(conv)
	if err != nil {
		return nil, err
	}
	m, err := p.message(c, id)
	if err == nil && m == nil {
		err = errCorrupt
	}
	return m, err
}
