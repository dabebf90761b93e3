package httpapi

import (
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/gateway/admission"
)

// intake is one request with events on its way into the log. Its memory is used again when the log
// has taken the events: the strings of events share body or decoder.
type intake struct {
	pass    admission.Pass
	body    *[]byte
	decoder events.Decoder
	events  *[]events.Event
}

var (
	intakes    = sync.Pool{New: func() any { return new(intake) }}
	eventSlabs = slabs[events.Event]{least: 32, points: true}
)

// end gives back what the request holds.
func (t *intake) end() {
	t.pass.Leave()
	eventSlabs.put(t.events)
	bodies.put(t.body)
	t.events, t.body = nil, nil
	intakes.Put(t)
}

// format is the encoding of a body of events.
type format uint8

const (
	formatNDJSON format = iota
	formatJSON
	formatProtobuf
)

var formats = map[string]format{
	"application/x-ndjson":   formatNDJSON,
	"application/json":       formatJSON,
	"application/x-protobuf": formatProtobuf,
}

// decodedBytes is what the events of a body take decoded, at most.
func (f format) decodedBytes(body []byte, most int) int64 {
	switch f {
	case formatNDJSON:
		return events.FormatNDJSON.DecodedBytes(body, most)
	case formatJSON:
		return events.FormatJSON.DecodedBytes(body, most)
	default:
		return events.EventListBytes(body, most)
	}
}

func formatOf(r *http.Request) (format, error) {
	contentType := r.Header.Get("Content-Type")
	f, ok := formats[contentType]
	if !ok { // nearly all come without parameters, and parsing allocates
		mediaType, _, err := mime.ParseMediaType(contentType)
		if f, ok = formats[mediaType]; err != nil || !ok {
			return 0, &apiError{
				status: http.StatusUnsupportedMediaType, code: "unsupported_media_type", field: "Content-Type",
				message: "Content-Type: one of application/x-ndjson, application/json and application/x-protobuf is required",
			}
		}
	}
	return f, nil
}

// postEvents appends the events of the body and answers when they are durable, or with wait=applied
// when they are folded.
func (a *API) postEvents(c *call) error {
	applied, err := c.waitsForApplied()
	if err != nil {
		return err
	}
	ticket, n, err := a.submit(c)
	if err != nil {
		return err
	}
	if err := ticket.Wait(c.r.Context()); err != nil {
		return notDurable(err)
	}
	a.accepted.Add(uint64(n))
	a.metrics.accepted.Add(float64(n))
	if applied {
		return a.answerOutcomes(c, ticket, n)
	}
	c.writeAnswer(appendPositions(appendAccepted(make([]byte, 0, smallAnswer), n), ticket.Positions()))
	return nil
}

func (c *call) waitsForApplied() (bool, error) {
	switch c.r.URL.RawQuery { // nearly all are one of these, and parsing allocates
	case "":
		return false, nil
	case "wait=applied":
		return true, nil
	}
	switch c.r.URL.Query().Get("wait") {
	case "", "durable":
		return false, nil
	case "applied":
		return true, nil
	}
	return false, invalid("wait", "neither durable nor applied")
}

// submit reads and decodes the whole body before it hands anything to the log: if any of it is
// malformed, nothing is appended.
func (a *API) submit(c *call) (*eventlog.Ticket, int, error) {
	limits := &a.cfg.Limits
	f, err := formatOf(c.r)
	if err != nil {
		return nil, 0, err
	}
	encoding, err := encodingOf(c.r)
	if err != nil {
		return nil, 0, err
	}
	key, err := idempotencyKey(c.r)
	if err != nil {
		return nil, 0, err
	}
	if c.r.ContentLength > limits.BodyBytes {
		return nil, 0, tooLargeBody(int(limits.BodyBytes))
	}
	t := intakes.Get().(*intake)
	defer t.end()
	if t.pass, err = a.gate.Enter(c.who(doorHTTP), c.r.ContentLength); err != nil {
		return nil, 0, a.refused(c, err)
	}
	if err := t.read(c, int(limits.BodyBytes)); err != nil {
		return nil, 0, a.refused(c, err)
	}
	wait := &lazyTimeout{Context: c.r.Context(), limit: limits.Submit}
	defer wait.stop()
	weight := int64(compressedBytes)
	if encoding == "" {
		weight = f.decodedBytes(*t.body, limits.Events)
	}
	if err := t.pass.Turn(wait, int64(len(*t.body)), weight); err != nil {
		return nil, 0, a.refused(c, err)
	}
	if encoding != "" {
		if err := t.decompress(encoding, int(limits.BodyBytes)); err != nil {
			return nil, 0, err
		}
		weight = f.decodedBytes(*t.body, limits.Events)
	}
	a.metrics.bodyBytes.Add(float64(len(*t.body)))
	t.events = eventSlabs.get(min(int(weight/events.EventBytes), limits.Events))
	if err := t.decode(f, c, limits.Events); err != nil {
		return nil, 0, err
	}
	if err := a.mayReport(c, len(*t.events)); err != nil {
		return nil, 0, err
	}
	if key != "" {
		events.NameEvents(key, *t.events)
	}
	ticket, err := a.cfg.Log.Submit(wait, *t.events)
	if errors.Is(err, eventlog.ErrOverloaded) {
		return nil, 0, a.refused(c, t.pass.Refused())
	}
	return ticket, len(*t.events), err
}

// compressedBytes is what a compressed body counts as, of which nobody knows what it becomes: one
// processor's share.
const compressedBytes = 2 << 20

// The doors of this edge, to the gate.
const (
	doorHTTP      = "http"
	doorQuestions = "questions"
)

// who is the call, to the gate.
func (c *call) who(door string) admission.Who {
	address := c.r.RemoteAddr
	if end := strings.LastIndexByte(address, ':'); end >= 0 {
		address = address[:end]
	}
	return admission.Who{App: c.app, User: c.User, Door: door, Address: address}
}

// refused has a refusal wait until it may be answered. Other errors are returned at once.
func (a *API) refused(c *call, err error) error {
	if _, ok := errors.AsType[*admission.Refusal](err); ok {
		a.gate.Pace(c.r.Context())
	}
	return err
}

// maxIdempotencyKey bounds the header Idempotency-Key, in bytes.
const maxIdempotencyKey = 255

// idempotencyKey is what the ids of the request's events are made of, empty if there is nothing.
func idempotencyKey(r *http.Request) (string, error) {
	values := r.Header["Idempotency-Key"]
	if len(values) == 0 {
		return "", nil
	}
	key := values[0]
	if len(values) > 1 || key == "" || len(key) > maxIdempotencyKey {
		return "", invalid("Idempotency-Key", "not one value of 1 to 255 bytes")
	}
	for i := range len(key) {
		if key[i] < ' ' || key[i] > '~' {
			return "", invalid("Idempotency-Key", "not printable ASCII")
		}
	}
	return key, nil
}

// decode fills the events. An event that names many messages is as many.
func (t *intake) decode(f format, c *call, limit int) error {
	add := func(i int, e *events.Event) error {
		if len(*t.events) >= limit {
			return tooManyEvents(limit)
		}
		if c.reporter != "" {
			if bad := notOwn(e, c.reporter); bad != nil {
				return invalidEvent(i, bad.Field, bad.Problem)
			}
		}
		list := append(*t.events, *e)
		list[len(list)-1].App = c.app
		*t.events = list
		return nil
	}
	t.decoder.User = c.reporter
	var err error
	switch f {
	case formatNDJSON:
		err = t.decoder.Decode(*t.body, events.FormatNDJSON, add)
	case formatJSON:
		err = t.decoder.Decode(*t.body, events.FormatJSON, add)
	case formatProtobuf:
		err = events.DecodeEventListOf(c.reporter, *t.body, add)
	}
	if bad, ok := errors.AsType[*events.EventError](err); ok {
		return invalidEvent(bad.Index, bad.Field, bad.Problem)
	}
	if errors.Is(err, events.ErrNoEvents) {
		return invalid("body", "no event in it")
	}
	return err
}

func tooManyEvents(limit int) *apiError {
	return &apiError{
		status: http.StatusRequestEntityTooLarge, code: "too_many_events", message: "more than " + strconv.Itoa(limit) + " events",
	}
}

// notDurable is the answer when the log had accepted the events and then failed: some of them may
// be stored.
func notDurable(err error) error {
	answer := *errUnknown
	if errors.Is(err, eventlog.ErrLogFull) {
		answer = *errLogFull
	}
	answer.cause = err
	return &answer
}

// answerOutcomes waits until every entry that holds one of the events is folded, and answers what
// became of each event.
func (a *API) answerOutcomes(c *call, ticket *eventlog.Ticket, n int) error {
	ctx, done := c.within(a.cfg.Limits.Apply)
	defer done()
	answer := append(appendAccepted(make([]byte, 0, smallAnswer+n*outcomeBytes), n), `,"outcomes":[`...)
	reader := gateway.OutcomeReader{State: a.cfg.State}
	i := 0
	for at := range ticket.Locations() {
		outcome, err := reader.Await(ctx, at)
		switch {
		case errors.Is(err, gateway.ErrFewOutcomes):
			return err
		case err != nil:
			return notApplied(err, ticket, n)
		}
		answer = appendOutcome(answer, i, outcome)
		i++
	}
	c.writeAnswer(append(answer, "]}\n"...))
	return nil
}

// notApplied is the answer when the outcomes are not known in time: the events are safe, and
// sending them again would be of no use.
func notApplied(err error, ticket *eventlog.Ticket, n int) error {
	answer := &apiError{
		status: http.StatusServiceUnavailable, code: codeNotApplied,
		message:  "the events are durable and will be applied, but were not in time for this answer",
		accepted: n, positions: ticket.Positions(), cause: err,
	}
	if errors.Is(err, projector.ErrOutcomeGone) {
		answer.code = "outcome_gone"
		answer.message = "the events are durable and were applied, but their outcomes are no longer remembered"
	}
	return answer
}

// Sizes of answers, in bytes: one to a single event or about positions, and what each event's
// outcome adds.
const (
	smallAnswer  = 96
	outcomeBytes = 40
)

func appendAccepted(dst []byte, n int) []byte {
	return strconv.AppendInt(append(dst, `{"accepted":`...), int64(n), 10)
}

func appendPositions(dst []byte, positions []eventlog.Position) []byte {
	dst = append(dst, `,"positions":[`...)
	for i, p := range positions {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(append(dst, `{"partition":`...), int64(p.Partition), 10)
		dst = strconv.AppendUint(append(dst, `,"sequence":`...), p.Sequence, 10)
		dst = append(dst, '}')
	}
	return append(dst, "]}\n"...)
}

// appendOutcome relies on reasons being plain ASCII.
func appendOutcome(dst []byte, i int, o events.Outcome) []byte {
	if i > 0 {
		dst = append(dst, ',')
	}
	dst = strconv.AppendInt(append(dst, `{"index":`...), int64(i), 10)
	dst = append(append(dst, `,"outcome":"`...), o.String()...)
	dst = append(dst, '"')
	if o.Rejected() {
		dst = strconv.AppendInt(append(dst, `,"code":`...), int64(o.Code()), 10)
		dst = append(append(append(dst, `,"reason":"`...), o.Reason()...), '"')
	}
	return append(dst, '}')
}

func (c *call) writeAnswer(body []byte) {
	c.w.Header()["Content-Type"] = isJSON
	_, _ = c.w.Write(body) // an error means that the client is gone
}
