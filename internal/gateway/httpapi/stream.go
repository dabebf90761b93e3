package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"time"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
)

// Why a stream ends: the reasons of the closing event and of the metric.
var (
	errStreamShutdown = errors.New("shutdown")
	errStreamExpired  = errors.New("token_expired")
	errStreamSlow     = errors.New("slow")
	errStreamGone     = errors.New("gone")
	errStreamCrowded  = errors.New("too_many_streams") // its slot has gone to another app
)

const (
	// summaryPage bounds the summary items in one statistic event.
	summaryPage = 200
	// retryMillis is how long a browser waits before it connects again.
	retryMillis = "2000"
)

// getStream sends a user what happens to their messages, as Server-Sent Events.
//
// The id of an event is a cursor of the user's summary: it stands for all that the stream has sent
// so far. A client that comes back with the last id it got acknowledges all of that, and is sent
// the rest as a summary, so a connection may break anywhere without a receipt being lost. Events
// without an id leave the cursor where it was. An id of another log acknowledges nothing: the
// client is told to resync, and sent the summary.
//
// A device that names itself has a summary of its own, and is known from its first stream on.
func (a *API) getStream(c *call) error {
	user := c.r.PathValue("user")
	device, err := c.device()
	if err != nil {
		return err
	}
	var seen []uint64
	foreign := false
	if id := c.r.Header.Get("Last-Event-ID"); id != "" {
		seen, err = a.summaries.Upto(c.app, user, device, id)
		if foreign = errors.Is(err, notify.ErrForeignCursor); err != nil && !foreign {
			return invalidCursor("Last-Event-ID")
		}
	}
	if c.r.Method == http.MethodHead {
		startStream(c.w)
		return nil
	}
	if seen != nil || device != "" { // it is written down
		if err := a.mayWrite(c); err != nil {
			return err
		}
	}
	ctx, cancel := a.streamContext(c)
	defer cancel(nil)
	release, err := a.streams.admit(c.app, user, func() { cancel(errStreamCrowded) })
	if err != nil {
		return err
	}
	defer release()
	a.metrics.streams.Inc()
	defer a.metrics.streams.Dec()

	// Before anything else, so that what is folded from here on is either in the summary or comes
	// as an event.
	sub := a.cfg.Notify.Subscribe(c.app, user, events.MessageRead, events.ConversationRead, events.ConversationMarkedUnread)
	defer sub.Close()
	if err := a.acknowledgeFirst(ctx, c, user, device, seen); err != nil {
		return err
	}
	summary, err := a.summaries.Summary(c.app, user, device)
	if err != nil {
		return err
	}
	s := &stream{a: a, c: c, user: user, device: device, sub: sub, control: http.NewResponseController(c.w)}
	if foreign {
		s.event("resync", struct{}{}, "")
	}
	reason := s.run(ctx, summary)
	s.close(reason)
	a.metrics.ended.WithLabelValues(reason.Error()).Inc()
	return nil
}

// acknowledgeFirst takes from the summary what an earlier stream sent. A device that has had none
// is made known; where that is not possible now, the stream is of use all the same.
func (a *API) acknowledgeFirst(ctx context.Context, c *call, user, device string, seen []uint64) error {
	ctx, done := context.WithTimeout(ctx, a.cfg.Limits.Request)
	defer done()
	switch {
	case seen != nil:
		return a.cfg.Commands.Seen(ctx, c.app, user, device, seen)
	case device != "":
		if err := a.cfg.Commands.Seen(ctx, c.app, user, device, make([]uint64, a.summaries.Partitions)); err != nil {
			a.cfg.Logger.WarnContext(ctx, "stream: a new device could not be noted", "error", err)
		}
	}
	return nil
}

// streamContext ends with the connection, with the token, when the gateway drains, and by the
// function that is returned; its cause says which.
func (a *API) streamContext(c *call) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(c.r.Context())
	undrain := context.AfterFunc(a.draining, func() { cancel(errStreamShutdown) })
	expiry := func() bool { return true }
	if !c.Expires.IsZero() {
		expiry = time.AfterFunc(time.Until(c.Expires), func() { cancel(errStreamExpired) }).Stop
	}
	return ctx, func(cause error) {
		undrain()
		expiry()
		cancel(cause)
	}
}

// stream is one open connection.
type stream struct {
	a       *API
	c       *call
	user    string
	device  string // as it names itself; empty if it does not
	sub     *notify.Subscription
	control *http.ResponseController
	// upto is how far the client was sent each partition; its text is the cursor.
	upto []uint64
	buf  bytes.Buffer
}

func startStream(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // a proxy that gathers the answer would hold it back for ever
	w.WriteHeader(http.StatusOK)
}

// run sends until something ends the stream, and returns what did.
func (s *stream) run(ctx context.Context, summary notify.Summary) (reason error) {
	startStream(s.c.w)
	s.buf.WriteString("retry: " + retryMillis + "\n\n")
	s.summary(summary)
	for {
		if err := s.flush(); err != nil {
			return err
		}
		push, err := s.next(ctx)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return s.cause(ctx)
		case errors.Is(err, context.DeadlineExceeded):
			s.buf.WriteString(":\n\n")
			continue
		default: // notify was closed
			return errStreamShutdown
		}
		switch {
		case push.Resync:
			err = s.resync()
		case push.Missed != nil:
			err = s.missed(push.Missed)
		default:
			s.push(push)
		}
		if err != nil {
			return err
		}
	}
}

// next waits for something to send, but no longer than a heartbeat.
func (s *stream) next(ctx context.Context) (notify.Push, error) {
	ctx, cancel := context.WithTimeout(ctx, s.a.cfg.Limits.Heartbeat)
	defer cancel()
	return s.sub.Next(ctx)
}

func (s *stream) cause(ctx context.Context) error {
	for _, reason := range []error{errStreamShutdown, errStreamExpired, errStreamCrowded} {
		if errors.Is(context.Cause(ctx), reason) {
			return reason
		}
	}
	return errStreamGone
}

// summary writes the summary as statistic events, if there is anything in it, and sets the cursor
// to it. What it tells of is not pushed besides.
func (s *stream) summary(summary notify.Summary) {
	s.sub.SkipUpto(summary.Upto)
	s.upto = notify.Higher(s.upto, summary.Upto)
	for page := range summary.Pages(summaryPage) {
		s.event("statistic", gateway.NewSummaryBody(page), page.Cursor)
	}
}

// resync tells a client that it fell behind, and starts again from the summary, which has all that
// was dropped.
func (s *stream) resync() error {
	s.event("resync", struct{}{}, "")
	summary, err := s.a.summaries.Summary(s.c.app, s.user, s.device)
	if err != nil {
		s.a.cfg.Logger.ErrorContext(s.c.r.Context(), "stream: the summary could not be read", "error", err)
		return errStreamGone
	}
	s.summary(summary)
	return nil
}

// missed tells a client what was not pushed to it. It need not know that: nothing that it has is
// wrong.
func (s *stream) missed(after map[int]uint64) error {
	summary, err := s.a.summaries.Missed(s.c.app, s.user, s.device, after, s.upto)
	if err != nil {
		s.a.cfg.Logger.ErrorContext(s.c.r.Context(), "stream: what was not pushed could not be read", "error", err)
		return errStreamGone
	}
	s.summary(summary)
	return nil
}

type readBody struct {
	Message string `json:"message"`
	Group   string `json:"group,omitempty"`
	// User is who read it: the last one if there are several. It is left out where readers are
	// counted only.
	User     string    `json:"user,omitempty"`
	ReadAt   timestamp `json:"read_at"`
	Content  string    `json:"content,omitempty"`
	Count    int       `json:"count"`
	Eligible int       `json:"eligible"`
}

type deliveredBody struct {
	Message     string    `json:"message"`
	User        string    `json:"user"`
	DeliveredAt timestamp `json:"delivered_at"`
}

// ownReadBody and ownConversationBody tell users' own devices what they did on one of them.
type ownReadBody struct {
	Message string    `json:"message"`
	Group   string    `json:"group,omitempty"`
	Peer    string    `json:"peer,omitempty"`
	ReadAt  timestamp `json:"read_at"`
	Unread  int       `json:"unread"`
}

type ownConversationBody struct {
	Group      string    `json:"group,omitempty"`
	Peer       string    `json:"peer,omitempty"`
	Unread     int       `json:"unread"`
	LastReadAt timestamp `json:"last_read_at"`
}

type ownMarkBody struct {
	Group  string `json:"group,omitempty"`
	Peer   string `json:"peer,omitempty"`
	Unread int    `json:"unread"`
	Marked bool   `json:"marked_unread"`
}

type conversationReadBody struct {
	User   string    `json:"user"`
	ReadAt timestamp `json:"read_at"`
}

// push writes one event for each message. Only the last has the cursor: it stands for all of them.
func (s *stream) push(push notify.Push) {
	cursor := ""
	if push.Upto != nil {
		for p, sequence := range push.Upto {
			s.upto[p] = max(s.upto[p], sequence)
		}
		cursor = s.a.summaries.Cursor(s.c.app, s.user, s.device, s.upto)
	}
	for i, n := range push.Notifications {
		id := ""
		if i == len(push.Notifications)-1 {
			id = cursor
		}
		if n.Own {
			s.own(&n, id)
			continue
		}
		switch n.Kind {
		case events.MessageDelivered:
			s.event("delivered", deliveredBody{n.Message, n.Reader, timestamp(n.At)}, id)
		case events.MessageRead:
			s.event("read", readBody{n.Message, n.Group, n.Reader, timestamp(n.At), n.Content, n.Count, n.Eligible}, id)
		case events.ConversationRead:
			s.event("conversation_read", conversationReadBody{n.Reader, timestamp(n.At)}, id)
		}
	}
}

// own writes what the user did themselves, on whichever device.
func (s *stream) own(n *notify.Notification, id string) {
	switch n.Kind {
	case events.MessageRead:
		s.event("own_read", ownReadBody{n.Message, n.Group, n.Peer, timestamp(n.At), n.Unread}, id)
	case events.ConversationRead:
		s.event("own_conversation_read", ownConversationBody{n.Group, n.Peer, n.Unread, timestamp(n.At)}, id)
	case events.ConversationMarkedUnread:
		s.event("own_marked_unread", ownMarkBody{n.Group, n.Peer, n.Unread, n.Marked}, id)
	}
}

// event appends an event to what is sent next. JSON has no line breaks, so data is one line.
func (s *stream) event(name string, data any, id string) {
	body, err := json.Marshal(data)
	if err != nil {
		panic(err) // a type of ours that cannot be JSON
	}
	s.buf.WriteString("event: " + name + "\n")
	if id != "" {
		s.buf.WriteString("id: " + id + "\n")
	}
	s.buf.WriteString("data: ")
	s.buf.Write(body)
	s.buf.WriteString("\n\n")
	s.a.metrics.pushed.WithLabelValues(name).Inc()
}

// maxIdleBuffer bounds the memory a stream keeps after a burst.
const maxIdleBuffer = 16 << 10

// flush sends what was written. A client that does not take it in time is dropped; while flush
// waits, the subscription goes on merging.
func (s *stream) flush() error {
	err := s.c.send(s.control, s.buf.Bytes(), s.a.cfg.Limits.StreamWrite)
	s.buf.Reset()
	if s.buf.Cap() > maxIdleBuffer {
		s.buf = bytes.Buffer{}
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errStreamSlow
	case err != nil:
		return errStreamGone
	}
	return nil
}

// send writes a part of an answer that has no end, unless the client leaves its socket full for so
// long.
func (c *call) send(control *http.ResponseController, part []byte, limit time.Duration) error {
	_ = control.SetWriteDeadline(time.Now().Add(limit))
	if _, err := c.w.Write(part); err != nil {
		return err
	}
	if err := control.Flush(); err != nil {
		return err
	}
	if c.r.ProtoMajor > 1 { // there it would end the answer, even if nothing is written
		_ = control.SetWriteDeadline(time.Time{})
	}
	return nil
}

// close tells the client why, where it can still be told.
func (s *stream) close(reason error) {
	if errors.Is(reason, errStreamSlow) || errors.Is(reason, errStreamGone) {
		return
	}
	s.event("closing", map[string]string{"reason": reason.Error()}, "")
	_ = s.flush()
}
