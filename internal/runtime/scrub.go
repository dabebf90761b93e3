package runtime

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/diskread"
	"github.com/receiptd/receiptd/projections/store"
)

// ScrubPass is one reading of all files of log, witness and state against their checksums.
type ScrubPass struct {
	Number   int       `json:"number"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"`
	// Bytes were read of Total, which is an estimate while the server writes.
	Bytes int64 `json:"bytes"`
	Total int64 `json:"total"`
	// Findings have the codes of the doctor.
	Findings []Finding `json:"findings"`
	// Error is what kept the pass from reading everything; empty if nothing did.
	Error string `json:"error,omitempty"`
}

// ScrubStatus is what a server says of its scrubbing.
type ScrubStatus struct {
	// Running is the pass under way, Last the one that ended last; nil if there is none.
	Running *ScrubPass `json:"running,omitempty"`
	Last    *ScrubPass `json:"last,omitempty"`
}

const (
	// scrubAfterStart is when the first pass begins: a start has enough to read by itself.
	scrubAfterStart = time.Minute
	// scrubAsked is the rate, in bytes a second, of a pass that somebody asked for where none are
	// made in the background.
	scrubAsked = 64 << 20
	// scrubBurst is the most that is read at once.
	scrubBurst = 4 << 20
)

// scrubber reads all files through, again and again.
type scrubber struct {
	s       *Server
	limiter *rate.Limiter
	asked   chan struct{} // holds a token when somebody wants a pass now

	mu     sync.Mutex
	status ScrubStatus
	read   int64 // since the start
}

func newScrubber(s *Server) *scrubber {
	limit := rate.Limit(s.cfg.Log.ScrubRate)
	if limit == 0 {
		limit = scrubAsked
	}
	return &scrubber{s: s, limiter: rate.NewLimiter(limit, scrubBurst), asked: make(chan struct{}, 1)}
}

// run makes a pass at each period, and when one is asked for, until the context ends.
func (x *scrubber) run(ctx context.Context) error {
	next := time.NewTimer(scrubAfterStart)
	defer next.Stop()
	if x.s.cfg.Log.ScrubRate == 0 {
		next.Stop()
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		case <-x.asked:
		}
		began := time.Now()
		x.pass(ctx)
		if x.s.cfg.Log.ScrubRate > 0 {
			next.Reset(max(time.Second, time.Until(began.Add(x.s.cfg.Log.ScrubEvery))))
		}
	}
}

// pass reads everything once.
func (x *scrubber) pass(ctx context.Context) {
	p := ScrubPass{Started: time.Now().UTC(), Total: x.s.Log.DiskBytes(), Findings: []Finding{}}
	for _, state := range x.s.Projector.Stats() {
		p.Total += int64(state.DiskBytes)
	}
	x.mu.Lock()
	if p.Number = 1; x.status.Last != nil {
		p.Number = x.status.Last.Number + 1
	}
	x.status.Running = &p
	x.mu.Unlock()
	err := x.readAll(ctx)
	x.mu.Lock()
	defer x.mu.Unlock()
	p.Finished = time.Now().UTC()
	x.status.Running = nil
	if ctx.Err() != nil {
		return // the server stops
	}
	if err != nil {
		p.Error = err.Error()
		x.s.logger.Warn("scrub: not all files could be read", "error", err)
	}
	x.status.Last = &p
	x.s.logger.Info("scrub: all files were read", "bytes", p.Bytes, "findings", len(p.Findings), "took", p.Finished.Sub(p.Started).Round(time.Second))
}

// readAll reads log, witness and states.
func (x *scrubber) readAll(ctx context.Context) error {
	pace := func(n int) error {
		if err := x.limiter.WaitN(ctx, n); err != nil {
			return err
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		x.read += int64(n)
		x.status.Running.Bytes += int64(n)
		return nil
	}
	log, err := x.s.Log.Scrub(ctx, pace)
	for _, f := range log.Findings {
		x.found(f)
	}
	if err != nil {
		return err
	}
	scrubs := []func(context.Context, diskread.Pace) (int64, []*store.CorruptError, error){x.s.Projector.Scrub}
	if x.s.analytics != nil {
		scrubs = append(scrubs, x.s.analytics.Scrub)
	}
	for _, scrub := range scrubs {
		_, corrupt, err := scrub(ctx, pace)
		for _, c := range corrupt {
			x.found(eventlog.Finding{Code: foundStateCorrupt, File: c.Path, What: c.Error()})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// found notes what was found. The server goes on: what it serves is what it was, and the damaged
// files may be the only copy.
func (x *scrubber) found(f eventlog.Finding) {
	x.s.logger.Error("scrub: damage was found", slog.String("what", f.What), slog.String("code", f.Code), slog.String("stream", f.Stream), slog.String("file", f.File),
		slog.Int64("offset", f.Offset), slog.Uint64("first", f.First), slog.Uint64("last", f.Last))
	do := liveRemedy
	switch {
	case f.Code == foundStateCorrupt:
		do = "nothing: the state is put aside and folded again from the log"
	case x.s.cfg.Cluster.Listen != "":
		do = replicaRemedy(f.Stream)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.status.Running.Findings = append(x.status.Running.Findings, Finding{Finding: f, Do: do})
}

// replicaRemedy is what to do about damage to a node's replica of a stream.
func replicaRemedy(stream string) string {
	return "the other nodes have it whole: when all of them are well, stop this node, run receiptctl repair --data DIR --replica " + stream +
		" on its data, and start it; its NATS server gets the stream again from theirs. Look at the disk, and do not start it as it is: " +
		"the server would cut off what follows in the damaged file"
}

// liveRemedy is what to do about damage to the log of a server that runs.
const liveRemedy = "do not restart yet, since a start refuses a damaged log; copy the data directory, look at the disk, then stop the server and run receiptctl doctor"

// ask wants a pass now, if none is under way.
func (x *scrubber) ask() ScrubStatus {
	status := x.now()
	if status.Running == nil {
		select {
		case x.asked <- struct{}{}:
		default: // it was asked for
		}
	}
	return status
}

// now is the status at this moment.
func (x *scrubber) now() ScrubStatus {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.status
	if s.Running != nil {
		running := *s.Running
		s.Running = &running
	}
	return s
}

// line is the status in words, for the page.
func (x *scrubber) line() string {
	s := x.now()
	switch {
	case s.Running != nil && len(s.Running.Findings) > 0:
		return fmt.Sprintf("%d findings so far", len(s.Running.Findings))
	case s.Running != nil && s.Running.Total > 0:
		return fmt.Sprintf("%d %% of this pass", min(100, s.Running.Bytes*100/s.Running.Total))
	case s.Last == nil:
		return "not read through yet"
	case len(s.Last.Findings) > 0:
		return fmt.Sprintf("%d findings", len(s.Last.Findings))
	}
	return "whole, " + s.Last.Finished.Format("Jan 2, 15:04") + " UTC"
}

// ServeHTTP answers with the status; POST asks for a pass.
func (x *scrubber) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status := x.now()
	if r.Method == http.MethodPost {
		status = x.ask()
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(status) // a client that is gone needs no answer
}

var (
	descScrubBytes    = prometheus.NewDesc("receiptd_scrub_bytes_total", "Bytes of log and state read against their checksums in the background since the start.", nil, nil)
	descScrubProgress = prometheus.NewDesc("receiptd_scrub_progress_ratio", "Share of the pass under way that is done, 0 between passes.", nil, nil)
	descScrubLast     = prometheus.NewDesc("receiptd_scrub_last_pass_timestamp_seconds", "When the last whole pass ended, 0 if there was none since the start.", nil, nil)
	descScrubLastSize = prometheus.NewDesc("receiptd_scrub_last_pass_bytes", "Bytes that the last whole pass read.", nil, nil)
	descLogUnread     = prometheus.NewDesc("receiptd_log_unread_bytes", "Bytes of the log that neither the start nor a whole pass has read since; 0 if all were.", nil, nil)
	descScrubFindings = prometheus.NewDesc("receiptd_scrub_findings", "Damaged places that the last pass, or the one under way, found; codes as in receiptctl doctor.", []string{"code"}, nil)
)

// Describe implements [prometheus.Collector].
func (x *scrubber) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descScrubBytes, descScrubProgress, descScrubLast, descScrubLastSize, descLogUnread, descScrubFindings} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (x *scrubber) Collect(ch chan<- prometheus.Metric) {
	status := x.now()
	x.mu.Lock()
	read := x.read
	x.mu.Unlock()
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	send(descScrubBytes, prometheus.CounterValue, float64(read))
	progress, ended, size := 0.0, 0.0, 0.0
	unread := x.s.Log.UninspectedBytes()
	counts := map[string]int{eventlog.CodeBlockDamaged: 0}
	if p := status.Last; p != nil {
		ended, size = float64(p.Finished.Unix()), float64(p.Bytes)
		if p.Error == "" {
			unread = 0
		}
	}
	if p := status.Running; p != nil && p.Total > 0 {
		progress = min(1, float64(p.Bytes)/float64(p.Total))
	}
	for _, p := range []*ScrubPass{status.Last, status.Running} {
		if p == nil || p == status.Last && status.Running != nil && len(status.Running.Findings) > 0 {
			continue
		}
		for _, f := range p.Findings {
			counts[f.Code]++
		}
	}
	send(descScrubProgress, prometheus.GaugeValue, progress)
	send(descScrubLast, prometheus.GaugeValue, ended)
	send(descLogUnread, prometheus.GaugeValue, float64(unread))
	send(descScrubLastSize, prometheus.GaugeValue, size)
	for code, n := range counts {
		send(descScrubFindings, prometheus.GaugeValue, float64(n), code)
	}
}
