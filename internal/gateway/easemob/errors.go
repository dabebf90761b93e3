package easemob

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/accounts"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// restError is an answer other than a success. From its fields the SDK makes its own error.
type restError struct {
	status      int
	name        string
	description string
	code        int // error_code, 0 for none
}

func (e *restError) Error() string { return e.description }

// The SDK tells one error from another by these codes and texts.
var (
	errNoApp        = &restError{http.StatusNotFound, "organization_application_not_found", "could not find the application", 0}
	errUnauthorized = &restError{http.StatusUnauthorized, "unauthorized", "Unable to authenticate (OAuth)", 60001}
	errForbidden    = &restError{http.StatusForbidden, "forbidden", "permission denied", 60002}
	errNotOpen      = &restError{http.StatusForbidden, "service_not_open", "service not open!", 60004}
	errNoGroup      = &restError{http.StatusNotFound, "resource_not_found", "do not find this group", 0}
	errNotMember    = &restError{http.StatusNotFound, "resource_not_found", "not a member of this group", 60003}
	errNoMessage    = &restError{http.StatusBadRequest, "illegal_argument", "message not found", 0}
	errNoNames      = &restError{http.StatusBadRequest, "illegal_argument", "the readers of this message are counted, and who they are is not kept", 0}
	errTooLarge     = &restError{http.StatusRequestEntityTooLarge, "request_too_large", "the body is too large", 0}
	errTooOften     = &restError{http.StatusTooManyRequests, "reach_limit", "This request has reached api limit", 0}
	errBusy         = &restError{http.StatusServiceUnavailable, "service_unavailable", "server is busy", 0}
	errInternal     = &restError{http.StatusInternalServerError, "internal", "internal error", 0}

	errLogin              = &restError{http.StatusBadRequest, "invalid_grant", "invalid username or password", 0}
	errGrantType          = &restError{http.StatusBadRequest, "invalid_request", "grant_type must be password", 0}
	errUserExists         = &restError{http.StatusBadRequest, "duplicate_unique_property_exists", "the username is already used", 0}
	errUsersFull          = &restError{http.StatusForbidden, "exceed_limit", "the app has the most users it may have", 0}
	errGroupsFull         = &restError{http.StatusForbidden, "exceed_limit", "no more groups can be made", 0}
	errGroupInvitations   = tooMany("too many invitations into this group wait for an answer")
	errInviteeInvitations = tooMany("too many invitations wait for this user's answer")
	errInviterInvitations = tooMany("too many of your invitations wait for an answer")
	errAppInvitations     = tooMany("too many invitations wait for an answer in this app")
	errClosed             = &restError{http.StatusUnauthorized, "unauthorized", "registration is not open", 0}
)

func tooMany(description string) *restError {
	return &restError{http.StatusForbidden, "exceed_limit", description, 0}
}

// late is the answer where the state is not as new in time as the call asks for.
func late(why error) *restError {
	return &restError{http.StatusServiceUnavailable, "service_unavailable", why.Error(), 0}
}

func invalid(description string) *restError {
	return &restError{http.StatusBadRequest, "illegal_argument", description, 0}
}

// rejected is the answer for what the folds rejected.
func rejected(o events.Outcome) *restError {
	switch o {
	case events.RejectedNoGroup:
		return errNoGroup
	case events.RejectedNotMember:
		return errNotMember
	case events.RejectedNotAllowed:
		return errForbidden
	case events.RejectedNoApp:
		return errNoApp
	}
	return &restError{http.StatusForbidden, "exceed_limit", o.Reason(), 0}
}

// refuse answers with an error of the layers below.
func (h *REST) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if e, ok := errors.AsType[*restError](err); ok {
		fail(w, e)
		return
	}
	if e, ok := errors.AsType[*gateway.PositionError](err); ok {
		fail(w, invalid(e.Error()))
		return
	}
	for _, known := range []struct {
		err    error
		answer *restError
	}{
		{gateway.ErrBehind, late(gateway.ErrBehind)},
		{gateway.ErrNotFresh, late(gateway.ErrNotFresh)},
		{projections.ErrNotFound, errNoGroup},
		{projections.ErrNoNames, errNoNames},
		{gateway.ErrDenied, errForbidden},
		{gateway.ErrNotMember, errNoGroup}, // who is not in it does not learn that there is one
		{accounts.ErrExists, errUserExists},
		{accounts.ErrFull, errUsersFull},
		{gateway.ErrTooOften, errTooOften},
		{gateway.ErrNotInvited, errNoGroup}, // who was not invited learns as little
		{gateway.ErrGroupFull, rejected(events.RejectedGroupFull)},
		{accounts.ErrTooManyGroups, errGroupsFull},
		{accounts.ErrBadPassword, invalid(accounts.ErrBadPassword.Error())},
		{accounts.ErrNotFound, errLogin},
		{accounts.ErrWrongPassword, errLogin},
		{accounts.ErrBusy, errBusy},
		{projector.ErrNoApp, errNoApp},
		{projector.ErrFoldingAgain, errBusy},
		{projector.ErrNoCopy, errBusy},
		{eventlog.ErrOverloaded, errBusy},
		{eventlog.ErrUnavailable, errBusy},
		{eventlog.ErrClosed, errBusy},
		{eventlog.ErrUnknownOutcome, errBusy},
		{context.DeadlineExceeded, errBusy},
		{context.Canceled, errBusy},
	} {
		if errors.Is(err, known.err) {
			fail(w, known.answer)
			return
		}
	}
	h.cfg.Logger.LogAttrs(r.Context(), slog.LevelError, "sdk: request failed",
		slog.Any("error", err), slog.String("method", r.Method), slog.String("path", r.URL.EscapedPath()))
	fail(w, errInternal)
}

func fail(w http.ResponseWriter, e *restError) {
	body := map[string]any{
		"error": e.name, "exception": e.name, "error_description": e.description, "timestamp": time.Now().UnixMilli(), "duration": 0,
	}
	if e.code != 0 {
		body["error_code"] = e.code
	}
	if e.status == http.StatusServiceUnavailable || e.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	gateway.WriteJSON(w, e.status, body)
}
