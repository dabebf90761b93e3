package events

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Format is the format of a body of events in JSON.
type Format uint8

const (
	// FormatJSON is a JSON object, or an array of objects; the first byte tells which.
	FormatJSON Format = iota
	// FormatNDJSON has one JSON object on each line. Blank lines are skipped.
	FormatNDJSON
)

// ErrNoEvents is returned for a body without any event.
var ErrNoEvents = errors.New("events: the body holds no event")

// byteOrderMark is what some editors put before UTF-8. RFC 8259 forbids to send it.
var byteOrderMark = []byte("\ufeff")

// EventError says which event of a body is wrong, and how.
type EventError struct {
	// Index is the place of the event in the body, from 0; blank lines do not count.
	Index int
	// Field is the bad field's name; empty if the event is not even a JSON object.
	Field string
	// Problem is what is wrong with the field, or with the event if Field is empty.
	Problem string
}

func (e *EventError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("event %d: %s", e.Index, e.Problem)
	}
	return fmt.Sprintf("event %d: %s: %s", e.Index, e.Field, e.Problem)
}

// eventError places err, which is a *FieldError, in a body.
func eventError(index int, err error) error {
	bad, ok := errors.AsType[*FieldError](err)
	if !ok {
		return &EventError{Index: index, Problem: err.Error()}
	}
	return &EventError{Index: index, Field: bad.Field, Problem: bad.Problem}
}

// Decoder reads events in their public JSON format. It is strict: fields that the kind does not
// have and repeated fields are refused, and so are the internal kinds; a null in a field that may
// be left out is as if it was. The zero value is ready for use. A Decoder that is reused allocates
// nothing for usual events. It is for one goroutine at a time.
//
// A message.read may name many messages, in the field messages: it stands for as many events, one
// for each, which differ in nothing else. Nobody beyond a decoder knows of such an event.
type Decoder struct {
	// User, if it is set, is the user of receipts that name none.
	User string

	event    Event
	messages []string // that the event names, if they are many
	// text holds the strings that had escapes, and names the lists of members, of all events of a
	// body.
	text  []byte
	names []string

	tokens jsontext.Decoder
	source bytes.Buffer
}

// Decode calls f for each event of body, in order, with its index: several times with the same one
// for an event that names many messages. The event is valid; its App is empty. The Event itself is
// reused for the next one, but its strings and lists stay valid until body is changed or Decode is
// called again.
//
// The error for bad input is an [*EventError] or [ErrNoEvents]. By then the events before the bad
// one have been handed to f. An error of f ends the decoding and is returned as it is.
func (d *Decoder) Decode(body []byte, format Format, f func(i int, e *Event) error) error {
	d.reset()
	if bytes.HasPrefix(body, byteOrderMark) {
		return &EventError{Problem: "a byte order mark at the beginning: send UTF-8 without one"}
	}
	if format == FormatNDJSON {
		return d.decodeLines(body, f)
	}
	body = skipSpace(body)
	switch {
	case len(body) == 0:
		return ErrNoEvents
	case body[0] == '[':
		return d.decodeArray(body, f)
	}
	return d.decodeLine(0, body, f)
}

// Detach gives up the memory of the last body's strings and lists, so that the next Decode does not
// reuse it: they stay valid for as long as that body is not changed.
func (d *Decoder) Detach() {
	if len(d.text) > 0 {
		d.text = nil
	}
	if len(d.names) > 0 {
		d.names = nil
	}
}

// reset forgets the strings of the last body, and releases memory that only an unusual body needed.
func (d *Decoder) reset() {
	const keep = 64 << 10
	d.event, d.messages = Event{}, nil
	if cap(d.text) > keep {
		d.text = nil
	}
	if cap(d.names) > keep/16 {
		d.names = nil
	}
	d.text = d.text[:0]
	clear(d.names)
	d.names = d.names[:0]
}

func (d *Decoder) decodeLines(body []byte, f func(i int, e *Event) error) error {
	n := 0
	for len(body) > 0 {
		line := body
		if end := bytes.IndexByte(body, '\n'); end >= 0 {
			line, body = body[:end], body[end+1:]
		} else {
			body = nil
		}
		if line = skipSpace(line); len(line) == 0 {
			continue
		}
		if err := d.decodeLine(n, line, f); err != nil {
			return err
		}
		n++
	}
	if n == 0 {
		return ErrNoEvents
	}
	return nil
}

// decodeLine decodes one event with nothing but space after it.
func (d *Decoder) decodeLine(i int, line []byte, f func(i int, e *Event) error) error {
	n, err := d.decodeObject(line)
	if err != nil {
		return eventError(i, err)
	}
	if rest := skipSpace(line[n:]); len(rest) > 0 {
		return &EventError{Index: i, Problem: fmt.Sprintf("malformed JSON: %q after the event", firstRune(rest))}
	}
	return d.hand(i, f)
}

func (d *Decoder) decodeArray(body []byte, f func(i int, e *Event) error) error {
	body = skipSpace(body[1:])
	if len(body) > 0 && body[0] == ']' {
		if len(skipSpace(body[1:])) > 0 {
			return &EventError{Problem: "malformed JSON: data after the array"}
		}
		return ErrNoEvents
	}
	for i := 0; ; i++ {
		if len(body) == 0 {
			return &EventError{Index: i, Problem: "malformed JSON: the array does not end"}
		}
		n, err := d.decodeObject(body)
		if err != nil {
			return eventError(i, err)
		}
		body = skipSpace(body[n:])
		if len(body) == 0 {
			return &EventError{Index: i, Problem: "malformed JSON: the array does not end"}
		}
		end := body[0] == ']'
		if !end && body[0] != ',' {
			return &EventError{Index: i, Problem: fmt.Sprintf("malformed JSON: %q after the event", firstRune(body))}
		}
		body = skipSpace(body[1:])
		if end && len(body) > 0 {
			return &EventError{Index: i, Problem: "malformed JSON: data after the array"}
		}
		if err := d.hand(i, f); err != nil || end {
			return err
		}
	}
}

// decodeObject decodes the event at the start of data and returns its length. The error is a
// *FieldError.
func (d *Decoder) decodeObject(data []byte) (int, error) {
	d.event, d.messages = Event{}, nil
	n, present, absent, err := d.read(data)
	if err != nil {
		return 0, err
	}
	if !present.has(fieldType) {
		return 0, &FieldError{"type", "missing"}
	}
	if surplus := absent &^ kindRules[d.event.Kind].allowed; surplus != 0 {
		return 0, fieldErrorf(fieldNames[surplus.first()], "not allowed in %s", d.event.Kind)
	}
	if d.User != "" && !present.has(fieldUser) && d.event.Kind.IsOwn() {
		d.event.User = d.User
		present |= 1 << fieldUser
	}
	if present.has(fieldMessages) {
		if err := validateMessages(d.event.Kind, d.messages, present.has(fieldMessage)); err != nil {
			return 0, err
		}
		d.event.Message = d.messages[0]
		present = present&^(1<<fieldMessages) | 1<<fieldMessage
	}
	return n, d.event.validate(present)
}

// firstRune is the character that b begins with: a byte of it is of no use to whoever reads a
// message.
func firstRune(b []byte) rune {
	r, _ := utf8.DecodeRune(b)
	return r
}

// hand calls f with the event, once for each message that it names.
func (d *Decoder) hand(i int, f func(i int, e *Event) error) error {
	if d.messages == nil {
		return f(i, &d.event)
	}
	return eachMessage(i, &d.event, d.messages, f)
}

// eachMessage calls f with e about each of the messages.
func eachMessage(i int, e *Event, messages []string, f func(i int, e *Event) error) error {
	all := *e
	for _, id := range messages {
		*e = all
		e.Message = id
		if err := f(i, e); err != nil {
			return err
		}
	}
	return nil
}

// skipSpace cuts JSON white space off the front.
func skipSpace(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	return b
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }
