package events

// Builder collects the events of one partition for one log entry. The zero Builder is empty and
// ready for use; a Builder is not safe for concurrent use.
type Builder struct {
	batch   Batch
	index   index
	encoder encoder
}

// Add appends an event, which must be valid ([Event.Validate]) and have its App. The builder keeps
// copies: e and its strings may be reused when Add returns.
//
// It is for the caller to encode the entry before [Builder.Len] exceeds [MaxBatchEvents] or
// [Builder.Size] exceeds [MaxBatchBytes]. Add panics at one event more than MaxBatchEvents, since
// nobody could read the entry, and on an unknown kind.
func (b *Builder) Add(e *Event) {
	if b.Len() == MaxBatchEvents {
		panic("events: more than MaxBatchEvents in a Builder")
	}
	b.batch.add(&b.index, e)
}

// Len is the number of events added since the last Reset.
func (b *Builder) Len() int { return b.batch.Len() }

// Size is an upper bound, in bytes, of what Encode appends. For usual events it is two or three
// times as much.
func (b *Builder) Size() int {
	size := entryOverhead + b.index.size + eventSize*b.Len()
	if len(b.batch.Times) > 0 {
		size += b.Len()
	}
	return size
}

// Encode appends the log entry of the events to dst and returns the extended slice. The builder is
// unchanged; what Encode appends depends only on the events that were added.
func (b *Builder) Encode(dst []byte) []byte { return b.encoder.entry(dst, &b.batch) }

// Reset empties the builder and keeps its memory.
func (b *Builder) Reset() {
	b.batch.reset()
	b.index.reset()
}

// What the parts of an entry take at most, in bytes, see [Builder.Size].
const (
	entryOverhead = 256   // field headers of the entry and of every column and table
	eventSize     = 3 + 8 // a run of one event; references to message, conversation, user
	timeSize      = 10    // beyond the byte for "not given"
	contentSize   = 6     // reference and gap
	textSize      = 3     // of a column of texts, for each beyond its own bytes: gap
	textsSize     = 64    // field headers of a column of texts
	idSize        = 6     // beyond its bytes: run, shape or length, bits of the reference
	tableSize     = 12    // a conversation: its type, references to its users
)

// index finds what is in the tables of a batch that is being filled.
type index struct {
	apps, users, conversations, messages, contents dict

	// The last app and conversation, if started.
	app, conv uint32
	started   bool

	// recent has messages by the end of their ids: the receipts of a message come close together,
	// mixed with those of other messages, and a message that is found here brings its conversation
	// along. An element may be wrong or of an earlier batch.
	recent [256]uint32

	size int // bytes beyond those that every event takes
}

func (x *index) reset() {
	for _, d := range []*dict{&x.apps, &x.users, &x.conversations, &x.messages, &x.contents} {
		d.reset()
	}
	x.started = false
	x.size = 0
}

// Scopes of conversations. That of a single chat is made of the numbers of its users, each of which
// is less than 1<<32.
const (
	groupScope = 1 << 63
	appScope   = 1 << 62
)

// SetEvents fills the batch with events, which must be valid and have their App, as if they had
// been encoded and decoded. It keeps copies.
func (b *Batch) SetEvents(events []Event) {
	b.reset()
	if b.scratch.index == nil {
		b.scratch.index = new(index)
	}
	b.scratch.index.reset()
	for i := range events {
		b.add(b.scratch.index, &events[i])
	}
}

// add appends an event to a batch that was filled with the same index from the start.
func (b *Batch) add(x *index, e *Event) {
	if !e.Kind.Valid() {
		panic("events: event of unknown kind in a batch")
	}
	f := &layouts[e.Kind]
	conv, msg, user := uint32(0), uint32(None), uint32(None)
	if f.message {
		conv, msg = x.message(b, f, e)
	} else {
		conv = x.conversation(b, f, e)
	}
	if l := &b.scratch.convKeys[conv]; l.typ == convSingle {
		if user = l.a; b.Conversations[conv].A != e.User {
			user = l.b
		}
	} else if f.user {
		user = x.user(b, e.User)
	}
	var flags Flags
	if e.Receipt {
		flags |= FlagReceipt
	}
	if e.Strict {
		flags |= FlagStrict
	}
	if e.Silent {
		flags |= FlagSilent
	}
	if e.Imported {
		flags |= FlagImported
	}
	b.Kinds = append(b.Kinds, e.Kind)
	b.Flags = append(b.Flags, flags)
	b.Conv = append(b.Conv, conv)
	b.Msg = append(b.Msg, msg)
	b.User = append(b.User, user)
	if f.attributes {
		b.setAttributes(uint32(b.Len()-1), e)
		x.size += attributesSize(e)
	}
	x.optional(b, f, e)
}

// optional adds what only some events have. A column begins with the first event that needs it.
func (x *index) optional(b *Batch, f *layout, e *Event) {
	if e.Time != 0 || len(b.Times) > 0 {
		b.Times = pad(b.Times, b.Len()-1, 0)
		b.Times = append(b.Times, e.Time)
		if e.Time != 0 {
			x.size += timeSize
		}
	}
	content := uint32(None)
	if f.content && e.Content != "" {
		content = x.content(b, e.Content)
		x.size += contentSize
	}
	if content != None || len(b.Content) > 0 {
		b.Content = pad(b.Content, b.Len()-1, None)
		b.Content = append(b.Content, content)
	}
	if e.EventID != "" || len(b.EventIDs) > 0 {
		b.EventIDs = x.text(b, b.EventIDs, e.EventID)
	}
	upto := ""
	if f.upto {
		upto = e.Message
	}
	if upto != "" || len(b.Uptos) > 0 {
		b.Uptos = x.text(b, b.Uptos, upto)
	}
	label := ""
	if f.label {
		label = e.Label
	}
	if label != "" || len(b.Labels) > 0 {
		b.Labels = x.text(b, b.Labels, label)
	}
}

// text appends the text of the last event, which may be empty, to a column that only some batches
// have.
func (x *index) text(b *Batch, column []string, text string) []string {
	if len(column) == 0 {
		x.size += textsSize
	}
	column = pad(column, b.Len()-1, "")
	if text == "" {
		return append(column, "")
	}
	x.size += textSize + idSize + len(text)
	return append(column, b.scratch.arena.copyString(text))
}

// pad extends s to n values.
func pad[T any](s []T, n int, v T) []T {
	for len(s) < n {
		s = append(s, v)
	}
	return s
}

// of reports whether c is the conversation of e, which has the same app.
func (c *Conversation) of(e *Event) bool {
	if e.Group != "" {
		return c.Group == e.Group
	}
	return e.Peer != "" && (c.A == e.User && c.B == e.Peer || c.A == e.Peer && c.B == e.User)
}

// conversation returns the index of the conversation of e, and adds it if it is new.
func (x *index) conversation(b *Batch, f *layout, e *Event) uint32 {
	if x.started && b.Conversations[x.conv].App == e.App {
		if b.Conversations[x.conv].of(e) {
			return x.conv
		}
	} else {
		x.app = x.appOf(b, e.App)
	}
	l := convKey{app: x.app, a: None, b: None}
	c := Conversation{}
	var scope uint64
	var id string
	switch {
	case f.allows(convApp) && e.Group == "" && e.Peer == "":
		l.typ, scope = convApp, appScope|uint64(l.app)
	case e.Group != "":
		l.typ, scope, id = convGroup, groupScope|uint64(l.app), e.Group
	default:
		lower, upper := e.User, e.Peer
		if upper < lower {
			lower, upper = upper, lower
		}
		l.typ, l.a, l.b = convSingle, x.user(b, lower), x.user(b, upper)
		scope, id = uint64(l.a)<<32|uint64(l.b), b.scratch.apps[l.app]
		c.A, c.B = b.Users[l.a], b.Users[l.b]
	}
	conv, hash, ok := x.conversations.find(scope, id)
	if !ok {
		c.App = b.scratch.apps[l.app]
		if l.typ == convGroup {
			c.Group = b.scratch.arena.copyString(id)
			id = c.Group
		}
		conv = x.conversations.insert(scope, id, hash)
		b.Conversations = append(b.Conversations, c)
		b.scratch.convKeys = append(b.scratch.convKeys, l)
		x.size += tableSize + idSize + len(c.Group)
	}
	x.conv, x.started = conv, true
	return conv
}

func (x *index) appOf(b *Batch, app string) uint32 {
	n, hash, ok := x.apps.find(0, app)
	if !ok {
		app = b.scratch.arena.copyString(app)
		n = x.apps.insert(0, app, hash)
		b.scratch.apps = append(b.scratch.apps, app)
		x.size += idSize + len(app)
	}
	return n
}

func (x *index) user(b *Batch, id string) uint32 {
	n, hash, ok := x.users.find(0, id)
	if !ok {
		id = b.scratch.arena.copyString(id)
		n = x.users.insert(0, id, hash)
		b.Users = append(b.Users, id)
		x.size += idSize + len(id)
	}
	return n
}

func (x *index) content(b *Batch, content string) uint32 {
	n, hash, ok := x.contents.find(0, content)
	if !ok {
		content = b.scratch.arena.copyString(content)
		n = x.contents.insert(0, content, hash)
		b.Contents = append(b.Contents, content)
		x.size += idSize + len(content)
	}
	return n
}

// message returns the indices of the conversation and the message of e, and adds them if they are
// new.
func (x *index) message(b *Batch, f *layout, e *Event) (conv, msg uint32) {
	recent := &x.recent[recentSlot(e.Message)]
	if int(*recent) < len(b.Messages) {
		m := &b.Messages[*recent]
		if c := &b.Conversations[m.Conversation]; m.ID == e.Message && c.of(e) && c.App == e.App {
			return m.Conversation, *recent
		}
	}
	conv = x.conversation(b, f, e)
	scope := uint64(conv) + 1
	msg, hash, ok := x.messages.find(scope, e.Message)
	if !ok {
		id := b.scratch.arena.copyString(e.Message)
		msg = x.messages.insert(scope, id, hash)
		b.Messages = append(b.Messages, MessageRef{Conversation: conv, ID: id})
		x.size += idSize + len(id)
	}
	*recent = msg
	return conv, msg
}

// recentSlot mixes the last eight bytes of an id.
func recentSlot(id string) uint8 {
	var w uint64
	if n := len(id); n >= 8 {
		t := id[n-8:]
		w = uint64(t[0]) | uint64(t[1])<<8 | uint64(t[2])<<16 | uint64(t[3])<<24 |
			uint64(t[4])<<32 | uint64(t[5])<<40 | uint64(t[6])<<48 | uint64(t[7])<<56
	}
	return uint8(w * 0x9e3779b97f4a7c15 >> 56)
}
