package events

// Event is one thing that happened, of any kind. It is a flat value, so that millions of events can
// be decoded without allocating. Which fields a kind uses is documented with [Kind] and checked by
// [Event.Validate].
//
// Strings of an event that came out of a [Batch] share the memory of the batch and are valid only
// until the batch is filled again; keep one with [strings.Clone].
type Event struct {
	// App is the tenant, "org#app". It comes from the path, subject or token, never from a payload.
	App string
	// Kind says what happened.
	Kind Kind
	// Group names a group conversation. Exactly one of Group and Peer is set for an event of
	// a conversation.
	Group string
	// Peer names the other user of a single chat, seen from User.
	Peer string
	// User is the user who acted: the sender of a message, the reader, the member, or the owner of
	// a new group.
	User string
	// Message is the id of the message that was sent, delivered, read or recalled; in a
	// conversation.read, of the last one that it reads, if it says which.
	Message string
	// Content is the reader's own text that travels with a read receipt ("ackContent" of the
	// requirement document). Empty and absent are the same.
	Content string
	// Receipt says that the sender of a group message asks for read receipts.
	Receipt bool
	// Strict has a receipt, recall or conversation read of an unknown message rejected; otherwise
	// it is parked.
	Strict bool
	// Silent says that a message is to count as unread for nobody.
	Silent bool
	// Label is what a message is counted under in analytics: a campaign, a template, a kind. At
	// most [MaxLabelBytes]; empty = none.
	Label string
	// Role is the new role in a group.role event.
	Role Role
	// Members and Admins are the first members of a new group; the owner need not be among them.
	Members, Admins []string
	// Time is when it happened at the client, in Unix milliseconds; 0 when the client did not
	// say. No rule looks at it, unless the event is Imported or the app has set
	// [ReceiptTimeReported], and then for receipts and conversation reads only: every other
	// decision is made from the broker's time.
	Time int64
	// EventID names the event, so that one that comes again is known: docs/rules.md, "Event ids and
	// repeats". At most [MaxEventIDBytes]; empty = none.
	EventID string
	// Imported says that the event is history from elsewhere, decided by the time that it states:
	// docs/rules.md, "Imported events". It has a Time, and only the door for imports sets it.
	Imported bool
	// Settings and Revision belong to an app.configured event. In a rules.level event Revision
	// is the level, in a log.repartitioned event the number of partitions.
	Settings *Settings
	Revision uint64
	// SendReads and SendDeliveries are what a user.configured event sets.
	SendReads, SendDeliveries Choice
	// Upto is, in a statistic.seen event, the log sequence up to which the author has seen what
	// became of their messages; Device is the device they saw it on, empty if that is not said.
	Upto   uint64
	Device string
}

// Kind is the type of an event.
type Kind uint8

// The kinds, with the fields each uses beside App, Time, EventID and, in those that producers send,
// Imported. Their numbers are part of the
// log's encoding and never change.
const (
	KindUnknown Kind = iota
	// MessageSent: Message, User (the sender), Group or Peer, Receipt (groups only), Silent,
	// Label.
	MessageSent
	// MessageDelivered: Message, User, Peer, Strict. Single chats only: the requirement document
	// knows no delivery receipts in groups.
	MessageDelivered
	// MessageRead: Message, User, Group or Peer, Content, Strict. In the formats of producers it
	// may name many messages, and stands for as many events then.
	MessageRead
	// ConversationRead: User, Group or Peer, Strict. Covers everything sent up to Message or,
	// without one, everything sent before it.
	ConversationRead
	// MessageRecalled: Message, User, Group or Peer, Strict.
	MessageRecalled
	// GroupCreated: Group, User (the owner), Members, Admins.
	GroupCreated
	// GroupJoined: Group, User.
	GroupJoined
	// GroupLeft: Group, User.
	GroupLeft
	// GroupRole: Group, User, Role.
	GroupRole
	// GroupDissolved: Group.
	GroupDissolved
	// AppConfigured: Settings, Revision. Made by receiptd itself, one copy per partition.
	AppConfigured
	// StatisticSeen: User, Upto, Device; one of the last two may be left out. Made by receiptd
	// itself when an author acknowledges their summary, or a device of theirs comes for the
	// first time.
	StatisticSeen
	// UserConfigured: User, SendReads, SendDeliveries, Revision, and Group or Peer for what holds
	// in one conversation. Made by receiptd itself; without a conversation, one copy per partition.
	UserConfigured
	// ConversationMarkedUnread: User, Group or Peer.
	ConversationMarkedUnread
	// RulesLevel: Revision, the level of the rules from here on. Made by receiptd itself, of the
	// app [LevelApp], one copy per partition.
	RulesLevel
	// LogRepartitioned: Revision, how many partitions the log has from here on. Made by receiptd
	// itself, of the app [LevelApp], one copy per partition.
	LogRepartitioned

	kindEnd
)

var kindNames = [kindEnd]string{
	MessageSent:      "message.sent",
	MessageDelivered: "message.delivered",
	MessageRead:      "message.read",
	ConversationRead: "conversation.read",
	MessageRecalled:  "message.recalled",
	GroupCreated:     "group.created",
	GroupJoined:      "group.joined",
	GroupLeft:        "group.left",
	GroupRole:        "group.role",
	GroupDissolved:   "group.dissolved",
	AppConfigured:    "app.configured",
	StatisticSeen:    "statistic.seen",
	UserConfigured:   "user.configured",

	ConversationMarkedUnread: "conversation.marked_unread",
	RulesLevel:               "rules.level",
	LogRepartitioned:         "log.repartitioned",
}

// LevelApp is the app of events that are of the whole log. No settings are ever given to it.
const LevelApp = "receiptd#log"

var kindsByName = func() map[string]Kind {
	m := make(map[string]Kind, kindEnd)
	for k := MessageSent; k < kindEnd; k++ {
		m[kindNames[k]] = k
	}
	return m
}()

// kindByName returns the kind with the public name, for example "message.read".
func kindByName(name string) (Kind, bool) {
	k, ok := kindsByName[name]
	return k, ok
}

// String is the public name of the kind, which the JSON format has in the field "type".
func (k Kind) String() string {
	if k == KindUnknown || k >= kindEnd {
		return "unknown"
	}
	return kindNames[k]
}

// Valid reports whether k is a kind of this version.
func (k Kind) Valid() bool { return k > KindUnknown && k < kindEnd }

// Internal reports whether only receiptd itself makes events of this kind. They are refused from
// anybody else.
func (k Kind) Internal() bool {
	return k == AppConfigured || k == StatisticSeen || k == UserConfigured || k == RulesLevel || k == LogRepartitioned
}

// IsOwn reports whether events of this kind are what a user may say of their own: what they have
// received and read, and what they want to read again.
func (k Kind) IsOwn() bool {
	return k == MessageRead || k == MessageDelivered || k == ConversationRead || k == ConversationMarkedUnread
}

// namesConversation reports whether events of this kind always have a conversation (Group or Peer),
// which decides their partition.
func (k Kind) namesConversation() bool { return k.Valid() && !k.Internal() }

// Role is a member's role in a group.
type Role uint8

// The roles. Their numbers are part of the log's encoding and of the checkpoint's.
const (
	RoleNone Role = iota
	RoleMember
	RoleAdmin
	RoleOwner
)

// given reports whether it is a role that an event can give.
func (r Role) given() bool { return r == RoleMember || r == RoleAdmin || r == RoleOwner }

// String is the role's public name.
func (r Role) String() string {
	switch r {
	case RoleMember:
		return "member"
	case RoleAdmin:
		return "admin"
	case RoleOwner:
		return "owner"
	}
	return "none"
}
