package httpapi

import (
	"net/http"
	"time"

	"github.com/rs/cors"

	"github.com/receiptd/receiptd/internal/gateway"
)

// preflightFor is how long a browser need not ask again before a call; Chromium remembers it no
// longer.
const preflightFor = 2 * time.Hour

// newCORS lets pages of other origins make the API's calls. No credentials of the browser's own are
// let in, since there are none: tokens come in a header that the page sets.
func newCORS(origins []string) *cors.Cors {
	return cors.New(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete},
		AllowedHeaders: []string{"Authorization", "Content-Type", "Content-Encoding", "Idempotency-Key", "Last-Event-ID", gateway.LogHeader, gateway.PositionHeader, "X-Request-Id"},
		ExposedHeaders: []string{gateway.LogHeader, gateway.NodeHeader, gateway.PositionHeader, "Retry-After", "X-Request-Id"},
		MaxAge:         int(preflightFor.Seconds()),
	})
}
