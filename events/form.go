package events

// convType is the type of a conversation in the log's encoding.
type convType uint8

const (
	convApp    convType = iota // no conversation, only an app
	convGroup                  // a group
	convSingle                 // a single chat
	convTypeEnd
)

// form says what the log keeps of an event of a kind, beside the columns every event has. It is part
// of the log's encoding and never changes for a kind in use.
type form struct {
	message, user, content, extra bool
	// conversations has bit 1<<t set for each convType t the kind is allowed.
	conversations uint8
}

const (
	inApp    = 1 << convApp
	inGroup  = 1 << convGroup
	inSingle = 1 << convSingle
)

// forms is as long as a byte has values, so that indexing it with a Kind needs no check.
var forms = [256]form{
	MessageSent:      {message: true, user: true, conversations: inGroup | inSingle},
	MessageDelivered: {message: true, user: true, conversations: inSingle},
	MessageRead:      {message: true, user: true, content: true, conversations: inGroup | inSingle},
	ConversationRead: {user: true, conversations: inGroup | inSingle},
	MessageRecalled:  {message: true, user: true, conversations: inGroup | inSingle},
	GroupCreated:     {user: true, extra: true, conversations: inGroup},
	GroupJoined:      {user: true, conversations: inGroup},
	GroupLeft:        {user: true, conversations: inGroup},
	GroupRole:        {user: true, extra: true, conversations: inGroup},
	GroupDissolved:   {conversations: inGroup},
	AppConfigured:    {extra: true, conversations: inApp},
	StatisticSeen:    {user: true, extra: true, conversations: inApp},
}

func (f *form) allows(t convType) bool { return f.conversations>>t&1 != 0 }
