package events

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// timeLayout is RFC 3339 with exactly three digits of milliseconds.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// AppendTime appends a time in Unix milliseconds as the public format has it, RFC 3339 with
// milliseconds in UTC, without quotes.
func AppendTime(dst []byte, ms int64) []byte {
	return time.UnixMilli(ms).UTC().AppendFormat(dst, timeLayout)
}

// AppendJSON appends a valid event in the public JSON format: the type first, then the other fields
// in a fixed order, without those that are empty. App is not part of the format. The internal
// kinds, which [Decoder] refuses, are written too, for people to read.
func AppendJSON(dst []byte, e *Event) []byte {
	dst = append(dst, `{"type":"`...)
	dst = append(dst, e.Kind.String()...)
	dst = append(dst, '"')
	if e.Kind.Valid() {
		rule := &kindRules[e.Kind]
		for present := e.fields(rule) & rule.allowed; present != 0; present &= present - 1 {
			dst = e.appendField(dst, present.first())
		}
	}
	return append(dst, '}')
}

// appendField appends one member of the object, with the comma before it.
func (e *Event) appendField(dst []byte, f field) []byte {
	dst = append(dst, ',', '"')
	dst = append(dst, fieldNames[f]...)
	dst = append(dst, '"', ':')
	switch f {
	case fieldID, fieldMessage, fieldUptoMessage:
		return appendQuoted(dst, e.Message)
	case fieldFrom, fieldUser, fieldOwner:
		return appendQuoted(dst, e.User)
	case fieldGroup:
		return appendQuoted(dst, e.Group)
	case fieldPeer:
		return appendQuoted(dst, e.Peer)
	case fieldContent:
		return appendQuoted(dst, e.Content)
	case fieldReceipt, fieldStrict, fieldSilent, fieldImported:
		return append(dst, "true"...)
	case fieldRole:
		return appendQuoted(dst, e.Role.String())
	case fieldMembers:
		return appendQuotedList(dst, e.Members)
	case fieldAdmins:
		return appendQuotedList(dst, e.Admins)
	case fieldTime:
		return append(AppendTime(append(dst, '"'), e.Time), '"')
	case fieldEventID:
		return appendQuoted(dst, e.EventID)
	case fieldLabel:
		return appendQuoted(dst, e.Label)
	case fieldSettings:
		return appendSettingsJSON(dst, e.Settings)
	case fieldRevision:
		return strconv.AppendUint(dst, e.Revision, 10)
	case fieldSendReads:
		return strconv.AppendBool(dst, e.SendReads == ChoiceSend)
	case fieldSendDeliveries:
		return strconv.AppendBool(dst, e.SendDeliveries == ChoiceSend)
	case fieldDevice:
		return appendQuoted(dst, e.Device)
	default: // fieldUpto
		return strconv.AppendUint(dst, e.Upto, 10)
	}
}

func appendQuotedList(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendQuoted(dst, s)
	}
	return append(dst, ']')
}

// appendQuoted writes U+FFFD in place of what is not UTF-8, which no valid event has.
func appendQuoted(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s)
	return dst
}

func appendSettingsJSON(dst []byte, s *Settings) []byte {
	// There are only booleans, numbers and strings, so that nothing can fail.
	text, _ := json.Marshal(s)
	return append(dst, text...)
}
