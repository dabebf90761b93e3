package events

// convType is the type of a conversation in the encoding of the log.
type convType uint8

const (
	convApp    convType = iota // no conversation, only an app
	convGroup                  // a group
	convSingle                 // a single chat
	convTypeEnd
)

// layout says what the encoding of the log has for an event of a kind, besides the columns that
// every event has. It never changes for a kind in use.
type layout struct {
	message, user, content, attributes, upto, label bool
	// conversations has bit 1<<t set for each convType t in which the kind is allowed.
	conversations uint8
}

const (
	inApp    = 1 << convApp
	inGroup  = 1 << convGroup
	inSingle = 1 << convSingle
)

// layouts has as many elements as a byte has values, so that indexing it with a Kind needs no
// check.
var layouts = [256]layout{
	MessageSent:      {message: true, user: true, label: true, conversations: inGroup | inSingle},
	MessageDelivered: {message: true, user: true, conversations: inSingle},
	MessageRead:      {message: true, user: true, content: true, conversations: inGroup | inSingle},
	ConversationRead: {user: true, upto: true, conversations: inGroup | inSingle},
	MessageRecalled:  {message: true, user: true, conversations: inGroup | inSingle},
	GroupCreated:     {user: true, attributes: true, conversations: inGroup},
	GroupJoined:      {user: true, conversations: inGroup},
	GroupLeft:        {user: true, conversations: inGroup},
	GroupRole:        {user: true, attributes: true, conversations: inGroup},
	GroupDissolved:   {conversations: inGroup},
	AppConfigured:    {attributes: true, conversations: inApp},
	StatisticSeen:    {user: true, attributes: true, conversations: inApp},
	UserConfigured:   {user: true, attributes: true, conversations: inApp | inGroup | inSingle},

	ConversationMarkedUnread: {user: true, conversations: inGroup | inSingle},
	RulesLevel:               {attributes: true, conversations: inApp},
	LogRepartitioned:         {attributes: true, conversations: inApp},
}

func (f *layout) allows(t convType) bool { return f.conversations>>t&1 != 0 }
