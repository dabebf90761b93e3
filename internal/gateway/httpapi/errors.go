package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/gateway/admission"
	"github.com/receiptd/receiptd/internal/gateway/ingest"
	"github.com/receiptd/receiptd/projections"
)

// apiError is an answer other than a success: a refusal that any door may give, and what only this
// API says beside it.
type apiError struct {
	ingest.Refusal
	// ambiguous are the conversations that an id may be meant to be of.
	ambiguous *projections.AmbiguousError
	// allow lists the methods of a path.
	allow string
	// readiness is what the server can do, where that was asked.
	readiness *readiness
}

func newError(status int, code, message string) *apiError {
	return &apiError{Refusal: ingest.Refusal{Status: status, Code: code, Message: message}}
}

// newFieldError is an error about a parameter, header or field of the body.
func newFieldError(status int, code, field, problem string) *apiError {
	e := newError(status, code, field+": "+problem)
	e.Field = field
	return e
}

// again says after how many seconds it pays to come back.
func (e *apiError) again(seconds int) *apiError {
	e.RetryAfter = seconds
	return e
}

// problem is the message without the field that it begins with.
func (e *apiError) problem() string { return strings.TrimPrefix(e.Message, e.Field+": ") }

var (
	errUnauthorized     = newError(http.StatusUnauthorized, "unauthorized", "an admin key or a user token is required: Authorization: Bearer …")
	errGuessing         = newError(http.StatusTooManyRequests, "too_many_attempts", "too many wrong keys came from this address").again(10)
	errTokenExpired     = newError(http.StatusUnauthorized, "token_expired", "the token has expired")
	errForbidden        = newError(http.StatusForbidden, "forbidden", "not allowed for this token")
	errNoSuchPath       = newError(http.StatusNotFound, "not_found", "no such path")
	errNoApp            = fromRefusal(ingest.NoApp)
	errNoMessage        = newError(http.StatusNotFound, "message_not_found", "no such message")
	errNoConversation   = newError(http.StatusNotFound, "conversation_not_found", "no such conversation, or the user is not in it")
	errTwoConversations = newError(http.StatusConflict, "ambiguous", "both a group and a single chat have this name: say type=group or type=peer")
	errNotVisible       = newError(http.StatusForbidden, "forbidden", "the setting group_receipts.visibility is sender: how far members have read is not shown to members")
	errHidesReads       = newError(http.StatusForbidden, "hides_own_reads", "whoever hides their own reads is shown nobody's")
	errNoNames          = newError(http.StatusConflict, "names_not_kept", "the readers of this message are counted, and who they are is not kept")
	errNoGroup          = newError(http.StatusNotFound, "group_not_found", "no such group")
	errNotInvited       = newError(http.StatusNotFound, "invitation_not_found", "no such invitation waits")
	errGroupFull        = newError(http.StatusConflict, "group_full", "the group has as many members as it may have; the invitation waits on")
	errTooOften         = newError(http.StatusTooManyRequests, "rate_limited", "more calls a second than this user may make").again(1)
	errNotInLog         = newError(http.StatusNotFound, "not_in_log", "the tree of the log has no such head or entry, or not yet")
	errTrimmed          = newError(http.StatusGone, "trimmed", "the entry has left the log")
	errInternal         = newError(http.StatusInternalServerError, "internal", "internal error")
	errOverloaded       = fromRefusal(ingest.Overloaded)
	errUnavailable      = fromRefusal(ingest.Unavailable)
	errUnknown          = fromRefusal(ingest.Unknown)
	errLogFull          = fromRefusal(ingest.LogFull)
	errRange            = newError(http.StatusBadRequest, "range_too_large", "from and to are too far apart to count all that was sent between them; ask for less at a time")
	errNoAnalytics      = newError(http.StatusServiceUnavailable, "analytics_unavailable", "ClickHouse does not answer now").again(5)
	errFolding          = newError(http.StatusServiceUnavailable, "folding_again", "a part of the state was damaged and is being folded again from the log").again(5)
	errNoCopy           = newError(http.StatusServiceUnavailable, "no_copy", "this part of the state is with other nodes, and none of them is there; it is answered for when one is back, or another one has folded it").again(5)
	errLate             = newError(http.StatusServiceUnavailable, "timeout", "the nodes that have this part of the state did not answer in time: they are busy, or behind what was answered before").again(1)
	errTimeout          = fromRefusal(ingest.Timeout)
	errStopping         = newError(http.StatusServiceUnavailable, "shutting_down", "the server is stopping, or starting again").again(1)
)

// errCanceled is for requests whose client is gone, so that they do not count as failures of ours.
var errCanceled = newError(499, "canceled", "the client went away")

func methodNotAllowed(allow string) *apiError {
	e := newError(http.StatusMethodNotAllowed, "method_not_allowed", "this path takes "+allow)
	e.allow = allow
	return e
}

func invalid(field, problem string) *apiError {
	return fromRefusal(ingest.Invalid(field, problem))
}

func invalidCursor(field string) *apiError {
	return newFieldError(http.StatusBadRequest, "invalid_cursor", field, "not a cursor that was given for this list")
}

// foreignCursor is the answer for a cursor of another log, or of this one before it was restored.
func foreignCursor(field string) *apiError {
	return newFieldError(http.StatusBadRequest, "foreign_cursor", field,
		"a cursor of another log, or of this one before it was restored; begin without one")
}

func tooLarge(message string) *apiError {
	return fromRefusal(ingest.TooLarge(message))
}

func fromRefusal(r *ingest.Refusal) *apiError { return &apiError{Refusal: *r} }

// asAPIError finds the answer for an error of the layers below.
func asAPIError(err error) *apiError {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e
	}
	if several, ok := errors.AsType[*projections.AmbiguousError](err); ok {
		e := newError(http.StatusConflict, "ambiguous", "several conversations have a message with this id: name one of them by group, users or peer")
		e.ambiguous = several
		return e
	}
	for _, known := range []struct {
		err    error
		answer *apiError
	}{
		{projections.ErrNotFound, errNoMessage},
		{projections.ErrNoNames, errNoNames},
		{gateway.ErrHidesReads, errHidesReads},
		{projector.ErrLate, errLate},
		{projector.ErrNoCopy, errNoCopy},
		{projector.ErrAbsent, errNoCopy},
		{projector.ErrArriving, errNoCopy},
		{projector.ErrFoldingAgain, errFolding}, // the last two are one as well
		{projector.ErrStopped, errStopping},
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
	with.Cause = cause
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

// fail answers with an error. Errors of ours are logged, those of clients are theirs. What the gate
// refuses is neither, and counted: clients decide how many lines that would be.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := asAPIError(err)
	_, crowded := errors.AsType[*admission.Refusal](e.Cause)
	if e.Cause != nil && e.Status >= 500 && !crowded && r.Context().Err() == nil {
		a.cfg.Logger.LogAttrs(r.Context(), slog.LevelError, "request failed",
			slog.Any("error", e.Cause), slog.Int("status", e.Status),
			slog.String("method", r.Method), slog.String("path", r.URL.EscapedPath()),
			slog.String("request_id", w.Header().Get("X-Request-Id")))
	}
	a.metrics.errors.WithLabelValues(e.Code).Inc()
	if res, ok := w.(*response); ok && res.status != 0 {
		return // too late to say it
	}
	h := w.Header()
	if e.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="receiptd"`)
	}
	if e.allow != "" {
		h.Set("Allow", e.allow)
	}
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(e.RetryAfter))
	}
	body := errorBody{
		Error:    errorInfo{Code: e.Code, Message: e.Message, Index: e.Index, Field: e.Field},
		Accepted: e.Accepted, Positions: e.Positions, readiness: e.readiness,
	}
	if e.ambiguous != nil {
		for _, x := range e.ambiguous.Conversations {
			body.Error.Conversations = append(body.Error.Conversations, newConversationBody(x))
		}
		body.Error.More = e.ambiguous.More
	}
	gateway.WriteJSON(w, e.Status, body)
}
