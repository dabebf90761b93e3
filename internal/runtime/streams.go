package runtime

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/internal/fair"
	"github.com/receiptd/receiptd/internal/gateway"
)

// streamsMost bounds the requests that come over HTTP/2 and are not answered. One connection has
// room for hundreds of them, each with a client that may take no answer and costs as much as a
// connection does, so the slots of connections do not bound them.
const streamsMost = 32 << 10

// streams bounds the requests under way over HTTP/2. When there are too many, those of the address
// that has most give way, the last one first, to those of an address that has fewer; there are
// 503 for all others. Requests over HTTP/1 have a connection each, and pass.
type streams struct {
	next    http.Handler
	slots   *fair.Slots
	refused prometheus.Counter
	dropped prometheus.Counter
}

func newStreams(next http.Handler, most int, registry prometheus.Registerer) *streams {
	s := &streams{
		next: next, slots: fair.NewSlots(most, nil),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "receiptd_http2_requests_refused_total", Help: "Requests over HTTP/2 that were refused, since too many were under way.",
		}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "receiptd_http2_requests_dropped_total", Help: "Requests over HTTP/2 that gave way to those of other addresses.",
		}),
	}
	registry.MustRegister(s.refused, s.dropped)
	return s
}

// ServeHTTP implements [http.Handler].
func (s *streams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor < 2 {
		s.next.ServeHTTP(w, r)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	writing := &writing{w: w, ctx: r.Context()}
	defer writing.over()
	lost := func() {
		s.dropped.Inc()
		cancel()
		writing.end() // it may wait for a client that takes nothing
	}
	slot := s.slots.Take(gateway.Address(r.RemoteAddr), lost)
	if slot == nil {
		s.refused.Inc()
		w.Header().Set("Retry-After", "1")
		gateway.WriteJSON(w, http.StatusServiceUnavailable, map[string]any{"error": map[string]string{
			"code": "overloaded", "message": "too many requests are under way over HTTP/2",
		}})
		return
	}
	defer slot.Release()
	s.next.ServeHTTP(w, r.WithContext(ctx))
}
