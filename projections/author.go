package projections

import (
	"encoding/binary"
	"strings"
)

// author is a user's summary: the items that they have not acknowledged.
type author struct {
	// What each receipt looks at is in one cache line.
	node
	// next is the number that the next item gets.
	next uint64
	// devices are nil until one has named itself.
	devices *devices
	// numbers has the numbers of the items, items the last of the items themselves, with all of the
	// block that is not full.
	numbers intervals
	items   tail[summaryRef]
	// rowed is up to which number items have rows, of an earlier version; those after it are in
	// blocks.
	rowed   uint64
	app     *app
	user    string
	dropped dropped // since the author last acknowledged
}

// dropped is how many items were pushed out that somebody has not acknowledged, and the entry that
// pushed out the last of them. There is no entry where there are none, so that what is left out of
// what is stored says nothing.
type dropped struct{ items, at uint64 }

// add counts one more.
func (x *dropped) add(sequence uint64) { x.items, x.at = x.items+1, sequence }

// acknowledge notes that what was dropped up to a sequence was told. It reports whether anything
// was.
func (x *dropped) acknowledge(upto uint64) bool {
	if x.items == 0 || x.at > upto {
		return false
	}
	*x = dropped{}
	return true
}

func (x *dropped) encode(dst []byte) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, x.items), x.at)
}

func (x *dropped) decode(r *reader) { x.items, x.at = r.uvarint(), r.uvarint() }

// summaryItemCost is the memory of one summaryRef, its id included, intervalCost that of an
// interval of numbers.
const (
	summaryItemCost = 72
	intervalCost    = 16
)

func (u *author) cacheNode() *node { return &u.node }
func (u *author) cost() int {
	return 248 + 2*len(u.user) + len(u.numbers.list)*intervalCost + len(u.items.items)*summaryItemCost + u.devices.cost()
}
func (u *author) forget(*cache) { delete(u.app.authors, u.user) }

// lists reports whether an item that was given number n is still in the summary. Its place says so
// for good, whatever becomes of it: who leaves the summary need not be written for that.
func (u *author) lists(n uint64) bool {
	return n != 0 && u.numbers.count > 0 && n >= u.numbers.first && u.numbers.has(n)
}

// keeps reports whether an item with news keeps its place: it is still in the summary, fewer than
// half of what the summary may hold were put at the end after it, and no device has acknowledged
// it. Otherwise it goes to the end, so that news are not pushed out soon, and a device finds them
// behind what it has acknowledged.
func (u *author) keeps(place *summaryPlace, limit int) bool {
	return u.lists(place.n) && u.next-place.n <= uint64(limit/2) && (u.devices == nil || place.last > u.devices.seen)
}

// author returns a user's summary, which is empty for a user that the state does not know.
func (p *Partition) author(a *app, user string) (*author, error) {
	if u := a.authors[user]; u != nil {
		u.used = true
		return u, nil
	}
	u := &author{app: a, user: strings.Clone(user), next: 1}
	v, err := p.back.Get(authorKey(p.scratch.key(), a.num, user))
	if err != nil {
		return nil, err
	}
	if v != nil {
		if err := p.loadAuthor(u, v); err != nil {
			return nil, err
		}
	}
	p.cache.addAuthor(u)
	return u, nil
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

// authorBlocks begins the stored layout. Earlier versions, whose items have a row each, begin with
// the next number, which is not 0.
const authorBlocks = 0

// encode appends the stored layout: the next number and those of the items, up to where items have
// rows, the items of the block that is not full, what was dropped, if anything was, and the
// devices, if any has named itself. What the other items are is stored under keys of their own.
func (u *author) encode(dst []byte, e *blockEncoder) []byte {
	dst = u.numbers.encode(binary.AppendUvarint(append(dst, authorBlocks), u.next))
	rowed := u.rowed
	if u.numbers.count == 0 || u.numbers.first > rowed {
		rowed = 0 // none of them is left
	}
	dst = binary.AppendUvarint(dst, rowed)
	start := blockStart(u.next)
	e.items(start, u.items.from(start))
	dst = append(binary.AppendUvarint(dst, uint64(len(e.v))), e.v...)
	if u.dropped.items > 0 || u.devices != nil {
		dst = u.dropped.encode(dst)
	}
	if u.devices != nil {
		dst = u.devices.encode(dst)
	}
	return dst
}

func (p *Partition) loadAuthor(u *author, v []byte) error {
	r := reader{b: v}
	u.next = r.uvarint()
	if u.next != authorBlocks {
		return p.loadRowed(u, &r)
	}
	u.next = r.uvarint()
	u.numbers.decode(&r)
	u.rowed = r.uvarint()
	start := blockStart(max(u.next, 1))
	u.items.cut = max(start-1, min(u.rowed, u.next-1))
	block := r.bytes()
	if r.bad || u.next == 0 {
		return errCorrupt
	}
	err := eachItem(start, block, func(n uint64, x summaryRef) error {
		if n <= u.items.cut || n >= u.next {
			return errCorrupt
		}
		u.items.items = append(u.items.items, tailItem[summaryRef]{n: n, value: x})
		return nil
	})
	if err != nil {
		return err
	}
	return u.decodeRest(&r)
}

// loadRowed loads what is left of the layout of an earlier version.
func (p *Partition) loadRowed(u *author, r *reader) error {
	u.rowed = u.next - 1
	u.items.cut = u.rowed // all are in the backing
	if len(r.b) > 0 || r.bad {
		u.numbers.decode(r)
		return u.decodeRest(r)
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

// decodeRest decodes what only some have.
func (u *author) decodeRest(r *reader) error {
	if len(r.b) > 0 {
		u.dropped.decode(r)
	}
	if len(r.b) > 0 {
		u.devices = decodeDevices(r)
	}
	return r.err()
}
