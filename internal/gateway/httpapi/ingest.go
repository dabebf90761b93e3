package httpapi

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/gateway/admission"
	"github.com/receiptd/receiptd/internal/gateway/ingest"
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
	intakes   = sync.Pool{New: func() any { return new(intake) }}
	eventPool = slicePool[events.Event]{least: 32, points: true}
)

// end gives back what the request holds.
func (t *intake) end() {
	t.pass.Release()
	eventPool.put(t.events)
	bodies.put(t.body)
	t.events, t.body = nil, nil
	intakes.Put(t)
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
		return ingest.NotDurable(err)
	}
	a.accepted.Add(uint64(n))
	a.metrics.accepted.Add(float64(n))
	if c.w.node != nil {
		c.w.stored = ticket.Positions()
	}
	if applied {
		return a.answerOutcomes(c, ticket, n)
	}
	c.writeAnswer(ingest.AppendPositions(ingest.AppendAccepted(make([]byte, 0, ingest.SmallAnswer), n), ticket.Positions(), a.hint(c)))
	return nil
}

// postImport is postEvents for history, which states its own time.
func (a *API) postImport(c *call) error {
	c.imports = true
	return a.postEvents(c)
}

// hint is what the answer says of the app's rejections: nothing to a user, whom they do
// not concern.
func (a *API) hint(c *call) []byte {
	if !c.Admin {
		return nil
	}
	return a.hints.Of(c.app)
}

func (c *call) waitsForApplied() (bool, error) {
	switch c.r.URL.RawQuery { // nearly all are one of these, and parsing allocates
	case "":
		return false, nil
	case "wait=applied":
		return true, nil
	}
	query := c.r.URL.Query()
	switch query.Get("wait") {
	case "durable":
		return false, nil
	case "applied":
		return true, nil
	}
	if !query.Has("wait") {
		return false, nil
	}
	return false, invalid("wait", "neither durable nor applied")
}

// submit reads and decodes the whole body before it hands anything to the log: if any of it is
// malformed, nothing is appended.
func (a *API) submit(c *call) (*eventlog.Ticket, int, error) {
	limits := &a.cfg.Limits
	f, err := ingest.FormatOf(c.r.Header.Get("Content-Type"))
	if err != nil {
		return nil, 0, err
	}
	encoding, err := encodingOf(c.r)
	if err != nil {
		return nil, 0, err
	}
	key, err := ingest.KeyOf("Idempotency-Key", c.r.Header["Idempotency-Key"])
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
		weight = f.DecodedBytes(*t.body, limits.Events)
	}
	if err := t.pass.Turn(wait, int64(len(*t.body)), weight); err != nil {
		return nil, 0, a.refused(c, err)
	}
	if encoding != "" {
		if err := t.decompress(encoding, int(limits.BodyBytes)); err != nil {
			return nil, 0, err
		}
		weight = f.DecodedBytes(*t.body, limits.Events)
	}
	a.metrics.bodyBytes.Add(float64(len(*t.body)))
	t.events = eventPool.get(min(int(weight/events.EventBytes), limits.Events))
	b := ingest.Body{Data: *t.body, Format: f, App: c.app, Limit: limits.Events}
	if c.reporter != "" {
		b.User, b.Check = c.reporter, notOwn
	}
	if c.imports {
		b.Until = time.Now().UnixMilli()
	}
	if *t.events, err = b.Decode((*t.events)[:0], &t.decoder); err != nil {
		return nil, 0, err
	}
	if err := a.mayReport(c, len(*t.events)); err != nil {
		return nil, 0, err
	}
	if key != "" {
		events.NameEvents(key, *t.events)
	}
	if c.reporter != "" && !c.Admin {
		c.groups = groupsOf(*t.events)
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
	doorStream    = "stream"
	doorQuestions = "questions"
)

// who is the call, to the gate.
func (c *call) who(door string) admission.Requester {
	address := c.r.RemoteAddr
	if end := strings.LastIndexByte(address, ':'); end >= 0 {
		address = address[:end]
	}
	return admission.Requester{App: c.app, User: c.User, Door: door, Address: address}
}

// refused has a refusal wait until it may be answered. Other errors are returned at once.
func (a *API) refused(c *call, err error) error {
	if _, ok := errors.AsType[*admission.Refusal](err); ok {
		a.gate.Pace(c.r.Context())
	}
	return err
}

// answerOutcomes waits until every entry that holds one of the events is folded, and answers what
// became of each event.
func (a *API) answerOutcomes(c *call, ticket *eventlog.Ticket, n int) error {
	ctx, done := c.within(a.cfg.Limits.Apply)
	defer done()
	answer := append(ingest.AppendAccepted(make([]byte, 0, ingest.SmallAnswer+n*ingest.OutcomeBytes), n), ingest.BeginOutcomes...)
	reader := gateway.OutcomeReader{State: a.cfg.State}
	i := 0
	for at := range ticket.Locations() {
		outcome, err := reader.Await(ctx, at)
		switch {
		case errors.Is(err, gateway.ErrFewOutcomes):
			return err
		case err != nil:
			return ingest.NotApplied(err, n, ticket.Positions())
		}
		if c.groups != nil {
			if outcome, err = gateway.VisibleOutcome(a.cfg.State, c.app, c.groups[i], c.User, outcome); err != nil {
				return err
			}
		}
		answer = ingest.AppendOutcome(answer, i == 0, i, outcome)
		i++
	}
	c.writeAnswer(append(answer, ingest.EndOutcomes...))
	return nil
}

func (c *call) writeAnswer(body []byte) {
	c.w.Header()["Content-Type"] = isJSON
	_, _ = c.w.Write(body) // an error means that the client is gone
}
