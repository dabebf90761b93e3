package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/gateway/admission"
)

// Refusal is why events are not taken, or why it is not known what became of them. Every door says
// it in the same words; the codes are part of the API. The other errors of the HTTP API are made of
// it, too.
type Refusal struct {
	// Status is an HTTP status.
	Status        int
	Code, Message string
	// Field is the parameter, header or field that is wrong, if it is one.
	Field string
	// Index is the event that is wrong, if it is one.
	Index *int
	// RetryAfter, in seconds, says when it pays to come back; 0 = it does not.
	RetryAfter int
	// Accepted events at these positions are durable all the same.
	Accepted  int
	Positions []eventlog.Position
	// Cause is what the layers below said.
	Cause error
}

// Error is the message.
func (r *Refusal) Error() string { return r.Message }

// Unwrap is the cause.
func (r *Refusal) Unwrap() error { return r.Cause }

// Body is the refusal as the JSON that every door answers with, on a line of its own.
func (r *Refusal) Body() []byte {
	type info struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Index   *int   `json:"index,omitempty"`
		Field   string `json:"field,omitempty"`
	}
	body, err := json.Marshal(struct {
		Error     info                `json:"error"`
		Accepted  int                 `json:"accepted,omitempty"`
		Positions []eventlog.Position `json:"positions,omitempty"`
	}{info{r.Code, r.Message, r.Index, r.Field}, r.Accepted, r.Positions})
	if err != nil {
		panic(err) // nothing in it that cannot be JSON
	}
	return append(body, '\n')
}

// because returns a copy with a cause.
func (r *Refusal) because(cause error) *Refusal {
	with := *r
	with.Cause = cause
	return &with
}

// The refusals that are the same for every request.
var (
	Overloaded  = &Refusal{Status: http.StatusServiceUnavailable, Code: "overloaded", Message: "too much is under way; nothing of the request was stored", RetryAfter: 1}
	Unavailable = &Refusal{Status: http.StatusServiceUnavailable, Code: "unavailable", Message: "the log cannot store events now; nothing of the request was stored", RetryAfter: 2}
	Unknown     = &Refusal{Status: http.StatusServiceUnavailable, Code: "unknown_outcome", Message: "not known whether the events are stored; send them again, with the same event ids or Idempotency-Key", RetryAfter: 1}
	LogFull     = &Refusal{Status: http.StatusServiceUnavailable, Code: "log_full", Message: "the log has no room; send the events again when it has, with the same event ids or Idempotency-Key", RetryAfter: 30}
	Timeout     = &Refusal{Status: http.StatusServiceUnavailable, Code: "timeout", Message: "not done in time", RetryAfter: 1}
	NoApp       = &Refusal{Status: http.StatusNotFound, Code: "app_not_found", Message: "no such app"}
	internal    = &Refusal{Status: http.StatusInternalServerError, Code: "internal", Message: "internal error"}
)

// CodeNotApplied: the events are durable, but their outcomes were not known in time.
const CodeNotApplied = "not_applied"

// Invalid refuses a parameter, header or field.
func Invalid(field, problem string) *Refusal {
	return &Refusal{Status: http.StatusBadRequest, Code: "invalid_request", Message: field + ": " + problem, Field: field}
}

func invalidEvent(index int, field, problem string) *Refusal {
	r := &Refusal{Status: http.StatusBadRequest, Code: "invalid_event", Field: field, Index: &index}
	r.Message = (&events.EventError{Index: index, Field: field, Problem: problem}).Error()
	return r
}

// TooLarge refuses a body that is larger than the limit.
func TooLarge(message string) *Refusal {
	return &Refusal{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Message: message}
}

// RefusalOf is the refusal for an error of the gate, of the log, of the search for an app, or of
// the wait for an answer.
func RefusalOf(err error) *Refusal {
	if r, ok := FindRefusal(err); ok {
		return r
	}
	return internal.because(err)
}

// FindRefusal is [RefusalOf] for an error that may come from elsewhere: ok is false then.
func FindRefusal(err error) (r *Refusal, ok bool) {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r, true
	}
	if r, ok := errors.AsType[*admission.Refusal](err); ok {
		return refusedByGate(r), true
	}
	for _, known := range []struct {
		err    error
		answer *Refusal
	}{
		{eventlog.ErrUnknownOutcome, Unknown}, // before ErrUnavailable, which it may come with
		{eventlog.ErrOverloaded, Overloaded},
		{eventlog.ErrLogFull, LogFull}, // this too
		{eventlog.ErrUnavailable, Unavailable},
		{eventlog.ErrClosed, Unavailable},
		{projector.ErrNoApp, NoApp},
		{context.DeadlineExceeded, Timeout},
	} {
		if errors.Is(err, known.err) {
			return known.answer.because(err), true
		}
	}
	return nil, false
}

// refusedByGate is the refusal of what the gate does not let in.
func refusedByGate(r *admission.Refusal) *Refusal {
	e := Overloaded.because(r)
	e.RetryAfter = int(r.RetryAfter / time.Second)
	if r.Reason == admission.OverShare {
		e.Status = http.StatusTooManyRequests
		e.Message = "the app has too much under way, while others have something, too; nothing of the request was stored"
	}
	return e
}

// NotDurable is the refusal when the log had taken the events and then failed: some of them may be
// stored.
func NotDurable(err error) *Refusal {
	if errors.Is(err, eventlog.ErrLogFull) {
		return LogFull.because(err)
	}
	return Unknown.because(err)
}

// NotApplied is the refusal when the outcomes of n events are not known in time: the events are
// safe, and sending them again would be of no use.
func NotApplied(err error, n int, positions []eventlog.Position) *Refusal {
	r := &Refusal{
		Status: http.StatusServiceUnavailable, Code: CodeNotApplied,
		Message:  "the events are durable and will be applied, but were not in time for this answer",
		Accepted: n, Positions: positions, Cause: err,
	}
	if errors.Is(err, projector.ErrOutcomeGone) {
		r.Code = "outcome_gone"
		r.Message = "the events are durable and were applied, but their outcomes are no longer remembered"
	}
	return r
}
