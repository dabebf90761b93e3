package projections

import (
	"slices"

	"github.com/receiptd/receiptd/events"
)

// unreadCost is the memory of one unreadRef, its id included.
const unreadCost = 56

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
	u.seen, u.base, u.lastReadAt = c.sent, c.sent, p.clock
	p.touchMember(c, o)
	if c.group() {
		return events.OutcomeApplied, nil
	}
	if err := p.chatPending(c, o); err != nil {
		return 0, err
	}
	if p.online != nil {
		p.tellConversation(c, user, o)
	}
	return events.OutcomeApplied, p.readSingle(a, c, o)
}

// readSingle marks what the peer sent, and the reader had not read, as read now.
func (p *Partition) readSingle(a *app, c *conversation, reader uint32) error {
	keep := c.unread[:0]
	for _, ref := range c.unread {
		if ref.sender == reader {
			keep = append(keep, ref)
			continue
		}
		p.del(unreadKey(p.key(), c.num, ref.seq))
		m, err := p.message(c, ref.id)
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
		if p.keepFacts {
			p.fact(events.MessageRead, m, c.members[reader].user, "")
		}
	}
	p.cacheBytes -= unreadCost * (len(c.unread) - len(keep))
	clear(c.unread[len(keep):])
	c.unread = keep
	return nil
}

func (p *Partition) addUnread(c *conversation, ref unreadRef) {
	c.unread = append(c.unread, ref)
	p.cacheBytes += unreadCost
	p.put(unreadKey(p.key(), c.num, ref.seq), append([]byte{byte(ref.sender)}, ref.id...))
}

func (p *Partition) dropUnread(c *conversation, seq uint64) {
	k, found := slices.BinarySearchFunc(c.unread, seq, func(r unreadRef, seq uint64) int {
		return int(int64(r.seq) - int64(seq))
	})
	if found {
		c.unread = slices.Delete(c.unread, k, k+1)
		p.cacheBytes -= unreadCost
		p.del(unreadKey(p.key(), c.num, seq))
	}
}
