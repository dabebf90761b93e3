package events

import (
	"math/bits"
)

// field is a field of the public JSON format. The same [Event] field has another name in some
// kinds: Message is "id" in message.sent, User is "from" there and "owner" in group.created.
type field uint8

const (
	fieldType field = iota
	fieldID
	fieldMessage
	fieldFrom
	fieldUser
	fieldOwner
	fieldGroup
	fieldPeer
	fieldReceipt
	fieldStrict
	fieldContent
	fieldRole
	fieldMembers
	fieldAdmins
	fieldTime
	fieldEventID
	fieldUptoMessage
	fieldSilent
	fieldLabel
	// fieldMessages is in place of fieldMessage, and is gone when an event is validated: see
	// [Decoder].
	fieldMessages
	// The fields from here on belong to the internal kinds; producers may not use them.
	fieldSettings
	fieldRevision
	fieldUpto
	fieldSendReads
	fieldSendDeliveries
	fieldDevice
	// fieldImported belongs to no kind, and is nothing that a producer says either.
	fieldImported

	fieldEnd
)

var fieldNames = [fieldEnd]string{
	"type", "id", "message", "from", "user", "owner", "group", "peer", "receipt", "strict",
	"content", "role", "members", "admins", "time", "event_id", "upto", "silent", "label", "messages", "settings", "revision", "upto",
	"send_read_receipts", "send_delivery_receipts", "device", "imported",
}

// fieldSet has one bit for each [field].
type fieldSet uint32

func fieldsOf(fields ...field) (s fieldSet) {
	for _, f := range fields {
		s |= 1 << f
	}
	return s
}

func (s fieldSet) has(f field) bool { return s>>f&1 != 0 }

// first is the first field of a set, which must not be empty.
func (s fieldSet) first() field { return field(bits.TrailingZeros32(uint32(s))) }

// kindRule says which fields the events of a kind have.
type kindRule struct {
	// message and user are the names of Event.Message and Event.User in this kind.
	message, user field
	required      fieldSet
	allowed       fieldSet
	// either holds for the kinds that have exactly one of group and peer.
	either bool
}

var (
	eitherFields = fieldsOf(fieldGroup, fieldPeer)
	anyFields    = fieldsOf(fieldType, fieldTime, fieldEventID, fieldImported)
	// optionalFields are those that some kind may leave out: a null in one is as good as none.
	optionalFields = fieldsOf(fieldGroup, fieldPeer, fieldReceipt, fieldStrict, fieldContent, fieldAdmins, fieldTime, fieldEventID, fieldUptoMessage, fieldLabel)
)

func newRule(message, user field, required, optional fieldSet) kindRule {
	return kindRule{
		message:  message,
		user:     user,
		required: required,
		allowed:  required | optional | anyFields,
		either:   optional&eitherFields == eitherFields,
	}
}

// internalRule is the rule of a kind that only receiptd makes: it knows its own events without ids.
func internalRule(required fieldSet) kindRule {
	r := newRule(fieldMessage, fieldUser, required, 0)
	r.allowed &^= fieldsOf(fieldEventID, fieldImported)
	return r
}

// kindRules says the same as the comments of the kinds. A kind that is not in use allows nothing.
var kindRules = [kindEnd]kindRule{
	MessageSent:      newRule(fieldID, fieldFrom, fieldsOf(fieldID, fieldFrom), eitherFields|fieldsOf(fieldReceipt, fieldSilent, fieldLabel)),
	MessageDelivered: newRule(fieldMessage, fieldUser, fieldsOf(fieldMessage, fieldUser, fieldPeer), fieldsOf(fieldStrict)),
	MessageRead:      newRule(fieldMessage, fieldUser, fieldsOf(fieldMessage, fieldUser), eitherFields|fieldsOf(fieldContent, fieldStrict)),
	ConversationRead: newRule(fieldUptoMessage, fieldUser, fieldsOf(fieldUser), eitherFields|fieldsOf(fieldUptoMessage, fieldStrict)),
	MessageRecalled:  newRule(fieldMessage, fieldUser, fieldsOf(fieldMessage, fieldUser), eitherFields|fieldsOf(fieldStrict)),
	GroupCreated:     newRule(fieldMessage, fieldOwner, fieldsOf(fieldGroup, fieldOwner, fieldMembers), fieldsOf(fieldAdmins)),
	GroupJoined:      newRule(fieldMessage, fieldUser, fieldsOf(fieldGroup, fieldUser), 0),
	GroupLeft:        newRule(fieldMessage, fieldUser, fieldsOf(fieldGroup, fieldUser), 0),
	GroupRole:        newRule(fieldMessage, fieldUser, fieldsOf(fieldGroup, fieldUser, fieldRole), 0),
	GroupDissolved:   newRule(fieldMessage, fieldUser, fieldsOf(fieldGroup), 0),
	AppConfigured:    internalRule(fieldsOf(fieldSettings, fieldRevision)),
	StatisticSeen:    statisticSeenRule(),
	UserConfigured:   userConfiguredRule(),

	ConversationMarkedUnread: newRule(fieldMessage, fieldUser, fieldsOf(fieldUser), eitherFields),
	RulesLevel:               internalRule(fieldsOf(fieldRevision)),
	LogRepartitioned:         internalRule(fieldsOf(fieldRevision)),
}

// statisticSeenRule is the rule of a kind that has one of two fields at least.
func statisticSeenRule() kindRule {
	r := internalRule(fieldsOf(fieldUser))
	r.allowed |= fieldsOf(fieldUpto, fieldDevice)
	return r
}

// userConfiguredRule is the rule of the only kind that may have a conversation.
func userConfiguredRule() kindRule {
	r := internalRule(fieldsOf(fieldUser, fieldRevision))
	r.allowed |= eitherFields | fieldsOf(fieldSendReads, fieldSendDeliveries)
	return r
}

// fields is the set of the fields that are not zero. Members counts as given in a kind that
// requires it, since a group may begin with its owner alone.
func (e *Event) fields(rule *kindRule) fieldSet {
	present := rule.required & fieldsOf(fieldMembers)
	if e.Message != "" {
		present |= 1 << rule.message
	}
	if e.User != "" {
		present |= 1 << rule.user
	}
	if e.Group != "" {
		present |= 1 << fieldGroup
	}
	if e.Peer != "" {
		present |= 1 << fieldPeer
	}
	if e.Receipt {
		present |= 1 << fieldReceipt
	}
	if e.Strict {
		present |= 1 << fieldStrict
	}
	if e.Silent {
		present |= 1 << fieldSilent
	}
	if e.Label != "" {
		present |= 1 << fieldLabel
	}
	if e.Content != "" {
		present |= 1 << fieldContent
	}
	if e.Time != 0 {
		present |= 1 << fieldTime
	}
	if e.EventID != "" {
		present |= 1 << fieldEventID
	}
	if e.Imported {
		present |= 1 << fieldImported
	}
	// What follows is rare, and never occurs in the frequent kinds.
	if e.Role != RoleNone {
		present |= 1 << fieldRole
	}
	if len(e.Members) > 0 {
		present |= 1 << fieldMembers
	}
	if len(e.Admins) > 0 {
		present |= 1 << fieldAdmins
	}
	if e.Settings != nil {
		present |= 1 << fieldSettings
	}
	if e.Revision != 0 {
		present |= 1 << fieldRevision
	}
	if e.Upto != 0 {
		present |= 1 << fieldUpto
	}
	if e.Device != "" {
		present |= 1 << fieldDevice
	}
	if e.SendReads != ChoiceNone {
		present |= 1 << fieldSendReads
	}
	if e.SendDeliveries != ChoiceNone {
		present |= 1 << fieldSendDeliveries
	}
	return present
}
