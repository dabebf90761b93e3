package natsapi

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway/admission"
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
	asker
	n       int   // of its events, which follow those of the request before
	size    int64 // of its body
	applied bool  // it waits for the outcomes
}

// asker is where the answer to a request goes.
type asker struct {
	conn  *nats.Conn // on which they asked
	reply string     // empty if nobody wants to know
}

// head is what the headers of a request say of its body.
type head struct {
	format  ingest.Format
	key, id string
}

// app caches the app of the last request by its subject: nearly always the next request has the
// same.
type app struct{ subject, key string }

// requestBytes is what a request is taken to need in memory until it is answered. Its body, which
// its events share, and the events come on top until the log has them.
const requestBytes = 512

// handle takes a request. It is called for one after the other.
func (x *receiver) handle(r micro.Request) {
	q := request{asker: asker{x.conn, r.Reply()}}
	if !answerable(q.reply) {
		// Whoever asks for it could have receiptd write where the requester itself may not.
		x.metrics.refused("bad_reply", 1)
		return
	}
	if err := x.take(r, &q); err != nil {
		x.refuse(q.asker, ingest.RefusalOf(err))
	}
}

// answerable reports whether an answer may be sent to a subject: not to those of NATS itself and of
// the log.
func answerable(reply string) bool {
	return !strings.HasPrefix(reply, "$") && !strings.HasPrefix(reply, "receipts.")
}

func (x *receiver) take(r micro.Request, q *request) error {
	data := r.Data()
	if int64(len(data)) > x.cfg.Limits.BodyBytes {
		return ingest.TooLarge(fmt.Sprintf("the body is larger than %d bytes", x.cfg.Limits.BodyBytes))
	}
	if err := x.find(r.Subject()); err != nil {
		return err
	}
	h, err := headOf(r, q)
	if err != nil {
		return err
	}
	q.size = int64(len(data))
	body := ingest.Body{Data: data, Format: h.format, App: x.app.key, Limit: x.cfg.Limits.Events}
	held := requestBytes + q.size + h.format.DecodedBytes(data, body.Limit)
	weighs := admission.Gathered{Requests: 1, Size: q.size, Held: held}
	if err := x.cfg.Gate.Gather(x.who(x.app.key), weighs); err != nil {
		return err
	}
	x.requests.Add(1)
	if err = x.decode(&body, h); err == nil {
		q.n = len(x.decoded)
		err = x.gather(q, weighs)
	}
	clear(x.decoded) // they hold on to the body
	if err != nil {
		x.cfg.Gate.Submitted(x.who(x.app.key), weighs, false, 0)
		x.requests.Add(-1)
	}
	return err
}

// who is an app, to the gate.
func (d *Door) who(app string) admission.Requester {
	return admission.Requester{App: app, Door: "nats"}
}

// find looks up the app of a subject.
func (x *receiver) find(subject string) error {
	if subject != x.app.subject || x.app.key == "" {
		key, err := events.ParseSubmitSubject(subject)
		if err != nil {
			return ingest.Invalid("subject", err.Error())
		}
		x.app = app{subject: subject, key: key}
	}
	_, _, err := x.cfg.State.FindApp(x.app.key)
	return err
}

// headOf reads the headers.
func headOf(r micro.Request, q *request) (x head, err error) {
	x.format = ingest.JSON
	h := r.Headers()
	if len(h) == 0 {
		return x, nil
	}
	if contentType := h.Get(headerContentType); contentType != "" {
		if x.format, err = ingest.FormatOf(contentType); err != nil {
			return x, err
		}
	}
	if h.Get(headerContentEncoding) != "" {
		return x, &ingest.Refusal{
			Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Field: headerContentEncoding,
			Message: "Content-Encoding: a request is not compressed",
		}
	}
	switch wait := h.Get(headerWait); wait {
	case "", "durable":
	case "applied":
		q.applied = true
	default:
		return x, ingest.Invalid(headerWait, "neither durable nor applied")
	}
	x.id = h.Get(headerMessageID)
	x.key, err = ingest.KeyOf(headerKey, h.Values(headerKey))
	return x, err
}

// decode fills in x.decoded.
func (x *receiver) decode(body *ingest.Body, h head) (err error) {
	x.decoded, err = body.Decode(x.decoded[:0], &x.decoder)
	x.decoder.Detach() // the events wait for others, and the decoder does not
	if err != nil {
		return err
	}
	name(x.decoded, body.Written, h.key, h.id)
	return nil
}

// name gives the events of a request their ids. The name of a message with one event names the
// event, or those that it stands for, as it is on the ingress subjects, so that it may be sent
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

// done gives back what n requests of an app had, once they are answered.
func (d *Door) done(app string, n int) {
	d.requests.Add(-int64(n))
	d.cfg.Gate.Answered(d.who(app), int64(n)*requestBytes)
}
