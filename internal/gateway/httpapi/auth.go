package httpapi

import (
	"errors"
	"net/http"

	"github.com/receiptd/receiptd/internal/gateway"
)

// authenticate finds out who calls.
func (a *API) authenticate(r *http.Request, rt route) (gateway.Caller, error) {
	token, ok := gateway.Bearer(r)
	if !ok && rt.endless {
		// A browser's EventSource cannot send headers.
		token = r.URL.Query().Get("access_token")
		ok = token != ""
	}
	if !ok {
		return gateway.Caller{}, errUnauthorized
	}
	caller, err := a.callers.Authenticate(token)
	switch {
	case errors.Is(err, gateway.ErrTokenExpired):
		return caller, errTokenExpired
	case err != nil:
		return caller, errUnauthorized
	}
	return caller, nil
}
