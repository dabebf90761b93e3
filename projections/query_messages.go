package projections

import "slices"

// listStep is how many messages a page of those of a conversation looks at before it lets the fold
// go on.
const listStep = 16

// maxListLook bounds the messages that one page of a list of messages is found in.
const maxListLook = 2000

// backward calls look, with the partition locked, with the messages of a conversation that are
// among those that may be unread, with numbers below before (0: from the last one) and above the
// floor that find returns with the conversation, newest first, until it returns false. It returns
// the value of before with which to go on, 0 at the end; it looks at maxListLook numbers at most.
// find is called with the partition locked, once for each step.
func (p *Partition) backward(
	before uint64, find func() (c *conversation, floor uint64, err error), look func(c *conversation, x *unreadRef) (bool, error),
) (next uint64, err error) {
	type ref struct {
		seq uint64
		unreadRef
	}
	var some []ref
	step := func() (done bool, err error) {
		c, floor, err := find()
		if err != nil {
			return true, err
		}
		if before == 0 || before > c.sent {
			before = c.sent + 1
		}
		if before <= floor+1 {
			before = 0
			return true, nil
		}
		from := max(floor, before-min(before, listStep+1)) // not looked at itself
		some = some[:0]
		err = p.eachUnread(c, from, func(seq uint64, x *unreadRef) bool {
			if seq < before {
				some = append(some, ref{seq, *x})
			}
			return seq < before
		})
		for _, x := range slices.Backward(some) {
			if more, failed := look(c, &x.unreadRef); err == nil && (failed != nil || !more) {
				before = x.seq + 1
				return true, failed
			}
		}
		before = from + 1
		return false, err
	}
	for looked, done := 0, false; err == nil && !done; looked += listStep {
		if looked >= maxListLook {
			return before, nil
		}
		done, err = query(p, step)
	}
	return before, err
}

// GroupMessages returns messages of a group that are not recalled, newest first, with numbers below
// before; 0 begins with the last one. The error is ErrNotFound for a group that is unknown or
// dissolved.
func (p *Partition) GroupMessages(appKey, group string, before uint64, limit int) (MessagePage, error) {
	page := MessagePage{Messages: []Message{}}
	find := func() (*conversation, uint64, error) {
		c, err := p.group(appKey, group)
		if err == nil && c == nil {
			err = ErrNotFound
		}
		return c, 0, err
	}
	var err error
	page.Next, err = p.backward(before, find, func(c *conversation, x *unreadRef) (bool, error) {
		if x.id == "" { // folded by a version that did not keep it
			return true, nil
		}
		if len(page.Messages) == limit {
			return false, nil
		}
		m, err := p.listed(c, x)
		if err == nil {
			page.Messages = append(page.Messages, m.view())
		}
		return true, err
	})
	return page, err
}

// listed returns the message of a reference with an id.
func (p *Partition) listed(c *conversation, x *unreadRef) (*message, error) {
	m, err := p.message(c, x.id)
	if err == nil && m == nil {
		err = errCorrupt
	}
	return m, err
}
