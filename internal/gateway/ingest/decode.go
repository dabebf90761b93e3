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

// Decode appends the events of a body to dst, with their app. It keeps nothing of the body but what
// the strings of the events share with it and with the decoder. An error is a [*Refusal] for a body
// that is malformed, has no event, or more than limit.
func Decode(dst []events.Event, d *events.Decoder, body []byte, f Format, app string, limit int) ([]events.Event, error) {
	add := func(i int, e *events.Event) error {
		if i >= limit {
			return tooManyEvents(limit)
		}
		dst = append(dst, *e)
		dst[len(dst)-1].App = app
		return nil
	}
	var err error
	switch f {
	case NDJSON:
		err = d.Decode(body, events.FormatNDJSON, add)
	case JSON:
		err = d.Decode(body, events.FormatJSON, add)
	case Protobuf:
		err = events.DecodeEventList(body, add)
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

func tooManyEvents(limit int) *Refusal {
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
