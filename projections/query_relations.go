package projections

// Relation selects the messages in a list of a user's: read, not read, or sent by them.
type Relation uint8

// The relations, each with what holds for the user and every message in the list.
const (
	RelationRead    Relation = iota // has read it one by one, and does not hide that
	RelationNotRead                 // could read it, and has not, or hides it
	RelationSent                    // has sent it
)

// UserMessage is a message in a list of a user's, with their own receipt if they have read it.
type UserMessage struct {
	Message
	// ReadAt is when the user has read it, in Unix milliseconds, and ReadContent their own text
	// that came with the receipt; of [RelationRead] only.
	ReadAt      int64
	ReadContent string
}

// UserMessagePage is a page of messages of a conversation of a user, newest first.
type UserMessagePage struct {
	Messages []UserMessage
	// Looked is how many messages were looked at.
	Looked int
	// Next is the value of before for the next page, or 0 if this is the last one.
	Next uint64
}

// Reads returns the messages of a conversation that a user has read one by one, not hidden, newest
// first: [Partition.UserMessages] with RelationRead.
func (p *Partition) Reads(appKey, group, peer, user string, before uint64, limit int) (ReadPage, error) {
	found, err := p.UserMessages(appKey, group, peer, user, RelatedQuery{RelationRead, before, limit})
	page := ReadPage{Reads: []Read{}, Looked: found.Looked, Next: found.Next}
	for i := range found.Messages {
		m := &found.Messages[i]
		page.Reads = append(page.Reads, Read{ID: m.ID, From: m.From, SentAt: m.SentAt, ReadAt: m.ReadAt, Content: m.ReadContent})
	}
	return page, err
}

// RelatedQuery is which messages of a user's conversation are asked for: those to which the user
// stands in a relation, with numbers below Before, where 0 begins with the last one, at most Limit.
type RelatedQuery struct {
	To     Relation
	Before uint64
	Limit  int
}

// UserMessages returns the messages of a conversation to which a user stands in a relation and that
// are not recalled, newest first. A page may hold fewer than the limit, and none, though another
// one follows. In a single chat those that a conversation read has covered are not among them, nor
// is any of which receipts are only counted among those that the user has or has not read. The
// error is ErrNotFound if the user is not in such a conversation.
func (p *Partition) UserMessages(appKey, group, peer, user string, q RelatedQuery) (UserMessagePage, error) {
	page := UserMessagePage{Messages: []UserMessage{}}
	var list []related
	var o uint32
	find := func() (c *conversation, floor uint64, err error) {
		if c, o, err = p.convOfUser(appKey, group, peer, user); err != nil || c.group() {
			return c, 0, err
		}
		if q.To == RelationSent {
			return c, c.members[1-o].watermark, nil
		}
		return c, c.members[o].watermark, nil
	}
	var err error
	page.Next, err = p.backward(q.Before, find, func(c *conversation, x *unreadRef) (bool, error) {
		if page.Looked++; x.id == "" || (x.sender == o) != (q.To == RelationSent) {
			return true, nil
		}
		if len(list) == q.Limit {
			return false, nil
		}
		m, err := p.listed(c, x)
		if err == nil && m.relates(o, q.To) {
			list = append(list, related{UserMessage{Message: m.view()}, m.log})
		}
		return true, err
	})
	// As in Readers, the fold goes on while read sets are gone through.
	for i := 0; i < len(list) && err == nil; i++ {
		var is bool
		if is, err = list[i].look(o, q.To); is {
			page.Messages = append(page.Messages, list[i].UserMessage)
		}
	}
	return page, err
}

// related is a message that a user may stand in a relation to, and its read set.
type related struct {
	UserMessage
	log []byte
}

// relates reports whether a member may stand in a relation to a message, hidden reads aside.
func (m *message) relates(o uint32, to Relation) bool {
	switch to {
	case RelationSent:
		return true
	case RelationRead:
		return !m.counted() && m.hasRead(o)
	}
	return m.state() == msgTracked && (!m.hasRead(o) || m.hidden) && (!m.conv.group() || m.conv.members[o].wasThere(m.seq))
}

// look finds out when a member has read, and reports whether they stand in the relation. Whoever
// has read, and is in no read set that is shown, hides it.
func (x *related) look(o uint32, to Relation) (is bool, err error) {
	if to == RelationSent {
		return true, nil
	}
	shown := false
	err = eachReader(x.log, x.SentAt, func(reader uint32, at int64, content []byte) bool {
		if reader != o {
			return true
		}
		x.ReadAt, x.ReadContent, shown = at, string(content), true
		return false
	})
	return shown == (to == RelationRead), err
}
