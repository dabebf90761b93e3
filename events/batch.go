package events

import (
	"cmp"
	"slices"
)

// None in a column of a [Batch] means that the event has no such field.
const None = ^uint32(0)

// Conversation is a group or a single chat of one app. For the kinds that have no conversation,
// only App is set.
type Conversation struct {
	App string
	// Group is the group id; empty for a single chat.
	Group string
	// A and B are the two users of a single chat, A < B; empty for a group.
	A, B string
}

// SingleChat is the conversation of two users, given in any order.
func SingleChat(app, a, b string) Conversation {
	return Conversation{App: app, A: min(a, b), B: max(a, b)}
}

// Partition returns the partition that the conversation's events are in, in a log of so many.
func (c *Conversation) Partition(partitions int) int {
	return Partition(&Event{App: c.App, Group: c.Group, User: c.A, Peer: c.B}, partitions)
}

// MessageRef is a message of a conversation of the same batch.
type MessageRef struct {
	// Conversation is an index into [Batch.Conversations].
	Conversation uint32
	ID           string
}

// Batch holds the events of one log entry. They are laid out in columns, so that a fold resolves
// each conversation, message and user once per entry rather than once per event: the columns hold
// indices into the tables, and a reader keeps what it has looked up in a slice parallel to the
// table.
//
// All slices and strings belong to the batch and are overwritten by the next decode.
type Batch struct {
	// Tables. Users are ids without their app; not all of them acted, since both users of each
	// single chat are among them. No conversation, message, user or content is in its table twice,
	// unless another program wrote the entry.
	Conversations []Conversation
	Messages      []MessageRef
	Users         []string
	Contents      []string

	// Columns, one value per event, all of the same length.
	Kinds []Kind
	Flags []Flags
	Conv  []uint32 // index into Conversations, never None
	Msg   []uint32 // index into Messages, or None
	User  []uint32 // index into Users, or None
	// Times (client times, Unix ms, 0 = not given) and Content (index into Contents, or None) are
	// empty when no event of the batch has one.
	Times   []int64
	Content []uint32
	// EventIDs is empty when no event of the batch has one; "" = none.
	EventIDs []string
	// Uptos are the messages up to which conversations were read. It is empty when no event of the
	// batch has one; "" = none.
	Uptos []string
	// Labels are what sent messages are counted by. It is empty when no event of the batch has one;
	// "" = none.
	Labels []string

	// Attributes has an element for each event of a kind that has any, in the order of the events.
	Attributes []Attributes

	scratch scratch
}

// Flags are the boolean fields of an event.
type Flags uint8

// The flags.
const (
	FlagReceipt Flags = 1 << iota
	FlagStrict
	FlagSilent
	FlagImported

	flagsEnd
)

// Attributes are the fields that only rare kinds have: group.created, group.role, app.configured,
// statistic.seen and user.configured. Each decode allocates its settings anew, so that these,
// unlike the rest of a batch, may be kept.
type Attributes struct {
	// Event is the index of the event in the columns.
	Event    uint32
	Role     Role
	Members  []string
	Admins   []string
	Settings *Settings
	Revision uint64
	Upto     uint64
	Device   string

	SendReads, SendDeliveries Choice
}

// Len is the number of events.
func (b *Batch) Len() int { return len(b.Kinds) }

// Event sets e to the i-th event. Its strings and slices belong to the batch.
func (b *Batch) Event(i int, e *Event) {
	c := &b.Conversations[b.Conv[i]]
	flags := b.Flags[i]
	*e = Event{
		App:     c.App,
		Kind:    b.Kinds[i],
		Group:   c.Group,
		Receipt: flags&FlagReceipt != 0,
		Strict:  flags&FlagStrict != 0,
		Silent:  flags&FlagSilent != 0,

		Imported: flags&FlagImported != 0,
	}
	if user := b.User[i]; user != None {
		e.User = b.Users[user]
	}
	if c.A != "" {
		e.Peer = c.A
		if e.User == c.A {
			e.Peer = c.B
		}
	}
	if message := b.Msg[i]; message != None {
		e.Message = b.Messages[message].ID
	}
	if len(b.Times) > 0 {
		e.Time = b.Times[i]
	}
	if len(b.Content) > 0 && b.Content[i] != None {
		e.Content = b.Contents[b.Content[i]]
	}
	if len(b.Uptos) > 0 && b.Uptos[i] != "" {
		e.Message = b.Uptos[i]
	}
	if len(b.Labels) > 0 {
		e.Label = b.Labels[i]
	}
	if len(b.EventIDs) > 0 {
		e.EventID = b.EventIDs[i]
	}
	if x := b.AttributesOf(i); x != nil {
		e.Role, e.Members, e.Admins = x.Role, x.Members, x.Admins
		e.Settings, e.Revision, e.Upto = x.Settings, x.Revision, x.Upto
		e.SendReads, e.SendDeliveries, e.Device = x.SendReads, x.SendDeliveries, x.Device
	}
}

// AttributesOf returns the attributes of the i-th event, or nil if its kind has none.
func (b *Batch) AttributesOf(i int) *Attributes {
	if !layouts[b.Kinds[i]].attributes {
		return nil
	}
	n, ok := slices.BinarySearchFunc(b.Attributes, uint32(i), func(x Attributes, i uint32) int {
		return cmp.Compare(x.Event, i)
	})
	if !ok {
		return nil
	}
	return &b.Attributes[n]
}

func (b *Batch) reset() {
	b.Conversations = b.Conversations[:0]
	b.Messages = b.Messages[:0]
	b.Users = b.Users[:0]
	b.Contents = b.Contents[:0]
	b.Kinds = b.Kinds[:0]
	b.Flags = b.Flags[:0]
	b.Conv = b.Conv[:0]
	b.Msg = b.Msg[:0]
	b.User = b.User[:0]
	b.Times = b.Times[:0]
	b.Content = b.Content[:0]
	b.EventIDs = b.EventIDs[:0]
	b.Uptos = b.Uptos[:0]
	b.Labels = b.Labels[:0]
	clear(b.Attributes) // releases the settings
	b.Attributes = b.Attributes[:0]
	b.scratch.reset()
}

// scratch is what a [Batch] has besides its public part: the memory of its strings, the relations
// between its tables, and what is needed while it is filled.
type scratch struct {
	arena   arena
	strings []string // of the attributes; see Batch.allocStrings

	apps     []string
	convKeys []convKey // parallel to Batch.Conversations

	raw     []byte // the decompressed payload
	columns columns

	index *index // made by SetEvents
}

func (s *scratch) reset() {
	s.arena.reset()
	s.strings = s.strings[:0]
	s.apps = s.apps[:0]
	s.convKeys = s.convKeys[:0]
	clear(s.columns.attributes) // releases the entry
	s.columns.attributes = s.columns.attributes[:0]
}

// convKey identifies a conversation by its type and the indices of what it is made of.
type convKey struct {
	app  uint32 // index into scratch.apps
	typ  convType
	a, b uint32 // indices into Batch.Users of the users of a single chat, in this order
}
