package httpapi

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/gateway/ingest"
)

// ingestor is what POST events keeps from one request to the next, so that an event costs no
// allocation.
type ingestor struct {
	limits Limits
	// inflight is the bytes of all bodies in memory: what each request said it would send, from its
	// start until the log has taken its events.
	inflight atomic.Int64
	pool     sync.Pool
}

// intake is the memory of one request. The strings of events share body or decoder, so all three
// can be used again at the same time: when the log has taken the events.
type intake struct {
	body    []byte
	decoder events.Decoder
	events  []events.Event
}

func newIngestor(limits Limits) *ingestor {
	return &ingestor{limits: limits, pool: sync.Pool{New: func() any { return new(intake) }}}
}

// maxPooledBody bounds the memory that an unusually large request leaves behind.
const maxPooledBody = 1 << 20

func (in *ingestor) put(t *intake) {
	if cap(t.body) > maxPooledBody {
		t.body = nil
	}
	clear(t.events) // they hold on to the body
	t.events = t.events[:0]
	in.pool.Put(t)
}

// Budget is the room that bodies have in memory, for the doors that are not this API's.
func (a *API) Budget() gateway.Budget { return a.ingest }

// Take implements [gateway.Budget].
func (in *ingestor) Take(n int64) bool {
	if in.inflight.Add(n) > in.limits.InflightBytes {
		in.inflight.Add(-n)
		return false
	}
	return true
}

// Give implements [gateway.Budget].
func (in *ingestor) Give(n int64) { in.inflight.Add(-n) }

// reserve takes room in flight for a body of n bytes, -1 standing for the largest allowed, and
// returns how much that is.
func (in *ingestor) reserve(n int64) (room int64, err error) {
	if n < 0 {
		n = in.limits.BodyBytes
	}
	if !in.Take(n) {
		return 0, errOverloaded
	}
	return n, nil
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
	if applied {
		return a.answerOutcomes(c, ticket, n)
	}
	c.writeAnswer(ingest.AppendPositions(ingest.AppendAccepted(make([]byte, 0, ingest.SmallAnswer), n), ticket.Positions(), a.hint(c)))
	return nil
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
	in := a.ingest
	f, err := ingest.FormatOf(c.r.Header.Get("Content-Type"))
	if err != nil {
		return nil, 0, err
	}
	key, err := ingest.KeyOf("Idempotency-Key", c.r.Header["Idempotency-Key"])
	if err != nil {
		return nil, 0, err
	}
	if c.r.ContentLength > in.limits.BodyBytes {
		return nil, 0, tooLarge(fmt.Sprintf("the body is larger than %d bytes", in.limits.BodyBytes))
	}
	size := c.r.ContentLength
	if c.r.Header.Get("Content-Encoding") != "" {
		size = -1
	}
	room, err := in.reserve(size)
	if err != nil {
		return nil, 0, err
	}
	defer in.Give(room)
	t := in.pool.Get().(*intake)
	defer in.put(t)

	if err := t.read(c, in.limits.BodyBytes, size); err != nil {
		return nil, 0, err
	}
	a.metrics.bodyBytes.Add(float64(len(t.body)))
	b := ingest.Body{Data: t.body, Format: f, App: c.app, Limit: in.limits.Events}
	if c.reporter != "" {
		b.User, b.Check = c.reporter, notOwn
	}
	if t.events, err = b.Decode(t.events[:0], &t.decoder); err != nil {
		return nil, 0, err
	}
	if err := a.mayReport(c, len(t.events)); err != nil {
		return nil, 0, err
	}
	if key != "" {
		events.NameEvents(key, t.events)
	}
	wait := &lazyTimeout{Context: c.r.Context(), limit: in.limits.Submit}
	defer wait.stop()
	ticket, err := a.cfg.Log.Submit(wait, t.events)
	return ticket, len(t.events), err
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
