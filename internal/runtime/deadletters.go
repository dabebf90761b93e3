package runtime

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/web"
)

const (
	// maxDeadLetters bounds the entries that are kept.
	maxDeadLetters = 100
	// maxDeadLetterData bounds what is shown of an entry, in bytes.
	maxDeadLetterData = 4 << 10
)

// deadLetters are the entries of outside producers that had no effect. They were acknowledged as
// stored, so nobody else tells of them: they are counted and logged, and the latest are kept.
type deadLetters struct {
	logger  *slog.Logger
	total   *prometheus.CounterVec // by reason
	lines   *rate.Limiter
	mu      sync.Mutex
	latest  []deadLetter // oldest first
	unknown uint64       // of apps that do not exist
	silent  int          // not logged since the last line
}

// deadLetter is an entry without effect, as the API shows it.
type deadLetter struct {
	Partition int    `json:"partition"`
	Sequence  uint64 `json:"sequence"`
	Time      string `json:"time"`
	Reason    string `json:"reason"`
	Subject   string `json:"subject,omitempty"`
	// Data is what was published if that is text, else Bytes is; either is cut off when it is long.
	Data  string `json:"data,omitempty"`
	Bytes []byte `json:"bytes,omitempty"`

	unknownApp bool
}

// Reasons: values of the metric's label.
const (
	deadPoison     = "poison"
	deadUnknownApp = "app_not_found"
)

func newDeadLetters(registry prometheus.Registerer, logger *slog.Logger) *deadLetters {
	v := &deadLetters{
		logger: logger,
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "receiptd_ingress_in_vain_total", Help: "Entries of outside producers without effect since the start, by reason.",
		}, []string{"reason"}),
		lines: rate.NewLimiter(rate.Every(time.Second), 5),
	}
	registry.MustRegister(v.total)
	for _, reason := range []string{deadPoison, deadUnknownApp} {
		v.total.WithLabelValues(reason)
	}
	return v
}

// add is for [projector.Options.DeadLetters]. It does not hold up the fold.
func (v *deadLetters) add(x projector.DeadLetter) {
	e := deadLetter{Partition: x.Partition, Sequence: x.Sequence, Time: string(events.AppendTime(nil, x.At)), Reason: x.Reason, unknownApp: x.UnknownApp}
	e.show(x.Subject, x.Data)
	reason := deadPoison
	if x.UnknownApp {
		reason = deadUnknownApp
	}
	v.total.WithLabelValues(reason).Inc()
	v.mu.Lock()
	defer v.mu.Unlock()
	if x.UnknownApp {
		v.unknown++
	}
	if v.latest = append(v.latest, e); len(v.latest) > maxDeadLetters {
		v.latest = slices.Delete(v.latest, 0, 1)
	}
	if !v.lines.Allow() {
		v.silent++
		return
	}
	v.logger.Warn("a NATS client published what has no effect; receiptctl poison lists more",
		slog.String("reason", x.Reason), slog.String("subject", x.Subject), slog.Int("partition", x.Partition),
		slog.Uint64("sequence", x.Sequence), slog.Int("not_logged_before", v.silent))
	v.silent = 0
}

// show fills in what was published.
func (e *deadLetter) show(subject string, data []byte) {
	e.Subject = subject
	data = data[:min(len(data), maxDeadLetterData)]
	if utf8.Valid(data) {
		e.Data = string(data)
	} else {
		e.Bytes = slices.Clone(data)
	}
}

// unknownApps are the events of apps that do not exist: how many since the start, and the latest.
func (v *deadLetters) unknownApps() (total uint64, latest []deadLetter) {
	v.mu.Lock()
	defer v.mu.Unlock()
	latest = []deadLetter{}
	for _, e := range v.latest {
		if e.unknownApp {
			latest = append(latest, e)
		}
	}
	return v.unknown, latest
}

// shown are the latest, newest first, for the page.
func (v *deadLetters) shown() []web.DeadLetter {
	v.mu.Lock()
	defer v.mu.Unlock()
	var list []web.DeadLetter
	for _, e := range slices.Backward(v.latest) {
		x := web.DeadLetter{When: e.Time, Reason: e.Reason, Subject: e.Subject, Data: e.Data}
		if e.Bytes != nil {
			x.Data = string(mustJSON(e.Bytes))
		}
		if list = append(list, x); len(list) == maxDeadLettersShown {
			break
		}
	}
	return list
}

// maxDeadLettersShown bounds what the page shows.
const maxDeadLettersShown = 10

func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // bytes can be JSON
	}
	return text
}

// poison lists the log entries that could not be decoded, with what is in them while the log has
// it, and the events of apps that do not exist.
func (a *admin) poison(w http.ResponseWriter, r *http.Request) {
	total, latest := a.core.Projector.Poison()
	list := make([]deadLetter, len(latest))
	for i, x := range latest {
		list[i] = deadLetter{Partition: x.Partition, Sequence: x.Sequence, Time: string(events.AppendTime(nil, x.At)), Reason: x.Reason}
		// What has left the log is listed without.
		if entry, err := a.entry(r.Context(), x.Partition, x.Sequence); err == nil {
			list[i].show(entry.Subject, entry.Data)
		}
	}
	unknown, apps := a.core.deadLetters.unknownApps()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"total": total, "latest": list, "unknown_app": map[string]any{"total": unknown, "latest": apps},
	})
}

func (a *admin) entry(ctx context.Context, partition int, sequence uint64) (eventlog.Entry, error) {
	return a.core.Log.EntryAt(ctx, partition, sequence)
}
