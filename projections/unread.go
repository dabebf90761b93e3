package projections

import (
	"encoding/binary"

	"github.com/receiptd/receiptd/events"
)

// unreadCost is the memory of one unreadRef, its id included.
const unreadCost = 64

// conversationRead decides conversation.read: it covers exactly what was sent before it.
func (p *Partition) conversationRead(a *app, i int) (events.Outcome, error) {
	e := &p.entry
	ref := e.b.Conv[i]
	c, err := p.convOf(a, ref)
	if err != nil {
		return 0, err
	}
	if e.b.Conversations[ref].Group != "" {
		if c == nil || c.dissolved {
			return events.RejectedNoGroup, nil
		}
	} else if c == nil {
		return events.OutcomeDuplicate, nil
	}
	user := e.user(i)
	o, known := c.ordinal(user)
	if !known || !c.members[o].active() {
		return events.RejectedNotMember, nil
	}
	u := &c.members[o]
	if u.seen == c.sent {
		return events.OutcomeDuplicate, nil
	}
	covered := u.seen
	u.seen, u.base, u.lastReadAt = c.sent, c.sent, p.clock
	p.touchMember(c, o)
	if c.group() {
		return events.OutcomeApplied, nil
	}
	if err := p.summarizeChat(c, o); err != nil {
		return 0, err
	}
	if p.online != nil {
		p.tellConversation(c, user, o)
	}
	return events.OutcomeApplied, p.readSingle(a, c, o, covered)
}

// readSingle marks what the peer sent, and the reader had not read, as read now. What his last conversation read covered needs no look.
func (p *Partition) readSingle(a *app, c *conversation, reader uint32, covered uint64) error {
	unread, err := p.unreadAfter(c, covered)
	if err != nil {
		return err
	}
	for _, ref := range unread {
		if ref.value.sender == reader {
			continue
		}
		p.dropUnread(c, ref.n)
		m, err := p.message(c, ref.value.id)
		if err != nil {
			return err
		}
		if m == nil {
			return errCorrupt
		}
		if m.recalled() || m.hasRead(reader) || a.singleValidity > 0 && p.clock-m.sentAt > a.singleValidity {
			continue
		}
		if err := p.addReader(m, reader, ""); err != nil {
			return err
		}
		p.touchMessage(m)
		if p.trackFacts {
			p.fact(events.MessageRead, m, c.members[reader].user, "")
		}
	}
	return nil
}

// unreadAfter are a single chat's messages after a seq that no conversation read has covered, by seq. One that was recalled since
// the last checkpoint may be among them.
func (p *Partition) unreadAfter(c *conversation, seq uint64) ([]tailItem[unreadRef], error) {
	var list []tailItem[unreadRef]
	if seq < c.unread.cut {
		from, end := unreadKey(nil, c.num, seq+1), unreadKey(nil, c.num, c.unread.cut+1)
		err := p.back.Range(from, end, func(key, value []byte) error {
			if len(key) != len(from) || len(value) < 1 {
				return errCorrupt
			}
			list = append(list, tailItem[unreadRef]{
				n: binary.BigEndian.Uint64(key[len(key)-8:]), value: unreadRef{sender: uint32(value[0]), id: string(value[1:])},
			})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return append(list, c.unread.items...), nil
}

func (p *Partition) addUnread(c *conversation, seq uint64, ref unreadRef) {
	before := len(c.unread.items)
	c.unread.add(p, seq, ref)
	p.cacheBytes += unreadCost * (len(c.unread.items) - before)
	p.put(unreadKey(p.key(), c.num, seq), append([]byte{byte(ref.sender)}, ref.id...))
}

// dropUnread takes a message of a single chat out of those that are not covered, if it is one of them.
func (p *Partition) dropUnread(c *conversation, seq uint64) {
	before := len(c.unread.items)
	c.unread.remove(seq)
	p.cacheBytes += unreadCost * (len(c.unread.items) - before)
	p.del(unreadKey(p.key(), c.num, seq))
}
