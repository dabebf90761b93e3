package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/gateway/admission"
	"github.com/receiptd/receiptd/internal/gateway/ingest"
)

const (
	// uploadBlock is what a stream has to read into while little comes, and uploadChunk when much
	// does: how much is read, decoded and submitted at once at most, longer lines apart. The last
	// line of it need not be complete.
	uploadBlock = 4 << 10
	uploadChunk = 64 << 10
	// uploadUnanswered bounds the chunks of a stream that are submitted and not answered: nothing
	// more is read then, and the client's socket fills up.
	uploadUnanswered = 8
	// uploadEvents is how many a chunk has, usually. Lines that name many messages make more.
	uploadEvents = 1024
	// uploadLine bounds a line. No entry of the log holds a larger event.
	uploadLine = events.MaxBatchBytes
	// uploadFrom bounds where a count may begin: so far a client of any language counts exactly.
	uploadFrom = 1 << 53
)

// Why a stream of events ends before its client ends it.
var (
	errUploadDrain = &ingest.Refusal{
		Status: http.StatusServiceUnavailable, Code: "shutting_down", RetryAfter: 1,
		Message: "the server stops; what is counted as accepted is durable, send the rest on another connection",
	}
	errUploadIdle = &ingest.Refusal{
		Status: http.StatusRequestTimeout, Code: "idle", Message: "no complete line came for too long",
	}
	errUploadLine = ingest.TooLarge(fmt.Sprintf("a line is larger than %d bytes", uploadLine))
	errUploadSlow = errors.New("httpapi: the client does not read its answers")
)

// upload is a stream of events that is being taken. One goroutine reads, decodes and submits, and
// another one answers, in the order of the stream.
type upload struct {
	a       *API
	c       *call
	control *http.ResponseController
	applied bool
	key     string // names the events, if it is not empty

	// The reader's.
	room     admission.Room // for the buffer
	buffer   *[]byte
	taken    int       // of the buffer: the lines that were handed on
	used     int       // of it, when something was read last
	partial  time.Time // when the line that is not complete began; zero if there is none
	deadline time.Time // that was set last
	decoder  events.Decoder
	count    int // of the events submitted, from where the client's count begins

	ending sync.Mutex
	over   bool // the handler returns

	unanswered chan uploaded
	end        error // why the reader ended; set before unanswered is closed
}

// uploaded is a chunk that the log has.
type uploaded struct {
	ticket *eventlog.Ticket
	n      int
}

// postEventStream takes lines of events for as long as the client sends them and answers, on the
// same connection and in their order, how many are durable or, with wait=applied, what was decided.
func (a *API) postEventStream(c *call) error {
	u := &upload{a: a, c: c, control: http.NewResponseController(c.w.ResponseWriter), room: a.gate.Room(c.who(doorStream))}
	if err := u.ask(); err != nil {
		return err
	}
	defer u.leave()
	if err := u.grow(uploadBlock); err != nil {
		return a.refused(c, err)
	}
	if err := u.start(); err != nil {
		return err
	}
	a.metrics.uploads.Inc()
	defer a.metrics.uploads.Dec()

	// The request's own context ends with any failed read, a deadline's too: what was taken by then
	// is to be answered all the same.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(c.r.Context()))
	defer cancel(nil)
	// Reading is what cannot be told to end otherwise.
	defer u.finish()
	defer context.AfterFunc(a.draining, u.interrupt)()
	defer context.AfterFunc(ctx, u.interrupt)()

	first := u.count
	u.unanswered = make(chan uploaded, uploadUnanswered)
	answered := make(chan error, 1)
	go func() {
		err := u.answer(ctx, first)
		cancel(err)
		for range u.unanswered { // so that the reader meets the end
		}
		answered <- err
	}()
	u.end = u.receive(ctx)
	close(u.unanswered)
	err := <-answered
	if u.end != nil { // the client may be sending still, and has to see why it should not
		u.finish()
		DrainBody(c.w, c.r, drainBodies*a.cfg.Limits.BodyBytes)
	}
	return err
}

// ask reads the headers and parameters.
func (u *upload) ask() (err error) {
	r := u.c.r
	switch f, err := ingest.FormatOf(r.Header.Get("Content-Type")); {
	case err != nil:
		return err
	case f != ingest.NDJSON, r.Header.Get("Content-Encoding") != "":
		return newFieldError(http.StatusUnsupportedMediaType, "unsupported_media_type", "Content-Type", "application/x-ndjson, not compressed")
	}
	if u.key, err = ingest.KeyOf("Idempotency-Key", r.Header["Idempotency-Key"]); err != nil {
		return err
	}
	if u.applied, err = u.c.waitsForApplied(); err != nil {
		return err
	}
	if from := r.URL.Query().Get("from"); from != "" {
		if u.count, err = strconv.Atoi(from); err != nil || u.count < 0 || u.count > uploadFrom {
			return invalid("from", "not the number of events that were accepted before")
		}
	}
	return nil
}

// start begins the answer, so that the client knows that it may send.
func (u *upload) start() error {
	if err := u.control.EnableFullDuplex(); err != nil {
		return fmt.Errorf("read and write at the same time: %w", err)
	}
	if u.c.r.Header.Get("Expect") != "" {
		u.c.w.ResponseWriter.WriteHeader(http.StatusContinue)
	}
	h := u.c.w.Header()
	h.Set("Content-Type", "application/x-ndjson")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // a proxy that gathers the answer would hold it back for ever
	if u.c.r.ProtoMajor == 1 {
		h.Set("Connection", "close") // what is left of the body is not the next request
	}
	u.c.w.WriteHeader(http.StatusOK)
	return u.write(nil)
}

// write sends a line, unless the client leaves its socket full for too long.
func (u *upload) write(line []byte) error {
	if err := u.c.send(u.control, line, u.a.cfg.Limits.StreamWrite); err != nil {
		return fmt.Errorf("%w: %w", errUploadSlow, err)
	}
	return nil
}

// interrupt ends the reading, now and from now on. It may come late, when the connection is no
// longer the call's.
func (u *upload) interrupt() {
	u.ending.Lock()
	defer u.ending.Unlock()
	if !u.over {
		_ = u.control.SetReadDeadline(time.Unix(1, 0))
	}
}

// finish interrupts for the last time: nobody is interested in the rest of the body.
func (u *upload) finish() {
	u.interrupt()
	u.ending.Lock()
	defer u.ending.Unlock()
	u.over = true
}

// receive submits what comes until the client ends the stream, which is no error, or something else
// does.
func (u *upload) receive(ctx context.Context) error {
	for {
		lines, end := u.read(ctx)
		if len(lines) > 0 {
			if err := u.submit(ctx, lines); err != nil {
				return err
			}
		}
		switch {
		case end == nil:
			continue
		case errors.Is(end, io.EOF):
			return nil
		case u.a.draining.Err() != nil:
			return errUploadDrain
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(end, os.ErrDeadlineExceeded):
			return errUploadIdle
		}
		return end
	}
}

// submit hands the events of some lines to the log and, once it has them, on to be answered. Those
// before a malformed line are taken.
func (u *upload) submit(ctx context.Context, lines []byte) error {
	wait := &lazyTimeout{Context: ctx, limit: u.a.cfg.Limits.Request}
	ticket, n, bad := u.take(wait, lines)
	wait.stop()
	if ticket != nil {
		u.count += n
		u.unanswered <- uploaded{ticket, n} // until the channel is closed, somebody takes them
	}
	return bad
}

// take decodes some lines when it is the app's turn, and submits their events. Nobody waits here
// for room but this stream, and with it its client: it is not refused because others wait.
func (u *upload) take(ctx context.Context, lines []byte) (*eventlog.Ticket, int, error) {
	u.a.metrics.bodyBytes.Add(float64(len(lines)))
	who := u.c.who(doorStream)
	who.Waits = true
	pass, err := u.a.gate.Enter(who, int64(len(lines)))
	if err != nil {
		return nil, 0, err
	}
	defer pass.Release()
	weight := events.FormatNDJSON.DecodedBytes(lines, math.MaxInt)
	if err := pass.Turn(ctx, int64(len(lines)), weight); err != nil {
		return nil, 0, err
	}
	pooled := eventPool.get(min(int(weight/events.EventBytes), uploadEvents))
	defer eventPool.put(pooled)
	evs, bad := u.decode(lines, (*pooled)[:0])
	*pooled = evs
	if len(evs) == 0 {
		return nil, 0, bad
	}
	if u.key != "" {
		events.NameEventsFrom(u.key, u.count, evs)
	}
	ticket, err := u.a.cfg.Log.Submit(ctx, evs)
	if errors.Is(err, eventlog.ErrOverloaded) {
		err = pass.Refused()
	}
	if err != nil {
		return nil, 0, err
	}
	return ticket, len(evs), bad
}

// decode appends the events of some lines, and says what is wrong with the one after them.
func (u *upload) decode(lines []byte, evs []events.Event) ([]events.Event, error) {
	bad := u.decoder.Decode(lines, events.FormatNDJSON, func(_ int, e *events.Event) error {
		evs = append(evs, *e)
		evs[len(evs)-1].App = u.c.app
		return nil
	})
	if errors.Is(bad, events.ErrNoEvents) { // blank lines, which keep a stream from being idle
		return evs, nil
	}
	if wrong, ok := errors.AsType[*events.EventError](bad); ok {
		wrong.Index = u.count + len(evs) // a line may be many events
	}
	return evs, ingest.Malformed(bad)
}
