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
	numbers numbers
	items   tail[summaryRef]
}

// summaryRef is an item: a message or, without an id, a single chat that the author's peer has read.
type summaryRef struct {
	conv uint64
	id   string
}

// summaryPlace is an item's place in a summary, kept where the item is.
type summaryPlace struct {
	// n is its number there, 0 = not in it. It may be stale: see author.has.
	n uint64
	// last is the log entry of the last event that made it pending.
	last uint64
}

func (k *summaryPlace) encode(dst []byte) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, k.n), k.last)
}

func (k *summaryPlace) decode(r *reader) { k.n, k.last = r.uvarint(), r.uvarint() }

// summaryItemCost is the memory of one summaryRef, its id included, stretchCost that of a stretch of numbers.
const (
	summaryItemCost = 72
	stretchCost     = 16
)

func (u *author) cacheNode() *node { return &u.node }
func (u *author) cost() int {
	return 240 + 2*len(u.user) + len(u.numbers.stretches)*stretchCost + len(u.items.items)*summaryItemCost
}
func (u *author) forget(*Partition) {
	delete(u.app.authors, u.user)
}

// holds reports whether an item that was given number n is still in the list. Whoever takes one out
// of the middle clears its mark; only those pushed out at the front keep a stale one.
func (u *author) has(n uint64) bool { return n != 0 && u.numbers.count > 0 && n >= u.numbers.first() }

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
	return u.numbers.encode(binary.AppendUvarint(dst, u.next))
}

func (p *Partition) loadAuthor(u *author, v []byte) error {
	r := reader{b: v}
	u.next = r.uvarint()
	u.items.cut = u.next - 1 // all are in the backing
	if len(r.b) > 0 || r.bad {
		u.numbers.decode(&r)
		return r.err()
	}
	// Written by a version that kept the numbers in the keys only.
	prefix := summaryPrefix(nil, u.app.num, u.user)
	return p.back.Scan(prefix, func(key, _ []byte) error {
		if len(key) != len(prefix)+8 {
			return errCorrupt
		}
		u.numbers.add(binary.BigEndian.Uint64(key[len(prefix):]))
		return nil
	})
}

// summaryItems are the items of a summary in the order in which they became pending.
func (p *Partition) summaryItems(u *author) ([]tailItem[summaryRef], error) {
	list := make([]tailItem[summaryRef], 0, u.numbers.count)
	if first := u.numbers.first(); first != 0 && first <= u.items.cut {
		from, end := summaryKey(nil, u.app.num, u.user, first), summaryKey(nil, u.app.num, u.user, u.items.cut+1)
		err := p.back.Range(from, end, func(key, value []byte) error {
			r := reader{b: value}
			conv := r.uvarint()
			if len(key) != len(from) || r.bad {
				return errCorrupt
			}
			// What was taken out since the last checkpoint is still there.
			if n := binary.BigEndian.Uint64(key[len(key)-8:]); u.numbers.has(n) {
				list = append(list, tailItem[summaryRef]{n: n, value: summaryRef{conv: conv, id: string(r.b)}})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return append(list, u.items.items...), nil
}

// removeItem removes an item from a summary.
func (p *Partition) removeItem(u *author, n uint64) {
	before := u.cost()
	p.del(summaryKey(p.key(), u.app.num, u.user, n))
	u.numbers.remove(n)
	u.items.remove(n)
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

// summarizeReceipt puts a message with a new receipt into its sender's summary.
func (p *Partition) summarizeReceipt(m *message) error {
	u, err := p.authorOf(m)
	if err != nil {
		return err
	}
	if u.has(m.place.n) { // as nearly always: the one who reads is not the first
		m.place.last = p.seq
		return nil
	}
	p.summarize(u, &m.place, m.conv.num, m.id)
	return nil
}

// summarizeChat puts a single chat that one side has read into the summary of the other.
func (p *Partition) summarizeChat(c *conversation, reader uint32) error {
	u, err := p.author(c.app, c.members[1-reader].user)
	if err == nil {
		p.summarize(u, &c.places[reader], c.num, "")
	}
	return err
}

// summarize puts an item at the end of a summary if it is not in it.
func (p *Partition) summarize(u *author, mark *summaryPlace, conv uint64, id string) {
	mark.last = p.seq
	if u.has(mark.n) {
		return
	}
	mark.n = u.next
	u.next++
	before := u.cost()
	u.numbers.add(mark.n)
	u.items.add(p, mark.n, summaryRef{conv: conv, id: id})
	p.cacheBytes += u.cost() - before
	p.put(summaryKey(p.key(), u.app.num, u.user, mark.n), append(binary.AppendUvarint(nil, conv), id...))
	p.touchAuthor(u)
	if u.numbers.count > p.limits.SummaryItems {
		p.removeItem(u, u.numbers.first())
	}
}

// unsummarize takes a message out of its sender's summary.
func (p *Partition) unsummarize(m *message) error {
	if m.place.n == 0 {
		return nil
	}
	u, err := p.authorOf(m)
	if err != nil {
		return err
	}
	if u.numbers.has(m.place.n) {
		p.removeItem(u, m.place.n)
	}
	m.place = summaryPlace{}
	return nil
}

// statisticSeen decides statistic.seen: what nothing made pending after the entry is seen.
func (p *Partition) statisticSeen(a *app, i int) (events.Outcome, error) {
	upto := p.entry.extra(i).Upto
	u, err := p.author(a, p.entry.user(i))
	if err != nil {
		return 0, err
	}
	items, err := p.summaryItems(u)
	if err != nil {
		return 0, err
	}
	outcome := events.OutcomeDuplicate
	for _, x := range items {
		c, m, err := p.summarized(x.value)
		if err != nil {
			return 0, err
		}
		var mark *summaryPlace
		if m != nil {
			mark = &m.place
		} else {
			mark = &c.places[c.peerOf(u.user)]
		}
		if mark.last > upto {
			continue
		}
		*mark = summaryPlace{}
		if m != nil {
			p.touchMessage(m)
		} else {
			p.touchConv(c)
		}
		p.removeItem(u, x.n)
		outcome = events.OutcomeApplied
	}
	return outcome, nil
}

// summarized returns what an item stands for: a message, or nil and the single chat itself.
func (p *Partition) summarized(x summaryRef) (*conversation, *message, error) {
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
func (c *conversation) item(user string) SummaryItem {
	peer := &c.members[c.peerOf(user)]
	return SummaryItem{Kind: SummaryConversationRead, Peer: peer.user, LastReadAt: peer.lastReadAt}
}

// item is the message as it stands in its sender's summary.
func (m *message) item() SummaryItem {
	c := m.conv
	if c.group() {
		return SummaryItem{
			Kind: SummaryGroupRead, Message: m.id, Group: c.name.group, Count: int(m.readers),
			LastReader: c.members[m.last].user, FirstReadAt: m.firstAt(), LastReadAt: m.lastAt,
		}
	}
	x := SummaryItem{
		Kind: SummaryDelivered, Message: m.id, Peer: c.members[1-m.sender].user,
		DeliveredAt: m.deliveredAt, LastReadAt: m.lastAt,
	}
	if m.readers > 0 {
		x.Kind = SummaryRead
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
