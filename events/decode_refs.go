package events

import "fmt"

// readRuns decodes kinds, flags, messages and conversations of the events.
func (b *Batch) readRuns() error {
	c := &b.scratch.columns
	n, err := c.events()
	if err != nil {
		return err
	}
	b.Kinds = resize(b.Kinds, n)
	b.Flags = resize(b.Flags, n)
	b.Conv = resize(b.Conv, n)
	b.Msg = resize(b.Msg, n)
	b.User = resize(b.User, n)
	r := refReader{b: b, c: c}
	from := 0
	for i, kind := range c.runKinds {
		to := from + int(c.runLengths[i])
		fill(b.Kinds[from:to], Kind(kind))
		flags := Flags(0)
		if len(c.runFlags) > 0 {
			flags = Flags(c.runFlags[i])
		}
		fill(b.Flags[from:to], flags)
		if err := r.readRun(from, to, Kind(kind)); err != nil {
			return err
		}
		from = to
	}
	return r.finish()
}

// events checks the runs and returns the number of events.
func (c *columns) events() (int, error) {
	if len(c.runKinds) != len(c.runLengths) || len(c.runFlags) > 0 && len(c.runFlags) != len(c.runKinds) {
		return 0, malformed("%d run_kinds, %d run_flags, %d run_lengths", len(c.runKinds), len(c.runFlags), len(c.runLengths))
	}
	n := 0
	for i, length := range c.runLengths {
		if length == 0 || length > MaxBatchEvents || n+int(length) > MaxBatchEvents {
			return 0, malformed("run_lengths: %d after %d events", length, n)
		}
		n += int(length)
		switch kind := c.runKinds[i]; {
		case kind == uint32(KindUnknown):
			return 0, malformed("run_kinds: no kind at %d", i)
		case kind >= uint32(kindEnd):
			return 0, unknown("kind %d", kind)
		}
	}
	for _, flags := range c.runFlags {
		if flags >= uint32(flagsEnd) {
			return 0, unknown("flags %#x", flags)
		}
	}
	return n, nil
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

func fill[T any](s []T, v T) {
	for i := range s {
		s[i] = v
	}
}

// refReader resolves the references to messages and conversations.
type refReader struct {
	b *Batch
	c *columns

	// How much was read of each column.
	messageRefs, conversationRefs, conversations, groups, attributes int

	message uint32 // of the current run
	left    int    // events left in the run
}

func (r *refReader) readRun(from, to int, kind Kind) error {
	f := &layouts[kind]
	switch {
	case f.message:
		return r.readMessages(from, to, kind)
	case f.attributes:
		for i := from; i < to; i++ {
			if r.attributes == len(r.c.attributes) {
				return malformed("attributes: none for event %d", i)
			}
			if err := r.b.readAttributes(uint32(i), kind, r.c.attributes[r.attributes]); err != nil {
				return within(fmt.Sprintf("attributes %d", r.attributes), err)
			}
			r.attributes++
		}
	}
	for i := from; i < to; i++ {
		conv, err := r.conversation(kind)
		if err != nil {
			return err
		}
		r.b.Conv[i], r.b.Msg[i] = conv, None
	}
	return nil
}

// readMessages resolves the references of the events of a kind that has a message.
func (r *refReader) readMessages(from, to int, kind Kind) error {
	b := r.b
	for from < to {
		if r.left == 0 {
			if err := r.nextMessage(kind); err != nil {
				return err
			}
		}
		n := min(r.left, to-from)
		conv := b.Messages[r.message].Conversation
		if typ := b.scratch.convKeys[conv].typ; !layouts[kind].allows(typ) {
			return malformed("event %d: %s in a conversation of type %d", from, kind, typ)
		}
		fill(b.Msg[from:from+n], r.message)
		fill(b.Conv[from:from+n], conv)
		from += n
		r.left -= n
	}
	return nil
}

// nextMessage begins the next run of a message.
func (r *refReader) nextMessage(kind Kind) error {
	b, c := r.b, r.c
	i := r.messageRefs
	if i == len(c.messageRefs) {
		return malformed("message_refs: cut short after %d", i)
	}
	r.left = 1
	if len(c.messageRuns) > 0 {
		if i >= len(c.messageRuns) || c.messageRuns[i] == 0 || c.messageRuns[i] > MaxBatchEvents {
			return malformed("message_runs: bad value or none at %d", i)
		}
		r.left = int(c.messageRuns[i])
	}
	r.messageRefs++
	ref, next := c.messageRefs[i], uint32(len(b.Messages))
	if ref > next || ref == 0 && int(next) == len(c.messages) {
		return malformed("message_refs: %d after %d messages of %d", ref, next, len(c.messages))
	}
	if ref != 0 {
		r.message = next - ref
		return nil
	}
	conv, err := r.conversation(kind)
	if err != nil {
		return err
	}
	b.Messages = append(b.Messages, MessageRef{Conversation: conv, ID: c.messages[next]})
	r.message = next
	return nil
}

// conversation resolves the next reference to a conversation.
func (r *refReader) conversation(kind Kind) (uint32, error) {
	i := r.conversationRefs
	if i == len(r.c.conversationRefs) {
		return 0, malformed("conversation_refs: cut short after %d", i)
	}
	r.conversationRefs++
	ref, next := r.c.conversationRefs[i], uint32(len(r.b.Conversations))
	if ref > next {
		return 0, malformed("conversation_refs: %d after %d conversations", ref, next)
	}
	conv := next - ref
	if ref == 0 {
		if err := r.newConversation(); err != nil {
			return 0, err
		}
	}
	if typ := r.b.scratch.convKeys[conv].typ; !layouts[kind].allows(typ) {
		return 0, malformed("%s in a conversation of type %d", kind, typ)
	}
	return conv, nil
}

// newConversation appends the next conversation; the users of a single chat are set later, with the
// participants.
func (r *refReader) newConversation() error {
	s := &r.b.scratch
	if r.conversations == len(r.c.conversations) {
		return malformed("conversations: cut short after %d", r.conversations)
	}
	v := r.c.conversations[r.conversations]
	r.conversations++
	l := convKey{app: v >> 2, typ: convType(v & 3), a: None, b: None}
	if int(l.app) >= len(s.apps) || l.typ >= convTypeEnd {
		return malformed("conversations: %d with %d apps", v, len(s.apps))
	}
	conv := Conversation{App: s.apps[l.app]}
	if l.typ == convGroup {
		if r.groups == len(r.c.groups) {
			return malformed("groups: cut short after %d", r.groups)
		}
		conv.Group = r.c.groups[r.groups]
		r.groups++
	}
	r.b.Conversations = append(r.b.Conversations, conv)
	s.convKeys = append(s.convKeys, l)
	return nil
}

// finish checks that nothing is left over.
func (r *refReader) finish() error {
	c := r.c
	for _, column := range [...]struct {
		field     int
		used, has int
	}{
		{batchMessageRefs, r.messageRefs, len(c.messageRefs)},
		{batchConversationRefs, r.conversationRefs, len(c.conversationRefs)},
		{batchConversations, r.conversations, len(c.conversations)},
		{batchGroups, r.groups, len(c.groups)},
		{batchMessages, len(r.b.Messages), len(c.messages)},
	} {
		if column.used != column.has {
			return malformed("%s: %d of %d used", batchNames[column.field], column.used, column.has)
		}
	}
	if n := len(c.messageRuns); n > 0 && n != len(c.messageRefs) || r.left != 0 {
		return malformed("message_runs: %d for %d message_refs, %d events too many", n, r.messageRefs, r.left)
	}
	if r.attributes != len(c.attributes) {
		return malformed("attributes: %d of %d used", r.attributes, len(c.attributes))
	}
	return nil
}
