package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/gateway/ingest"
)

const (
	// uploadChunk is how much of a stream is read, decoded and submitted at once at most. The last
	// line of it need not be complete.
	uploadChunk = 64 << 10
	// uploadUnanswered bounds the chunks of a stream that are submitted and not answered: nothing
	// more is read then, and the client's socket fills up.
	uploadUnanswered = 8
	// uploadLine bounds a line. No entry of the log holds a larger event.
	uploadLine = events.MaxBatchBytes
	// uploadBytes is what a stream is taken to need in memory, longer lines apart: a chunk, and its
	// events.
	uploadBytes = uploadChunk + uploadEvents*uploadEventBytes
	// uploadEvents are those of a chunk, usually. Lines that name many messages make more.
	uploadEvents     = 1000
	uploadEventBytes = int64(unsafe.Sizeof(events.Event{}))
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
	room    int64  // taken of the budget

	// The reader's.
	buf      []byte
	taken    int       // of buf: the lines that were handed on
	partial  time.Time // when the line that is not complete began; zero if there is none
	deadline time.Time // that was set last
	decoder  events.Decoder
	events   []events.Event
	count    int // of the events submitted, from where the client's count begins

	roomOfEvents int64 // of the room, what is for the events of a chunk

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
	u := &upload{a: a, c: c, control: http.NewResponseController(c.w.ResponseWriter), room: uploadBytes, roomOfEvents: uploadEvents * uploadEventBytes}
	if err := u.ask(); err != nil {
		return err
	}
	if !a.gate.Take(u.room) {
		return errOverloaded
	}
	defer func() { a.gate.Give(u.room) }()
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
		if u.count, err = strconv.Atoi(from); err != nil || u.count < 0 {
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

// read returns the complete lines that have come, or all that is left at the end of the body, with
// the reason why nothing comes any more. They are valid until the next call.
func (u *upload) read(ctx context.Context) (lines []byte, end error) {
	held := copy(u.buf, u.buf[u.taken:])
	u.buf, u.taken = u.buf[:held], 0
	for {
		if err := u.grow(); err != nil {
			return nil, err
		}
		if err := u.wait(ctx); err != nil {
			return nil, err
		}
		n, err := u.c.r.Body.Read(u.buf[held:cap(u.buf)])
		u.buf = u.buf[:held+n]
		switch {
		case errors.Is(err, io.EOF):
			u.taken = len(u.buf)
			return u.buf, err
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, err
		case err != nil:
			return nil, bodyError(err) // a line that was cut off is none
		}
		if last := bytes.LastIndexByte(u.buf[held:], '\n'); last >= 0 {
			u.taken = held + last + 1
			u.partial = time.Time{}
			return u.buf[:u.taken], nil
		}
		held = len(u.buf)
	}
}

// grow makes room for more of a line.
func (u *upload) grow() error {
	if len(u.buf) < cap(u.buf) {
		return nil
	}
	if len(u.buf) >= uploadLine {
		return errUploadLine
	}
	size := max(uploadChunk, 2*cap(u.buf))
	if size > uploadChunk {
		more := int64(size - cap(u.buf))
		if !u.a.gate.Take(more) {
			return errOverloaded
		}
		u.room += more
	}
	u.buf = append(make([]byte, 0, size), u.buf...)
	return nil
}

// wait bounds the read that follows: by the time between two lines, or by that which a line may
// take.
func (u *upload) wait(ctx context.Context) error {
	deadline := time.Now()
	if len(u.buf) == 0 {
		deadline = deadline.Add(u.a.cfg.Limits.UploadIdle)
	} else {
		if u.partial.IsZero() {
			u.partial = deadline
		}
		deadline = u.partial.Add(u.a.cfg.Limits.Request)
	}
	// One that is a little early is as good.
	if late := deadline.Sub(u.deadline); late < 0 || late > u.a.cfg.Limits.UploadIdle/8 {
		u.deadline = deadline
		_ = u.control.SetReadDeadline(deadline) // where there are none, as in tests, there are none
	}
	// After that, since an interrupt may just have been overwritten.
	if ctx.Err() != nil || u.a.draining.Err() != nil {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// submit hands the events of some lines to the log. Those before a malformed line are taken.
func (u *upload) submit(ctx context.Context, lines []byte) error {
	u.a.metrics.bodyBytes.Add(float64(len(lines)))
	u.events = u.events[:0]
	bad := u.decoder.Decode(lines, events.FormatNDJSON, func(_ int, e *events.Event) error {
		u.events = append(u.events, *e)
		u.events[len(u.events)-1].App = u.c.app
		return nil
	})
	defer clear(u.events)
	if wrong, ok := errors.AsType[*events.EventError](bad); ok {
		wrong.Index = u.count + len(u.events) // a line may be many events
	}
	if errors.Is(bad, events.ErrNoEvents) { // blank lines, which keep a stream from being idle
		return nil
	}
	n := len(u.events)
	if n == 0 {
		return ingest.Malformed(bad)
	}
	if more := int64(cap(u.events))*uploadEventBytes - u.roomOfEvents; more > 0 {
		if !u.a.gate.Take(more) {
			return errOverloaded
		}
		u.room, u.roomOfEvents = u.room+more, u.roomOfEvents+more
	}
	if u.key != "" {
		events.NameEventsFrom(u.key, u.count, u.events)
	}
	wait := &lazyTimeout{Context: ctx, limit: u.a.cfg.Limits.Request}
	ticket, err := u.a.cfg.Log.Submit(wait, u.events)
	wait.stop()
	if err != nil {
		return err
	}
	u.count += n
	u.unanswered <- uploaded{ticket, n} // until the channel is closed, somebody takes them
	return ingest.Malformed(bad)
}
