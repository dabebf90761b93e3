package runtime

import (
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/gateway/httpapi"
)

// newFront returns the handler that every request passes first.
func newFront(cfg config.HTTP, next http.Handler) *gateway.Front {
	f := &gateway.Front{Hosts: cfg.Hosts.List(), Local: config.Loopback(cfg.Listen), Next: next}
	for _, network := range cfg.TrustedProxies.List() {
		f.Proxies = append(f.Proxies, netip.MustParsePrefix(network).Masked()) // was validated
	}
	return f
}

// readinessGate turns questions and events away until the state has everything that the log held at
// the start: before that an app that exists looks unknown, and counts look smaller than they were.
type readinessGate struct {
	next http.Handler
	open atomic.Bool
}

// drainBytes is how much is read of a body that is turned away.
const drainBytes = 16 << 20

// ServeHTTP passes a request on, or says that the server is not ready.
func (g *readinessGate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !g.open.Load() && needsState(r.URL.Path) {
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, "not_ready", "the server is starting: it has not folded all of the log yet")
		httpapi.DrainBody(w, r, drainBytes)
		return
	}
	g.next.ServeHTTP(w, r)
}

// needsState reports whether a path is one of the API's or the SDK's calls, whose paths are
// /{org}/{app}/….
func needsState(path string) bool {
	return path == "/readyz" || path == httpapi.WebSocketPath || strings.HasPrefix(path, "/v1/apps/") ||
		!strings.HasPrefix(path, "/v1/") && strings.Count(path, "/") > 2
}
