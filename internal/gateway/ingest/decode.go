package ingest

import (
	"errors"
	"mime"
	"net/http"
	"strconv"

	"github.com/receiptd/receiptd/events"
)

// Format is the encoding of a body of events.
type Format uint8

// The formats.
const (
	// NDJSON has a JSON object on each line.
	NDJSON Format = iota
	// JSON is one object or an array of them.
	JSON
	// Protobuf is the message EventList of schema/events.proto.
	Protobuf
)

var formats = map[string]Format{
	"application/x-ndjson":   NDJSON,
	"application/json":       JSON,
	"application/x-protobuf": Protobuf,
}

// FormatOf is the format that a content type names. The error is a [*Refusal].
func FormatOf(contentType string) (Format, error) {
	f, ok := formats[contentType]
	if !ok { // nearly all come without parameters, and parsing allocates
		mediaType, _, err := mime.ParseMediaType(contentType)
		if f, ok = formats[mediaType]; err != nil || !ok {
			return 0, &Refusal{
				Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Field: "Content-Type",
				Message: "Content-Type: one of application/x-ndjson, application/json and application/x-protobuf is required",
			}
		}
	}
	return f, nil
}

// DecodedBytes is what the events of a body take decoded, at most.
func (f Format) DecodedBytes(body []byte, most int) int64 {
	switch f {
	case NDJSON:
		return events.FormatNDJSON.DecodedBytes(body, most)
	case JSON:
		return events.FormatJSON.DecodedBytes(body, most)
	default:
		return events.EventListBytes(body, most)
	}
}

// Body is a body of events, and what they must be.
type Body struct {
	Data   []byte
	Format Format
	// App is whose events they are, and Limit how many there may be.
	App   string
	Limit int
	// User, if set, is whose receipts they are; those that name none are of that user. Check then
	// says what keeps an event from being one.
	User  string
	Check func(e *events.Event, user string) *events.FieldError
	// Until, if set, has the events be imported: each says when it happened, which is not after
	// that, in Unix milliseconds.
	Until int64

	// Written is how many events the body has as they were written: one that names many messages is
	// one. Decode sets it.
	Written int
}

// Decode appends the events to dst. It keeps nothing of the body but what the strings of the events
// share with it and with the decoder. An error is a [*Refusal] for a body that is malformed, has no
// event, or too many.
func (b *Body) Decode(dst []events.Event, d *events.Decoder) ([]events.Event, error) {
	add := func(i int, e *events.Event) error {
		if len(dst) >= b.Limit {
			return TooManyEvents(b.Limit)
		}
		if b.Check != nil {
			if bad := b.Check(e, b.User); bad != nil {
				return invalidEvent(i, bad.Field, bad.Problem)
			}
		}
		if b.Until != 0 {
			switch {
			case e.Time == 0:
				return invalidEvent(i, "time", "missing: an imported event says when it happened")
			case e.Time > b.Until:
				return invalidEvent(i, "time", "has not come yet")
			}
			e.Imported = true
		}
		dst = append(dst, *e)
		dst[len(dst)-1].App = b.App
		b.Written = i + 1
		return nil
	}
	d.User = b.User
	var err error
	switch b.Format {
	case NDJSON:
		err = d.Decode(b.Data, events.FormatNDJSON, add)
	case JSON:
		err = d.Decode(b.Data, events.FormatJSON, add)
	case Protobuf:
		err = events.DecodeEventListOf(b.User, b.Data, add)
	}
	return dst, Malformed(err)
}

// Malformed turns an error about a body, of package events, into a [*Refusal]; any other error, and
// nil, it returns as it is.
func Malformed(err error) error {
	if bad, ok := errors.AsType[*events.EventError](err); ok {
		return invalidEvent(bad.Index, bad.Field, bad.Problem)
	}
	if errors.Is(err, events.ErrNoEvents) {
		return Invalid("body", "no event in it")
	}
	return err
}

// TooManyEvents refuses a request with more events than that.
func TooManyEvents(limit int) *Refusal {
	return &Refusal{
		Status: http.StatusRequestEntityTooLarge, Code: "too_many_events", Message: "more than " + strconv.Itoa(limit) + " events",
	}
}

// maxKey bounds the key of a request, in bytes.
const maxKey = 255

// KeyOf is the key of which the ids of a request's events are made, as the values of a header give
// it; empty if there are none. The error is a [*Refusal].
func KeyOf(header string, values []string) (string, error) {
	if len(values) == 0 {
		return "", nil
	}
	key := values[0]
	if len(values) > 1 || key == "" || len(key) > maxKey {
		return "", Invalid(header, "not one value of 1 to 255 bytes")
	}
	for i := range len(key) {
		if key[i] < ' ' || key[i] > '~' {
			return "", Invalid(header, "not printable ASCII")
		}
	}
	return key, nil
}
