package natsapi

import (
	"fmt"
	"net/http"
	"strings"
	"unsafe"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway/ingest"
)

// The headers of a request.
const (
	headerContentType     = "Content-Type"
	headerContentEncoding = "Content-Encoding"
	headerWait            = "Receiptd-Wait"
	headerKey             = "Idempotency-Key"
	headerMessageID       = nats.MsgIdHdr
)

// request is one that was taken.
type request struct {
	reply   string // empty if nobody wants to know
	app     string
	n       int   // of its events, which follow those of the request before
	applied bool  // it waits for the outcomes
	bytes   int64 // of the budget
}

// app is the one of the last request: nearly always it is that of the next one, too.
type app struct{ subject, key string }

// What a request is taken to need in memory beside its body, itself and for each event. The body's
// own bytes come on top, since the events share them.
const (
	requestBytes = 512
	eventBytes   = int64(unsafe.Sizeof(events.Event{}))
)

// handle takes a request. It is called for one after the other.
func (d *Door) handle(r micro.Request) {
	reply := r.Reply()
	if !answerable(reply) {
		// Whoever asks for it could have receiptd write where the requester itself may not.
		d.metrics.refused("bad_reply", 1)
		return
	}
	q := request{reply: reply}
	if err := d.take(r, &q); err != nil {
		d.refuse(reply, ingest.RefusalOf(err))
	}
}

// answerable reports whether an answer may be sent to a subject: not to those of NATS itself and of
// the log.
func answerable(reply string) bool {
	return !strings.HasPrefix(reply, "$") && !strings.HasPrefix(reply, "receipts.")
}

func (d *Door) take(r micro.Request, q *request) error {
	data := r.Data()
	if int64(len(data)) > d.cfg.Limits.BodyBytes {
		return ingest.TooLarge(fmt.Sprintf("the body is larger than %d bytes", d.cfg.Limits.BodyBytes))
	}
	if err := d.find(r.Subject()); err != nil {
		return err
	}
	if d.requests.Add(1) > d.cfg.Limits.Requests {
		d.requests.Add(-1)
		return ingest.Overloaded
	}
	q.bytes = int64(len(data)) + requestBytes
	if !d.cfg.Budget.Take(q.bytes) {
		d.requests.Add(-1)
		return ingest.Overloaded
	}
	err := d.decode(r, q)
	if more := int64(q.n) * eventBytes; err == nil {
		if d.cfg.Budget.Take(more) {
			q.bytes += more
		} else {
			err = ingest.Overloaded
		}
	}
	if err != nil {
		clear(d.decoded)
		d.done(q)
		return err
	}
	q.app = d.app.key
	d.gather(q)
	return nil
}

// find looks up the app of a subject.
func (d *Door) find(subject string) error {
	if subject != d.app.subject || d.app.key == "" {
		key, err := events.ParseSubmitSubject(subject)
		if err != nil {
			return ingest.Invalid("subject", err.Error())
		}
		d.app = app{subject: subject, key: key}
	}
	if _, _, ok := d.cfg.State.Settings(d.app.key); !ok {
		return ingest.NoApp
	}
	return nil
}

// decode fills in d.decoded, and what the headers say.
func (d *Door) decode(r micro.Request, q *request) error {
	format, key := ingest.JSON, ""
	id := ""
	if h := r.Headers(); len(h) > 0 {
		var err error
		if contentType := h.Get(headerContentType); contentType != "" {
			if format, err = ingest.FormatOf(contentType); err != nil {
				return err
			}
		}
		if h.Get(headerContentEncoding) != "" {
			return &ingest.Refusal{
				Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Field: headerContentEncoding,
				Message: "Content-Encoding: a request is not compressed",
			}
		}
		switch wait := h.Get(headerWait); wait {
		case "", "durable":
		case "applied":
			q.applied = true
		default:
			return ingest.Invalid(headerWait, "neither durable nor applied")
		}
		if key, err = ingest.KeyOf(headerKey, h.Values(headerKey)); err != nil {
			return err
		}
		id = h.Get(headerMessageID)
	}
	var err error
	body := ingest.Body{Data: r.Data(), Format: format, App: d.app.key, Limit: d.cfg.Limits.Events}
	d.decoded, err = body.Decode(d.decoded[:0], &d.decoder)
	d.decoder.Detach() // the events wait for others, and the decoder does not
	if err != nil {
		return err
	}
	q.n = len(d.decoded)
	name(d.decoded, body.Written, key, id)
	return nil
}

// name gives the events of a request their ids. The name of a message with one event is that of the
// event, or of those that it stands for, as it is on the ingress subjects, so that it may be sent
// again either way.
func name(evs []events.Event, written int, key, id string) {
	switch {
	case key != "":
		events.NameEvents(key, evs)
	case id == "":
	case written > 1:
		events.NameEvents(id, evs)
	default:
		for i := range evs {
			if evs[i].EventID == "" {
				evs[i].EventID = events.EventIDOf(id)
			}
		}
	}
}

// done gives back what a request had, once it is answered.
func (d *Door) done(q *request) {
	d.requests.Add(-1)
	d.cfg.Budget.Give(q.bytes)
}
