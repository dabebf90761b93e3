package events

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// Repeated names are found by the set of fields that were read, which costs less.
var tokenOptions = jsontext.AllowDuplicateNames(true)

// read reads the object at the start of data into d.event by means of jsontext, which accepts
// whatever JSON allows and nothing else. It goes no deeper than a list of members, so that nesting
// costs nothing. Absent are the fields that are null. The error is a *FieldError; its Field is
// empty if the JSON itself is malformed.
func (d *Decoder) read(data []byte) (n int, present, absent fieldSet, err error) {
	d.source = *bytes.NewBuffer(data)
	d.tokens.Reset(&d.source, tokenOptions)
	switch kind := d.tokens.PeekKind(); kind {
	case 'n', 't', 'f', '"', '0', '[':
		return 0, 0, 0, &FieldError{"", "not a JSON object but " + kindName(kind)}
	}
	if _, err := d.tokens.ReadToken(); err != nil {
		return 0, 0, 0, malformedJSON(err)
	}
	for d.tokens.PeekKind() != '}' {
		raw, err := d.tokens.ReadValue()
		if err != nil {
			return 0, 0, 0, malformedJSON(err)
		}
		name := d.unquote(raw)
		f, ok := fieldByName(name)
		if !ok {
			return 0, 0, 0, &FieldError{cmp.Or(clip(name), `""`), "unknown field"}
		}
		if (present | absent).has(f) {
			return 0, 0, 0, &FieldError{name, "repeated"}
		}
		if d.tokens.PeekKind() == 'n' && optionalFields.has(f) {
			// What many serializers write for a field that has no value. Any other value of the
			// same field would be a repetition still.
			if _, err := d.tokens.ReadToken(); err != nil {
				return 0, 0, 0, malformedJSON(err)
			}
			absent |= 1 << f
			continue
		}
		present |= 1 << f
		if err := d.readField(f); err != nil {
			return 0, 0, 0, err
		}
	}
	if _, err := d.tokens.ReadToken(); err != nil {
		return 0, 0, 0, malformedJSON(err)
	}
	return int(d.tokens.InputOffset()), present, absent, nil
}

// readField reads the value of a field that producers know.
func (d *Decoder) readField(f field) (err error) {
	e, name := &d.event, fieldNames[f]
	switch f {
	case fieldType:
		return d.readType()
	case fieldID, fieldMessage, fieldUptoMessage:
		e.Message, err = d.readString(name)
	case fieldFrom, fieldUser, fieldOwner:
		e.User, err = d.readString(name)
	case fieldGroup:
		e.Group, err = d.readString(name)
	case fieldPeer:
		e.Peer, err = d.readString(name)
	case fieldContent:
		e.Content, err = d.readString(name)
	case fieldEventID:
		e.EventID, err = d.readString(name)
	case fieldLabel:
		e.Label, err = d.readString(name)
	case fieldReceipt:
		e.Receipt, err = d.readBool(name)
	case fieldStrict:
		e.Strict, err = d.readBool(name)
	case fieldSilent:
		e.Silent, err = d.readBool(name)
	case fieldMembers:
		e.Members, err = d.readStrings(name, MaxFirstMembers, "members and admins")
	case fieldAdmins:
		e.Admins, err = d.readStrings(name, MaxFirstMembers, "members and admins")
	case fieldMessages:
		d.messages, err = d.readStrings(name, MaxMessagesRead, "messages")
	case fieldRole:
		return d.readRole()
	case fieldTime:
		return d.readTime()
	}
	return err
}

func (d *Decoder) readType() error {
	name, err := d.readString("type")
	if err != nil {
		return err
	}
	kind, ok := kindByName(name)
	switch {
	case !ok:
		return fieldErrorf("type", "unknown type %q", clip(name))
	case kind.Internal():
		return fieldErrorf("type", "%s events are made by receiptd itself", kind)
	}
	d.event.Kind = kind
	return nil
}

func (d *Decoder) readRole() error {
	name, err := d.readString("role")
	if err != nil {
		return err
	}
	role, ok := roleByName(name)
	if !ok {
		return &FieldError{"role", "none of owner, admin and member"}
	}
	d.event.Role = role
	return nil
}

// roleByName knows the roles an event can give.
func roleByName(name string) (Role, bool) {
	switch name {
	case "owner":
		return RoleOwner, true
	case "admin":
		return RoleAdmin, true
	case "member":
		return RoleMember, true
	}
	return RoleNone, false
}

func (d *Decoder) readTime() error {
	kind := d.tokens.PeekKind()
	if kind != '"' && kind != '0' && kind != jsontext.KindInvalid {
		return fieldErrorf("time", "%s, not a string or number", kindName(kind))
	}
	raw, err := d.tokens.ReadValue()
	if err != nil {
		return malformedJSON(err)
	}
	var ok bool
	if kind == '"' {
		d.event.Time, ok = parseTime(d.unquote(raw))
	} else {
		d.event.Time, ok = parseWhole(aliasString(raw))
	}
	if !ok {
		return &FieldError{"time", "neither RFC 3339 nor whole Unix milliseconds"}
	}
	return nil
}

func (d *Decoder) readString(name string) (string, error) {
	if kind := d.tokens.PeekKind(); kind != '"' && kind != jsontext.KindInvalid {
		return "", fieldErrorf(name, "%s, not a string", kindName(kind))
	}
	raw, err := d.tokens.ReadValue()
	if err != nil {
		return "", malformedJSON(err)
	}
	return d.unquote(raw), nil
}

func (d *Decoder) readBool(name string) (bool, error) {
	kind := d.tokens.PeekKind()
	if kind != 't' && kind != 'f' && kind != jsontext.KindInvalid {
		return false, fieldErrorf(name, "%s, not true or false", kindName(kind))
	}
	if _, err := d.tokens.ReadToken(); err != nil {
		return false, malformedJSON(err)
	}
	return kind == 't', nil
}

// readStrings reads a list of at most so many strings; what says what they are.
func (d *Decoder) readStrings(name string, most int, what string) ([]string, error) {
	if kind := d.tokens.PeekKind(); kind != '[' && kind != jsontext.KindInvalid {
		return nil, fieldErrorf(name, "%s, not an array of strings", kindName(kind))
	}
	if _, err := d.tokens.ReadToken(); err != nil {
		return nil, malformedJSON(err)
	}
	start := len(d.names)
	for d.tokens.PeekKind() != ']' {
		if len(d.names)-start == most {
			return nil, fieldErrorf(name, "more than %d %s", most, what)
		}
		s, err := d.readString(name)
		if bad, ok := errors.AsType[*FieldError](err); ok {
			if bad.Field != "" {
				bad.Field = fmt.Sprintf("%s[%d]", name, len(d.names)-start)
			}
			return nil, bad
		}
		d.names = append(d.names, s)
	}
	if _, err := d.tokens.ReadToken(); err != nil {
		return nil, malformedJSON(err)
	}
	if len(d.names) == start {
		return nil, nil
	}
	return d.names[start:len(d.names):len(d.names)], nil
}

// unquote returns the text of a JSON string that jsontext has accepted. The text shares the memory
// of the body if there is no escape in it, and that of d.text otherwise, where nothing is changed
// before reset.
func (d *Decoder) unquote(raw jsontext.Value) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return aliasString(raw[1 : len(raw)-1])
	}
	start := len(d.text)
	d.text, _ = jsontext.AppendUnquote(d.text, raw)
	return aliasString(d.text[start:])
}

func malformedJSON(err error) error {
	syntactic, ok := errors.AsType[*jsontext.SyntacticError](err)
	if !ok {
		return &FieldError{"", "malformed JSON: unexpected end"}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fieldErrorf("", "malformed JSON at byte %d: unexpected end", syntactic.ByteOffset)
	}
	return fieldErrorf("", "malformed JSON at byte %d: %s", syntactic.ByteOffset, syntactic.Err)
}

func kindName(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '[':
		return "an array"
	}
	return "an object"
}

// fieldByName knows the fields producers may use.
func fieldByName(name string) (field, bool) {
	switch name {
	case "type":
		return fieldType, true
	case "id":
		return fieldID, true
	case "message":
		return fieldMessage, true
	case "from":
		return fieldFrom, true
	case "user":
		return fieldUser, true
	case "owner":
		return fieldOwner, true
	case "group":
		return fieldGroup, true
	case "peer":
		return fieldPeer, true
	case "receipt":
		return fieldReceipt, true
	case "strict":
		return fieldStrict, true
	case "silent":
		return fieldSilent, true
	case "label":
		return fieldLabel, true
	case "content":
		return fieldContent, true
	case "role":
		return fieldRole, true
	case "members":
		return fieldMembers, true
	case "admins":
		return fieldAdmins, true
	case "time":
		return fieldTime, true
	case "event_id":
		return fieldEventID, true
	case "upto":
		return fieldUptoMessage, true
	case "messages":
		return fieldMessages, true
	}
	return 0, false
}
