package projections

import (
	"encoding/binary"
	"strings"

	"github.com/receiptd/receiptd/events"
)

// What a message is to the rules.
const (
	msgPlain    uint8 = iota // a group message that did not ask for receipts
	msgTracked               // collects receipts
	msgOversize              // asked, but the group was above the limit
	msgCounted               // the same, and receipts are counted
	msgRecalled uint8 = 1 << 7
	msgSilent   uint8 = 1 << 6
	// msgArrived: in a single chat, it was delivered, and that is hidden.
	msgArrived uint8 = 1 << 5
	// msgLabelled is in the stored kind only: a label's number follows.
	msgLabelled uint8 = 1 << 4

	msgFlags = msgRecalled | msgSilent | msgArrived
)

// header is the part of a message that has a fixed size. A checkpoint copies it.
type header struct {
	kind     uint8  // msgPlain, msgTracked, msgOversize or msgCounted, with msgFlags
	hidden   bool   // some reads are hidden; not set if it is counted
	late     bool   // some reads are of a time before that of the one before them
	label    uint16 // its number among those of the app; 0 = none
	sender   uint32
	eligible uint32
	seq      uint64
	sentAt   int64
	// deliveredAt is when it was first delivered, as far as that is kept here: in a single chat by
	// a receipt of its own, and of a counted message by the first read. 0 = not.
	deliveredAt int64
	// place is the message's place in its sender's summary.
	place summaryPlace
	// lastAt is the time of the latest read and last its reader, who is not kept of a counted
	// message.
	lastAt  int64
	last    uint32
	readers uint32
}

func (h *header) recalled() bool { return h.kind&msgRecalled != 0 }
func (h *header) silent() bool   { return h.kind&msgSilent != 0 }
func (h *header) state() uint8   { return h.kind &^ msgFlags }

// message is one message with its read set.
//
// The read set is the log of its readers as it is stored: for each, in the order of reading, the
// ordinal and the time since the latest reader before (the first: since sending), as uvarints, and
// the content if there is one. It only grows, so a checkpoint can write a prefix of it while the
// fold goes on appending. A member whose read is hidden has the ordinal plus hiddenReader in it and
// nothing else, and one who reports a time before that of the latest reader has the ordinal plus
// earlierReader, and the time by which it is earlier. The bits tell at once whether a member is in
// it, hidden or not. For counted messages see counted.go.
type message struct {
	node
	header
	conv *conversation
	id   string
	log  []byte
	bits [2]uint64
	more []uint64 // ordinals from 128
	// author is the sender's summary, and cohort what the message is counted in, once they were
	// needed.
	author *author
	cohort *cohort
}

const messageCost = 288

// hiddenReader is more than any ordinal, earlierReader more than any with hiddenReader added.
const (
	hiddenReader  = 1 << 20
	earlierReader = 1 << 21
)

func (m *message) cacheNode() *node { return &m.node }

func (m *message) cost() int { return messageCost + 2*len(m.id) + cap(m.log) + 8*cap(m.more) }

func (m *message) forget(*cache) {
	delete(m.conv.messages, m.id)
	m.conv.refs--
	if m.author != nil {
		m.author.refs--
	}
	if m.cohort != nil {
		m.cohort.refs--
	}
}

// newMessage makes a message that the state does not know yet.
func (p *Partition) newMessage(c *conversation, id string, h header) *message {
	m := &message{header: h, conv: c, id: id}
	p.cache.addMessage(m)
	p.changes.touchMessage(m)
	p.changes.indexes.added.messages.add(messageRef{c.app.num, id}, c.num)
	return m
}

// message returns the message with the id in the conversation, or nil if there is none.
func (p *Partition) message(c *conversation, id string) (*message, error) {
	if m := c.messages[id]; m != nil {
		m.used = true
		return m, nil
	}
	v, err := p.back.Get(messageKey(p.scratch.key(), c.app.num, id, c.num))
	if v == nil || err != nil {
		return nil, err
	}
	if p.questions.hurried && len(v) > p.rules.limits.ColdBytes {
		return nil, &coldError{coldKey{c.num, strings.Clone(id)}}
	}
	m := &message{conv: c, id: strings.Clone(id)}
	if err := m.decode(v); err != nil {
		return nil, err
	}
	p.cache.addMessage(m)
	return m, nil
}

// messageIn returns a message that has to be there.
func (p *Partition) messageIn(conv uint64, id string) (*message, error) {
	c, err := p.convByNum(conv)
	if err != nil {
		return nil, err
	}
	m, err := p.message(c, id)
	if err == nil && m == nil {
		err = errCorrupt
	}
	return m, err
}

// addReader puts a member who has not read the message into its read set, at a time that readAt
// gave.
func (p *Partition) addReader(m *message, ordinal uint32, at int64, content string) error {
	before := m.cost()
	if m.counted() {
		m.countReader(ordinal, at)
		p.cache.bytes += m.cost() - before
		return p.countUntimed(m)
	}
	m.addReader(ordinal, at, content)
	p.cache.bytes += m.cost() - before
	return p.countRead(m, at)
}

// readAt is when a message is read that is read now, or was so long ago: docs/rules.md, "The time
// of reading".
func (p *Partition) readAt(m *message, ago int64) int64 {
	if ago > 0 {
		return max(p.position.clock.now-ago, m.sentAt)
	}
	return m.notBefore(p.position.clock.now)
}

// notBefore is a time, or that of what the message has seen so far if that is later.
func (m *message) notBefore(at int64) int64 {
	if m.readers > 0 {
		return max(at, m.lastAt)
	}
	return max(at, m.sentAt)
}

// hideReader notes that a member has read the message, and that this is hidden.
func (p *Partition) hideReader(m *message, ordinal uint32) {
	before := m.cost()
	if m.counted() {
		m.hideCounted(ordinal)
	} else {
		m.addHidden(ordinal)
	}
	p.cache.bytes += m.cost() - before
	p.changes.touchMessage(m)
}

// addHidden appends a hidden read to the read set. The caller has seen that the member is not in
// it.
func (m *message) addHidden(ordinal uint32) {
	m.log = binary.AppendUvarint(m.log, (uint64(ordinal)+hiddenReader)<<1)
	m.setRead(ordinal)
	m.hidden = true
}

// hasRead reports whether the member is in the read set, hidden or not.
func (m *message) hasRead(ordinal uint32) bool {
	if ordinal < 128 {
		return m.bits[ordinal>>6]>>(ordinal&63)&1 != 0
	}
	i := int(ordinal-128) >> 6
	return i < len(m.more) && m.more[i]>>(ordinal&63)&1 != 0
}

func (m *message) setRead(ordinal uint32) {
	if ordinal < 128 {
		m.bits[ordinal>>6] |= 1 << (ordinal & 63)
		return
	}
	i := int(ordinal-128) >> 6
	if i >= len(m.more) {
		m.more = append(m.more, make([]uint64, i+1-len(m.more))...)
	}
	m.more[i] |= 1 << (ordinal & 63)
}

// addReader appends to the read set. The caller has seen that the member is not in it, and at is
// not before sending.
func (m *message) addReader(ordinal uint32, at int64, content string) {
	since := at - m.lastAt
	if m.readers == 0 {
		since = at - m.sentAt
	}
	tag := uint64(ordinal) << 1
	if since < 0 {
		tag += earlierReader << 1
		since = -since
		m.late = true
	} else {
		m.last, m.lastAt = ordinal, at
	}
	if content != "" {
		tag |= 1
	}
	m.log = binary.AppendUvarint(m.log, tag)
	m.log = binary.AppendUvarint(m.log, uint64(since))
	if content != "" {
		m.log = appendString(m.log, content)
	}
	m.setRead(ordinal)
	m.readers++
}

// eachReader calls f in the order of the log until it returns false. It leaves out those who are
// hidden.
func (m *message) eachReader(f func(ordinal uint32, at int64, content []byte) bool) error {
	return eachReader(m.log, m.sentAt, f)
}

// eachReader goes through the log of a read set, but for those who are hidden. Since that only
// grows, this needs no lock.
func eachReader(log []byte, sentAt int64, f func(ordinal uint32, at int64, content []byte) bool) error {
	return eachRead(log, sentAt, f, func(uint32) {})
}

// hiddenIn are the members whose read is hidden, of those in the log of a read set.
func hiddenIn(log []byte, sentAt int64) (map[uint32]bool, error) {
	all := map[uint32]bool{}
	err := eachRead(log, sentAt, func(uint32, int64, []byte) bool { return true }, func(o uint32) { all[o] = true })
	return all, err
}

// eachRead goes through the log of a read set, and calls hidden for those who are.
func eachRead(log []byte, sentAt int64, f func(ordinal uint32, at int64, content []byte) bool, hidden func(ordinal uint32)) error {
	r := reader{b: log}
	latest := sentAt
	for len(r.b) > 0 {
		tag := r.uvarint()
		o, earlier := tag>>1, false
		if o >= hiddenReader && !r.bad {
			if earlier = o >= earlierReader; earlier {
				o -= earlierReader
			} else {
				if o -= hiddenReader; o >= events.MaxEverMembers {
					return errCorrupt
				}
				hidden(uint32(o))
				continue
			}
		}
		at := int64(r.uvarint())
		if earlier {
			at = latest - at
		} else {
			latest += at
			at = latest
		}
		var content []byte
		if tag&1 != 0 {
			content = r.bytes()
		}
		if r.bad || o >= events.MaxEverMembers {
			return errCorrupt
		}
		if !f(uint32(o), at, content) {
			return nil
		}
	}
	return nil
}

// firstAt is the time of the first read; 0 if nobody has read.
func (m *message) firstAt() int64 {
	switch {
	case m.readers == 0:
		return 0
	case m.counted():
		return m.deliveredAt
	case m.late:
		first := m.lastAt
		_ = m.eachReader(func(_ uint32, at int64, _ []byte) bool { // it was read before
			first = min(first, at)
			return true
		})
		return first
	}
	r := reader{b: m.log}
	for r.uvarint()>>1 >= hiddenReader { // there is one who is not hidden
	}
	return m.sentAt + int64(r.uvarint())
}

// delivered is the delivery count: reading implies it.
func (m *message) delivered() int {
	if m.deliveredAt != 0 && m.readers == 0 {
		return 1
	}
	return int(m.readers)
}

func (m *message) counts() Counts {
	return Counts{Eligible: int(m.eligible), Delivered: m.delivered(), Read: int(m.readers)}
}

func (m *message) view() Message {
	c := m.conv
	v := Message{
		ID: m.id, From: c.members[m.sender].user, Group: c.name.group, SentAt: m.sentAt,
		ReceiptRequested: c.group() && m.state() != msgPlain,
		CountsOnly:       m.counted(),
		Tracked:          m.state() == msgTracked,
		Label:            c.app.labels.name(m.label),
		Recalled:         m.recalled(),
		Counts:           m.counts(),
		FirstReadAt:      m.firstAt(),
		LastReadAt:       m.lastAt,
	}
	if !c.group() {
		v.DeliveredAt = m.deliveredAt
		v.To = c.members[1-m.sender].user
	}
	return v
}
