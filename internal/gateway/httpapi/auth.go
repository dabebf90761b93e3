package httpapi

import (
	"errors"
	"net/http"

	"github.com/receiptd/receiptd/internal/gateway"
)

// authenticate finds out who calls.
func (a *API) authenticate(r *http.Request, rt route) (gateway.Caller, error) {
	token, ok := gateway.Bearer(r)
	inURL := !ok && rt.endless
	if inURL {
		// A browser's EventSource cannot send headers.
		token = r.URL.Query().Get("access_token")
		ok = token != ""
	}
	if !ok {
		return gateway.Caller{}, errUnauthorized
	}
	caller, err := a.callers.Authenticate(token, r.RemoteAddr)
	switch {
	case inURL && caller.Admin:
		// URLs are kept in logs and histories. A user's token there is one user's, for a while.
		return gateway.Caller{}, errUnauthorized
	case errors.Is(err, gateway.ErrGuessing):
		return caller, errGuessing
	case errors.Is(err, gateway.ErrTokenExpired):
		return caller, errTokenExpired
	case err != nil:
		return caller, errUnauthorized
	}
	return caller, nil
}
