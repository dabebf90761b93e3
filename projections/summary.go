package projections

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// summaryRef is an item of a summary: a message or, without an id, a single chat that the author's
// peer has read.
type summaryRef struct {
	conv uint64
	id   string
}

// summaryPlace is an item's place in a summary, kept with the message or chat that the item is.
type summaryPlace struct {
	// n is the item's number, 0 = it was never in the summary. It stays once the item has left:
	// see author.lists.
	n uint64
	// last is the sequence of the last entry that made it an item, or would have.
	last uint64
}

func (k *summaryPlace) encode(dst []byte) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, k.n), k.last)
}

func (k *summaryPlace) decode(r *reader) { k.n, k.last = r.uvarint(), r.uvarint() }

// summarizeReceipt puts a message with a new receipt into its sender's summary.
func (p *Partition) summarizeReceipt(m *message) error {
	u, err := p.authorOf(m)
	if err != nil {
		return err
	}
	return p.summarize(u, &m.place, m.conv.num, m.id)
}

// summarizeChat puts a single chat that one side has read into the summary of the other.
func (p *Partition) summarizeChat(c *conversation, reader uint32) error {
	u, err := p.author(c.app, c.members[1-reader].user)
	if err != nil {
		return err
	}
	return p.summarize(u, &c.places[reader], c.num, "")
}

// summarize puts an item at the end of a summary, unless it is in it and keeps its place.
func (p *Partition) summarize(u *author, place *summaryPlace, conv uint64, id string) error {
	keeps := u.keeps(place, p.rules.limits.SummaryItems)
	place.last = p.position.seq
	if keeps { // as nearly always
		return nil
	}
	return p.putLast(u, place, conv, id)
}

// pushOut removes the first item of a summary, which is full.
func (p *Partition) pushOut(u *author) error {
	first := u.numbers.first
	var x summaryRef
	if u.devices != nil { // who has not acknowledged it has to be known
		items, err := p.summaryItems(u, first, first+1)
		if err != nil {
			return err
		}
		x = items[0].value
	}
	if err := p.missed(u, x); err != nil {
		return err
	}
	p.removeItem(u, first)
	return nil
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
	if u.lists(m.place.n) {
		p.removeItem(u, m.place.n)
	}
	m.place = summaryPlace{}
	return nil
}

// resolve returns the conversation of an item, and its message, which is nil if the item is the
// chat itself.
func (p *Partition) resolve(x summaryRef) (*conversation, *message, error) {
	if x.id != "" {
		m, err := p.messageIn(x.conv, x.id)
		if err != nil {
			return nil, nil, err
		}
		return m.conv, m, nil
	}
	c, err := p.convByNum(x.conv)
	if err == nil && c.group() {
		err = errCorrupt
	}
	return c, nil, err
}

// placeOf is the place of an item, which [Partition.resolve] returned, in an author's summary.
func (p *Partition) placeOf(u *author, c *conversation, m *message) *summaryPlace {
	if m != nil {
		return &m.place
	}
	return &c.places[c.peerOf(u.user)]
}

// Summary returns what a device of an author is told, and the sequence up to which that is
// complete: what statistic.seen names to acknowledge it. Without a device it is what no device of
// the author has acknowledged.
//
// What is listed belongs to one moment, between two entries. The items themselves are made one
// after the other while the fold goes on, and may tell of what came later: values are the latest
// anyway, and what came later is not acknowledged with the sequence.
func (p *Partition) Summary(appKey, user, device string) (s Summary, upto uint64, err error) {
	return p.SummaryAfter(appKey, user, device, 0)
}

// SummaryAfter is [Partition.Summary] without the items that no entry after one has changed.
func (p *Partition) SummaryAfter(appKey, user, device string, after uint64) (s Summary, upto uint64, err error) {
	a, seen := p.app(appKey), uint64(0)
	list, err := query(p, func() ([]tailItem[summaryRef], error) {
		upto = p.position.seq
		if a == nil {
			return nil, nil
		}
		u, err := p.author(a, user)
		if err != nil {
			return nil, err
		}
		var next, dropped uint64
		seen, next, dropped = u.told(device)
		s.Dropped = int(dropped)
		return p.summaryItems(u, next, u.next)
	})
	if err != nil {
		return Summary{}, 0, err
	}
	news := make([]datedItem, 0, len(list))
	err = steps(p, loadStep, list, func(x tailItem[summaryRef]) error {
		item, is, err := p.summaryItem(a, user, x.value)
		if is && item.last > max(seen, after) {
			news = append(news, item)
		}
		return err
	})
	if err != nil {
		return Summary{}, 0, err
	}
	slices.SortStableFunc(news, func(a, b datedItem) int { return cmp.Compare(a.last, b.last) })
	for _, x := range news {
		s.Items = append(s.Items, x.item)
	}
	return s, upto, nil
}

// datedItem is an item and its last entry.
type datedItem struct {
	last uint64
	item SummaryItem
}

// summaryItem is an item that was listed in an author's summary; false if it has left it since.
func (p *Partition) summaryItem(a *app, user string, x summaryRef) (item datedItem, is bool, err error) {
	u, err := p.author(a, user)
	if err != nil {
		return item, false, err
	}
	c, m, err := p.resolve(x)
	switch {
	case err != nil:
		return item, false, err
	case m == nil:
		place := p.placeOf(u, c, nil)
		item, is = datedItem{place.last, c.item(user)}, u.numbers.has(place.n)
	case u.numbers.has(m.place.n): // which a recall may have changed
		item, is = datedItem{m.place.last, m.item()}, true
	}
	if !is {
		return item, false, nil
	}
	is, err = p.showItem(c, m, user, &item.item)
	return item, is, err
}

// showItem reports whether an author is shown an item, and takes a read out of it that they are not
// shown, since they hide their own.
func (p *Partition) showItem(c *conversation, m *message, user string, item *SummaryItem) (bool, error) {
	o, _ := c.ordinal(user)
	nobody, err := p.seesNobody(c, o)
	if !nobody || err != nil {
		return true, err
	}
	if m == nil || c.group() || m.deliveredAt == 0 {
		return false, nil
	}
	item.Kind, item.LastReadAt = SummaryDelivered, 0
	return true, nil
}

// item is the chat as it stands in the summary of one side.
func (c *conversation) item(user string) SummaryItem {
	peer := &c.members[c.peerOf(user)]
	_, at := peer.shown()
	return SummaryItem{Kind: SummaryConversationRead, Peer: peer.user, LastReadAt: at}
}

// item is the message as it stands in its sender's summary.
func (m *message) item() SummaryItem {
	c := m.conv
	if c.group() {
		x := SummaryItem{
			Kind: SummaryGroupRead, Message: m.id, Group: c.name.group, Count: int(m.readers),
			FirstReadAt: m.firstAt(), LastReadAt: m.lastAt,
		}
		if !m.counted() {
			x.LastReader = c.members[m.last].user
		}
		return x
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
