package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/gateway/admission"
	"github.com/receiptd/receiptd/internal/gateway/ingest"
	"github.com/receiptd/receiptd/projections"
)

// apiError is an answer other than a success. The codes are part of the API: clients choose by
// them.
type apiError struct {
	status  int
	code    string
	message string
	// field is the parameter, header or field of the body that is wrong, if it is one.
	field string
	// index is the event of a request that is wrong.
	index *int
	// retryAfter, in seconds, when it pays to come back.
	retryAfter int
	// positions of events that are durable although the request failed.
	accepted  int
	positions []eventlog.Position
	// ambiguous are the conversations that an id may be meant to be of.
	ambiguous *projections.AmbiguousError
	// allow lists the methods of a path.
	allow string
	// readiness is what the server can do, where that was asked.
	readiness *readiness
	cause     error
}

func (e *apiError) Error() string { return e.message }

// problem is the message without the field that it begins with.
func (e *apiError) problem() string { return strings.TrimPrefix(e.message, e.field+": ") }
func (e *apiError) Unwrap() error   { return e.cause }

var (
	errUnauthorized     = &apiError{status: http.StatusUnauthorized, code: "unauthorized", message: "an admin key or a user token is required: Authorization: Bearer …"}
	errGuessing         = &apiError{status: http.StatusTooManyRequests, code: "too_many_attempts", message: "too many wrong keys came from this address", retryAfter: 10}
	errTokenExpired     = &apiError{status: http.StatusUnauthorized, code: "token_expired", message: "the token has expired"}
	errForbidden        = &apiError{status: http.StatusForbidden, code: "forbidden", message: "not allowed for this token"}
	errNoSuchPath       = &apiError{status: http.StatusNotFound, code: "not_found", message: "no such path"}
	errNoApp            = fromRefusal(ingest.NoApp)
	errNoMessage        = &apiError{status: http.StatusNotFound, code: "message_not_found", message: "no such message"}
	errNoConversation   = &apiError{status: http.StatusNotFound, code: "conversation_not_found", message: "no such conversation, or the user is not in it"}
	errTwoConversations = &apiError{status: http.StatusConflict, code: "ambiguous", message: "both a group and a single chat have this name: say type=group or type=peer"}
	errSeesNobody       = &apiError{status: http.StatusForbidden, code: "hides_own_reads", message: "whoever hides their own reads is shown nobody's"}
	errNoGroup          = &apiError{status: http.StatusNotFound, code: "group_not_found", message: "no such group"}
	errNotInLog         = &apiError{status: http.StatusNotFound, code: "not_in_log", message: "the tree of the log has no such head or entry, or not yet"}
	errTrimmed          = &apiError{status: http.StatusGone, code: "trimmed", message: "the entry has left the log"}
	errInternal         = &apiError{status: http.StatusInternalServerError, code: "internal", message: "internal error"}
	errOverloaded       = fromRefusal(ingest.Overloaded)
	errUnavailable      = fromRefusal(ingest.Unavailable)
	errUnknown          = fromRefusal(ingest.Unknown)
	errLogFull          = fromRefusal(ingest.LogFull)
	errRange            = &apiError{status: http.StatusBadRequest, code: "range_too_large", message: "from and to are too far apart to count all that was sent between them; ask for less at a time"}
	errNoAnalytics      = &apiError{status: http.StatusServiceUnavailable, code: "analytics_unavailable", message: "ClickHouse does not answer now", retryAfter: 5}
	errFolding          = &apiError{status: http.StatusServiceUnavailable, code: "folding_again", message: "a part of the state was damaged and is being folded again from the log", retryAfter: 5}
	errTimeout          = fromRefusal(ingest.Timeout)
)

// errCanceled is for requests whose client is gone, so that they do not count as failures of ours.
var errCanceled = &apiError{status: 499, code: "canceled", message: "the client went away"}

// overloaded is the answer to what the gate refused.
func overloaded(r *admission.Refusal) *apiError {
	e := *errOverloaded
	e.retryAfter = int(r.RetryAfter / time.Second)
	if r.Reason == admission.OverShare {
		e.status, e.message = http.StatusTooManyRequests, "the app has too much under way, while others have something, too; nothing of the request was stored"
	}
	return &e
}

func methodNotAllowed(allow string) *apiError {
	return &apiError{
		status: http.StatusMethodNotAllowed, code: "method_not_allowed", message: "this path takes " + allow, allow: allow,
	}
}

func invalid(field, problem string) *apiError {
	return fromRefusal(ingest.Invalid(field, problem))
}

func invalidCursor(field string) *apiError {
	return &apiError{
		status: http.StatusBadRequest, code: "invalid_cursor", message: field + ": not a cursor that was given for this list", field: field,
	}
}

// foreignCursor is the answer for a cursor of another log, or of this one before it was restored.
func foreignCursor(field string) *apiError {
	return &apiError{
		status: http.StatusBadRequest, code: "foreign_cursor", field: field,
		message: field + ": a cursor of another log, or of this one before it was restored; begin without one",
	}
}

func tooLarge(message string) *apiError {
	return fromRefusal(ingest.TooLarge(message))
}

func fromRefusal(r *ingest.Refusal) *apiError {
	return &apiError{
		status: r.Status, code: r.Code, message: r.Message, field: r.Field, index: r.Index, retryAfter: r.RetryAfter,
		accepted: r.Accepted, positions: r.Positions, cause: r.Cause,
	}
}

// asAPIError finds the answer for an error of the layers below.
func asAPIError(err error) *apiError {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e
	}
	if r, ok := errors.AsType[*admission.Refusal](err); ok {
		return overloaded(r)
	}
	if several, ok := errors.AsType[*projections.AmbiguousError](err); ok {
		return &apiError{
			status: http.StatusConflict, code: "ambiguous", ambiguous: several,
			message: "several conversations have a message with this id: name one of them by group, users or peer",
		}
	}
	for _, known := range []struct {
		err    error
		answer *apiError
	}{
		{projections.ErrNotFound, errNoMessage},
		{projector.ErrFoldingAgain, errFolding},
		{merkle.ErrOutside, errNotInLog},
		{eventlog.ErrTrimmed, errTrimmed},
		{eventlog.ErrNoEntry, errTrimmed},
		{projections.ErrTooManyCohorts, errRange},
		{notify.ErrBadCursor, invalidCursor("cursor")},
		{notify.ErrForeignCursor, foreignCursor("cursor")},
	} {
		if errors.Is(err, known.err) {
			return known.answer.because(err)
		}
	}
	// Whatever these come with, what became of the events is told.
	if r, ok := ingest.FindRefusal(err); ok {
		return fromRefusal(r)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return errCanceled.because(err)
	case errors.Is(err, projections.ErrRatesUnavailable):
		return errNoAnalytics.because(err)
	}
	return errInternal.because(err)
}

// because returns a copy with a cause.
func (e *apiError) because(cause error) *apiError {
	with := *e
	with.cause = cause
	return &with
}

// errorBody is the body of every failed request.
type errorBody struct {
	Error errorInfo `json:"error"`
	// Accepted and Positions are there when the events are durable all the same.
	Accepted  int                 `json:"accepted,omitempty"`
	Positions []eventlog.Position `json:"positions,omitempty"`
	*readiness
}

type errorInfo struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Index   *int   `json:"index,omitempty"`
	Field   string `json:"field,omitempty"`
	// Conversations are those that the id of an ambiguous message may be of; More is set if there
	// are others.
	Conversations []conversationBody `json:"conversations,omitempty"`
	More          bool               `json:"more,omitempty"`
}

// fail answers with an error. Errors of ours are logged, those of clients are theirs.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := asAPIError(err)
	if e.cause != nil && e.status >= 500 && r.Context().Err() == nil {
		a.cfg.Logger.LogAttrs(r.Context(), slog.LevelError, "request failed",
			slog.Any("error", e.cause), slog.Int("status", e.status),
			slog.String("method", r.Method), slog.String("path", r.URL.EscapedPath()),
			slog.String("request_id", w.Header().Get("X-Request-Id")))
	}
	a.metrics.errors.WithLabelValues(e.code).Inc()
	if res, ok := w.(*response); ok && res.status != 0 {
		return // too late to say it
	}
	h := w.Header()
	if e.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="receiptd"`)
	}
	if e.allow != "" {
		h.Set("Allow", e.allow)
	}
	if e.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(e.retryAfter))
	}
	body := errorBody{
		Error:    errorInfo{Code: e.code, Message: e.message, Index: e.index, Field: e.field},
		Accepted: e.accepted, Positions: e.positions, readiness: e.readiness,
	}
	if e.ambiguous != nil {
		for _, x := range e.ambiguous.Conversations {
			body.Error.Conversations = append(body.Error.Conversations, newConversationBody(x))
		}
		body.Error.More = e.ambiguous.More
	}
	gateway.WriteJSON(w, e.status, body)
}
