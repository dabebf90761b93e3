package projections

import (
	"encoding/binary"
	"strings"

	"github.com/receiptd/receiptd/events"
)

// author is what a user has not seen: his messages that were read or delivered since, and the single chats
// that his peers have read since.
type author struct {
	node
	app  *app
	user string
	// next is the number the next pending item gets.
	next uint64
	// held are the numbers of the pending ones, latest the last of the items.
	held   numbers
	latest tail[pendingRef]
}

// pendingRef is an item: a message or, without an id, a single chat that the author's peer has read.
type pendingRef struct {
	conv uint64
	id   string
}

// pendingMark is an item's place in a summary, kept where the item is.
type pendingMark struct {
	// n is its number there, 0 = not in it. It may be stale: see author.holds.
	n uint64
	// last is the log entry of the last event that made it pending.
	last uint64
}

func (k *pendingMark) encode(dst []byte) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, k.n), k.last)
}

func (k *pendingMark) decode(r *reader) { k.n, k.last = r.uvarint(), r.uvarint() }

// pendingCost is the memory of one pendingRef, its id included, stretchCost that of a stretch of numbers.
const (
	pendingCost = 72
	stretchCost = 16
)

func (u *author) cacheNode() *node { return &u.node }
func (u *author) cost() int {
	return 240 + 2*len(u.user) + len(u.held.stretches)*stretchCost + len(u.latest.items)*pendingCost
}
func (u *author) forget(*Partition) {
	delete(u.app.authors, u.user)
}

// holds reports whether an item that was given number n is still in the list. Whoever takes one out
// of the middle clears its mark; only those pushed out at the front keep a stale one.
func (u *author) holds(n uint64) bool { return n != 0 && u.held.count > 0 && n >= u.held.first() }

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
		if err := p.loadAuthor(u, v); err != nil {
			return nil, err
		}
	}
	u.used = true
	a.authors[u.user] = u
	p.authorRing.add(u)
	p.cacheBytes += u.cost()
	return u, nil
}

// encode appends the stored form: the next number and those of the pending items. What the items are lies under their
// own keys.
func (u *author) encode(dst []byte) []byte {
	return u.held.encode(binary.AppendUvarint(dst, u.next))
}

func (p *Partition) loadAuthor(u *author, v []byte) error {
	r := reader{b: v}
	u.next = r.uvarint()
	u.latest.cut = u.next - 1 // all are in the backing
	if len(r.b) > 0 || r.bad {
		u.held.decode(&r)
		return r.err()
	}
	// Written by a version that kept the numbers in the keys only.
	prefix := pendingPrefix(nil, u.app.num, u.user)
	return p.back.Scan(prefix, func(key, _ []byte) error {
		if len(key) != len(prefix)+8 {
			return errCorrupt
		}
		u.held.add(binary.BigEndian.Uint64(key[len(prefix):]))
		return nil
	})
}

// pendingItems are the items of a summary in the order in which they became pending.
func (p *Partition) pendingItems(u *author) ([]tailItem[pendingRef], error) {
	list := make([]tailItem[pendingRef], 0, u.held.count)
	if first := u.held.first(); first != 0 && first <= u.latest.cut {
		from, end := pendingKey(nil, u.app.num, u.user, first), pendingKey(nil, u.app.num, u.user, u.latest.cut+1)
		err := p.back.Range(from, end, func(key, value []byte) error {
			r := reader{b: value}
			conv := r.uvarint()
			if len(key) != len(from) || r.bad {
				return errCorrupt
			}
			// What was taken out since the last checkpoint is still there.
			if n := binary.BigEndian.Uint64(key[len(key)-8:]); u.held.has(n) {
				list = append(list, tailItem[pendingRef]{n: n, value: pendingRef{conv: conv, id: string(r.b)}})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return append(list, u.latest.items...), nil
}

// takeOut removes an item from a summary.
func (p *Partition) takeOut(u *author, n uint64) {
	before := u.cost()
	p.del(pendingKey(p.key(), u.app.num, u.user, n))
	u.held.remove(n)
	u.latest.remove(n)
	p.cacheBytes += u.cost() - before
	p.touchAuthor(u)
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

// receiptPending puts a message with a new receipt into its sender's summary.
func (p *Partition) receiptPending(m *message) error {
	u, err := p.authorOf(m)
	if err != nil {
		return err
	}
	if u.holds(m.pending.n) { // as nearly always: the one who reads is not the first
		m.pending.last = p.seq
		return nil
	}
	p.makePending(u, &m.pending, m.conv.num, m.id)
	return nil
}

// chatPending puts a single chat that one side has read into the summary of the other.
func (p *Partition) chatPending(c *conversation, reader uint32) error {
	u, err := p.author(c.app, c.members[1-reader].user)
	if err == nil {
		p.makePending(u, &c.pending[reader], c.num, "")
	}
	return err
}

// makePending puts an item at the end of a summary if it is not in it.
func (p *Partition) makePending(u *author, mark *pendingMark, conv uint64, id string) {
	mark.last = p.seq
	if u.holds(mark.n) {
		return
	}
	mark.n = u.next
	u.next++
	before := u.cost()
	u.held.add(mark.n)
	u.latest.add(p, mark.n, pendingRef{conv: conv, id: id})
	p.cacheBytes += u.cost() - before
	p.put(pendingKey(p.key(), u.app.num, u.user, mark.n), append(binary.AppendUvarint(nil, conv), id...))
	p.touchAuthor(u)
	if u.held.count > p.limits.Pending {
		p.takeOut(u, u.held.first())
	}
}

// dropPending takes a message out of its sender's summary.
func (p *Partition) dropPending(m *message) error {
	if m.pending.n == 0 {
		return nil
	}
	u, err := p.authorOf(m)
	if err != nil {
		return err
	}
	if u.held.has(m.pending.n) {
		p.takeOut(u, m.pending.n)
	}
	m.pending = pendingMark{}
	return nil
}

// statisticSeen decides statistic.seen: what nothing made pending after the entry is seen.
func (p *Partition) statisticSeen(a *app, i int) (events.Outcome, error) {
	upto := p.entry.extra(i).Upto
	u, err := p.author(a, p.entry.user(i))
	if err != nil {
		return 0, err
	}
	items, err := p.pendingItems(u)
	if err != nil {
		return 0, err
	}
	outcome := events.OutcomeDuplicate
	for _, x := range items {
		c, m, err := p.pendingItem(x.value)
		if err != nil {
			return 0, err
		}
		var mark *pendingMark
		if m != nil {
			mark = &m.pending
		} else {
			mark = &c.pending[c.peerOf(u.user)]
		}
		if mark.last > upto {
			continue
		}
		*mark = pendingMark{}
		if m != nil {
			p.touchMessage(m)
		} else {
			p.touchConv(c)
		}
		p.takeOut(u, x.n)
		outcome = events.OutcomeApplied
	}
	return outcome, nil
}

// pendingItem returns what an item stands for: a message, or nil and the single chat itself.
func (p *Partition) pendingItem(x pendingRef) (*conversation, *message, error) {
	if x.id != "" {
		m, err := p.messageByRef(x.conv, x.id)
		return nil, m, err
	}
	c, err := p.loadConv(x.conv)
	if err == nil && c.group() {
		err = errCorrupt
	}
	return c, nil, err
}

// peerOf is the other side of a single chat.
func (c *conversation) peerOf(user string) uint32 {
	o, _ := c.ordinal(user)
	return 1 - o
}

// item is the chat as it stands in the summary of one side.
func (c *conversation) item(user string) StatisticItem {
	peer := &c.members[c.peerOf(user)]
	return StatisticItem{Kind: StatisticConversationRead, Peer: peer.user, LastReadAt: peer.lastReadAt}
}

// item is the message as it stands in its sender's summary.
func (m *message) item() StatisticItem {
	c := m.conv
	if c.group() {
		return StatisticItem{
			Kind: StatisticGroupRead, Message: m.id, Group: c.name.group, Count: int(m.readers),
			LastReader: c.members[m.last].user, FirstReadAt: m.firstAt(), LastReadAt: m.lastAt,
		}
	}
	x := StatisticItem{
		Kind: StatisticDelivered, Message: m.id, Peer: c.members[1-m.sender].user,
		DeliveredAt: m.deliveredAt, LastReadAt: m.lastAt,
	}
	if m.readers > 0 {
		x.Kind = StatisticRead
	}
	return x
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
