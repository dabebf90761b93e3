package events

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// eventListEvents is the field of the EventList message.
const eventListEvents = 1

// Fields of the Event message.
const (
	eventKind = iota + 1
	eventMessage
	eventUser
	eventGroup
	eventPeer
	eventContent
	eventReceipt
	eventStrict
	eventRole
	eventMembers
	eventAdmins
	eventTime
	eventEventID
	eventMessages
	eventSilent
	eventLabel
)

// eventFields are the names and wire types of the fields of the Event message, by number.
var eventFields = [...]struct {
	name string
	typ  protowire.Type
}{
	eventKind:     {"kind", protowire.VarintType},
	eventMessage:  {"message", protowire.BytesType},
	eventUser:     {"user", protowire.BytesType},
	eventGroup:    {"group", protowire.BytesType},
	eventPeer:     {"peer", protowire.BytesType},
	eventContent:  {"content", protowire.BytesType},
	eventReceipt:  {"receipt", protowire.VarintType},
	eventStrict:   {"strict", protowire.VarintType},
	eventRole:     {"role", protowire.VarintType},
	eventMembers:  {"members", protowire.BytesType},
	eventAdmins:   {"admins", protowire.BytesType},
	eventTime:     {"time", protowire.VarintType},
	eventEventID:  {"event_id", protowire.BytesType},
	eventMessages: {"messages", protowire.BytesType},
	eventSilent:   {"silent", protowire.VarintType},
	eventLabel:    {"label", protowire.BytesType},
}

// AppendEventList appends events to dst in the public protobuf format, the message EventList of
// schema/events.proto. App is not part of it, nor are fields that only internal kinds have.
func AppendEventList(dst []byte, events []Event) []byte {
	var buf []byte
	for i := range events {
		buf = appendEvent(buf[:0], &events[i])
		dst = appendBytes(dst, eventListEvents, buf)
	}
	return dst
}

func appendEvent(dst []byte, e *Event) []byte {
	dst = appendUint(dst, eventKind, uint64(e.Kind))
	for _, f := range [...]struct {
		num   protowire.Number
		value string
	}{
		{eventMessage, e.Message}, {eventUser, e.User}, {eventGroup, e.Group}, {eventPeer, e.Peer},
		{eventContent, e.Content},
	} {
		if f.value != "" {
			dst = appendString(dst, f.num, f.value)
		}
	}
	dst = appendBool(dst, eventReceipt, e.Receipt)
	dst = appendBool(dst, eventStrict, e.Strict)
	dst = appendUint(dst, eventRole, uint64(e.Role))
	for _, id := range e.Members {
		dst = appendString(dst, eventMembers, id)
	}
	for _, id := range e.Admins {
		dst = appendString(dst, eventAdmins, id)
	}
	dst = appendUint(dst, eventTime, uint64(e.Time))
	if e.EventID != "" {
		dst = appendString(dst, eventEventID, e.EventID)
	}
	dst = appendBool(dst, eventSilent, e.Silent)
	if e.Label != "" {
		dst = appendString(dst, eventLabel, e.Label)
	}
	return dst
}

// DecodeEventListOf calls f for each event of an EventList, in order, with its index: several times
// with the same one for an event that names many messages. In receipts of a user, if one is given,
// nobody need be named. The event is valid and of no internal
// kind; its App is empty. The Event itself is reused for the next one, but
// its strings and lists stay valid until data is changed.
//
// It is strict: unknown fields and fields that occur twice are refused. The error for bad input is
// an [*EventError], which names fields as the protobuf format does, or [ErrNoEvents]. By then the
// events before the bad one have been handed to f. An error of f ends the decoding and is returned
// as it is. Usual events are decoded without allocating.
func DecodeEventListOf(user string, data []byte, f func(i int, e *Event) error) error {
	if len(data) == 0 {
		return ErrNoEvents
	}
	var e Event
	var messages []string
	var field wireField
	for i := 0; len(data) > 0; i++ {
		rest, err := field.next(data)
		if err != nil {
			return &EventError{Index: i, Problem: problem(err)}
		}
		data = rest
		if field.num != eventListEvents || field.typ != protowire.BytesType {
			return &EventError{Index: i, Problem: fmt.Sprintf("not an event: field %d of wire type %d", field.num, field.typ)}
		}
		messages = messages[:0]
		if bad := e.decode(field.bytes, &messages); bad != nil {
			return &EventError{Index: i, Field: bad.Field, Problem: bad.Problem}
		}
		if user != "" && e.User == "" && e.Kind.IsOwn() {
			e.User = user
		}
		if len(messages) > 0 {
			if err := validateMessages(e.Kind, messages, e.Message != ""); err != nil {
				return eventError(i, err)
			}
			e.Message = messages[0]
		}
		if err := e.Validate(); err != nil {
			return protobufNames(eventError(i, err))
		}
		if len(messages) == 0 {
			err = f(i, &e)
		} else {
			err = eachMessage(i, &e, messages, f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// problem is what is wrong with the encoding, without the name of this package, for a client.
func problem(err error) string { return strings.TrimPrefix(err.Error(), "events: ") }

// decode sets e to an encoded Event message, and adds what is in its list of messages to another.
func (e *Event) decode(data []byte, messages *[]string) *FieldError {
	*e = Event{}
	seen := uint32(0)
	var f wireField
	for len(data) > 0 {
		rest, err := f.next(data)
		if err != nil {
			return &FieldError{Problem: problem(err)}
		}
		data = rest
		if f.num >= protowire.Number(len(eventFields)) {
			return &FieldError{Problem: fmt.Sprintf("unknown field %d", f.num)}
		}
		def := &eventFields[f.num]
		if f.typ != def.typ {
			return &FieldError{def.name, fmt.Sprintf("field %d has wire type %d instead of %d", f.num, f.typ, def.typ)}
		}
		bit := uint32(1) << f.num
		if seen&bit != 0 && f.num != eventMembers && f.num != eventAdmins && f.num != eventMessages {
			return &FieldError{def.name, fmt.Sprintf("field %d occurs twice", f.num)}
		}
		seen |= bit
		if f.num == eventMessages {
			if len(*messages) == MaxMessagesRead {
				return &FieldError{def.name, fmt.Sprintf("more than %d messages", MaxMessagesRead)}
			}
			*messages = append(*messages, aliasString(f.bytes))
			continue
		}
		if bad := e.set(&f); bad != nil {
			return bad
		}
	}
	return nil
}

// set sets one field of e, which has the wire type it should.
func (e *Event) set(f *wireField) *FieldError {
	switch f.num {
	case eventKind:
		if e.Kind = Kind(f.value); f.value >= uint64(kindEnd) || !e.Kind.namesConversation() {
			return &FieldError{"kind", fmt.Sprintf("%d is not a kind that producers may send", f.value)}
		}
	case eventMessage:
		e.Message = aliasString(f.bytes)
	case eventUser:
		e.User = aliasString(f.bytes)
	case eventGroup:
		e.Group = aliasString(f.bytes)
	case eventPeer:
		e.Peer = aliasString(f.bytes)
	case eventContent:
		e.Content = aliasString(f.bytes)
	case eventReceipt:
		e.Receipt = f.value != 0
	case eventStrict:
		e.Strict = f.value != 0
	case eventRole:
		if e.Role = Role(f.value); f.value > uint64(RoleOwner) {
			return &FieldError{"role", fmt.Sprintf("unknown role %d", f.value)}
		}
	case eventMembers, eventAdmins:
		return e.addID(f)
	case eventTime:
		e.Time = int64(f.value)
	case eventEventID:
		e.EventID = aliasString(f.bytes)
	case eventSilent:
		e.Silent = f.value != 0
	case eventLabel:
		e.Label = aliasString(f.bytes)
	}
	return nil
}

// addID appends to the members or admins, within their limit: an id takes as little as two bytes of
// the body, but sixteen of memory.
func (e *Event) addID(f *wireField) *FieldError {
	list := &e.Members
	if f.num == eventAdmins {
		list = &e.Admins
	}
	if len(e.Members)+len(e.Admins) == MaxFirstMembers {
		return &FieldError{eventFields[f.num].name, fmt.Sprintf("more than %d members and admins", MaxFirstMembers)}
	}
	*list = append(*list, aliasString(f.bytes))
	return nil
}

// protobufNames gives an [*EventError] about the JSON format the field names of the protobuf
// format.
func protobufNames(err error) error {
	bad, ok := err.(*EventError)
	if !ok {
		return err
	}
	switch bad.Field {
	case "type":
		bad.Field = "kind"
	case "id", "upto":
		bad.Field = "message"
	case "from", "owner":
		bad.Field = "user"
	}
	return bad
}
