package projections

import "github.com/receiptd/receiptd/events"

// scratch is memory for the log entry being applied: the entry's batch, what its tables were
// resolved to, and the outcomes of its events. Only what exists is remembered, for a group may come
// into being in the middle of an entry.
type scratch struct {
	batch    *events.Batch
	apps     []*app
	convs    []*conversation
	messages []*message
	hashes   []uint64 // of the users' names; 0 = not asked for
	// imported says that the event being decided is.
	imported bool
	// nextAttributes is the next of those of the batch, which are in the order of their events.
	nextAttributes int
	outcomes       []events.Outcome

	keyBuf, value []byte
	block         blockEncoder
}

// reset begins an entry.
func (s *scratch) reset(b *events.Batch) {
	s.batch, s.nextAttributes = b, 0
	s.apps = resized(s.apps, len(b.Conversations))
	s.convs = resized(s.convs, len(b.Conversations))
	s.messages = resized(s.messages, len(b.Messages))
	s.hashes = resized(s.hashes, len(b.Users))
	s.outcomes = s.outcomes[:0]
}

// resized returns n zero values, in the memory of s if that is large enough.
func resized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/2)
	}
	s = s[:n]
	clear(s)
	return s
}

// key returns an empty buffer to build a key in. It is valid until the next key.
func (s *scratch) key() []byte {
	if s.keyBuf == nil {
		s.keyBuf = make([]byte, 0, 512)
	}
	return s.keyBuf[:0]
}

// conversation names the conversation of the event.
func (s *scratch) conversation(i int) *events.Conversation {
	return &s.batch.Conversations[s.batch.Conv[i]]
}

// user is whom the event names: the sender, the reader, a member.
func (s *scratch) user(i int) string {
	if u := s.batch.User[i]; u != events.None {
		return s.batch.Users[u]
	}
	return ""
}

func (s *scratch) messageID(i int) string { return s.batch.Messages[s.batch.Msg[i]].ID }

// about is the message that the event names; empty if it names none.
func (s *scratch) about(i int) string {
	switch {
	case s.batch.Msg[i] != events.None:
		return s.messageID(i)
	case len(s.batch.Uptos) > 0:
		return s.batch.Uptos[i]
	}
	return ""
}

func (s *scratch) content(i int) string {
	if len(s.batch.Content) == 0 || s.batch.Content[i] == events.None {
		return ""
	}
	return s.batch.Contents[s.batch.Content[i]]
}

var noAttributes events.Attributes

// attributes are the fields of the rarer kinds. They are asked for in the order of the events.
func (s *scratch) attributes(i int) *events.Attributes {
	for ; s.nextAttributes < len(s.batch.Attributes); s.nextAttributes++ {
		x := &s.batch.Attributes[s.nextAttributes]
		if x.Event == uint32(i) {
			return x
		}
		if x.Event > uint32(i) {
			break
		}
	}
	return &noAttributes
}

// appOf resolves the app of a conversation of the entry; nil if it was never configured.
func (p *Partition) appOf(ref uint32) *app {
	s := &p.scratch
	if a := s.apps[ref]; a != nil {
		return a
	}
	a := p.apps.byKey[s.batch.Conversations[ref].App]
	s.apps[ref] = a
	return a
}

// convOf resolves a conversation of the entry; nil if there is none.
func (p *Partition) convOf(a *app, ref uint32) (*conversation, error) {
	s := &p.scratch
	if c := s.convs[ref]; c != nil {
		return c, nil
	}
	c, err := p.conv(a, nameOf(&s.batch.Conversations[ref]))
	s.convs[ref] = c
	return c, err
}

// messageOf resolves a message of the entry; nil if there is none.
func (p *Partition) messageOf(c *conversation, ref uint32) (*message, error) {
	s := &p.scratch
	if m := s.messages[ref]; m != nil {
		return m, nil
	}
	m, err := p.message(c, s.batch.Messages[ref].ID)
	s.messages[ref] = m
	return m, err
}

// ordinalOf finds whom the event names among the members of a conversation, current or former.
func (p *Partition) ordinalOf(c *conversation, i int) (uint32, bool) {
	s := &p.scratch
	u := s.batch.User[i]
	if u == events.None {
		return c.ordinal("")
	}
	user := s.batch.Users[u]
	if !c.group() {
		return c.side(user)
	}
	h := s.hashes[u]
	if h == 0 {
		h = nameHash(user)
		s.hashes[u] = h
	}
	return c.roster.find(c.members, user, h)
}
