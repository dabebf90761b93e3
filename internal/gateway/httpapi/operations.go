package httpapi

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/internal/fair"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/web"
	"github.com/receiptd/receiptd/schema"
)

// servePage serves the page at /, which has its own way to sign in: see package web.
func (a *API) servePage(c *call) error {
	a.page.ServeHTTP(c.w, c.r)
	return nil
}

func (a *API) getPageFile(c *call) error {
	if !a.page.File(c.w, c.r.PathValue("file")) {
		return errNoSuchPath
	}
	return nil
}

func (a *API) getOpenAPI(c *call) error {
	c.w.writeFile("application/yaml", schema.OpenAPI)
	return nil
}

func (w *response) writeFile(contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(body)
}

// scrapesAtOnce is how many scrapes gather metrics at a time. Each has all of them in memory.
// Addresses take turns, so that many who ask do not keep the operator's own from an answer.
const scrapesAtOnce = 2

func (a *API) getMetrics() func(*call) error {
	h := promhttp.HandlerFor(a.cfg.Registry, promhttp.HandlerOpts{Registry: a.cfg.Registry})
	return func(c *call) error {
		if err := a.mayCount(c); err != nil {
			return err
		}
		turn, err := a.scrapes.Acquire(c.r.Context(), fair.Key{App: gateway.Address(c.r.RemoteAddr)}, 1)
		if err != nil {
			return errTimeout
		}
		answer := &heldAnswer{ResponseWriter: c.w}
		func() {
			defer a.scrapes.Release(turn) // whoever scrapes may take its time to read
			h.ServeHTTP(answer, c.r)
		}()
		answer.write()
		return nil
	}
}

// mayCount returns nil for a caller who may see the totals over all apps.
func (a *API) mayCount(c *call) error {
	if !a.cfg.PrivateTotals {
		return nil
	}
	caller, err := a.authenticate(c.r, route{})
	if err == nil && !caller.Admin {
		err = errForbidden
	}
	return err
}

type stateBody struct {
	Status string `json:"status"`
	Node   string `json:"node,omitempty"`
}

// node is this server's name in a cluster; empty if it is alone.
func (a *API) node() string {
	if a.cfg.Cluster == nil {
		return ""
	}
	return a.cfg.Cluster.Name()
}

// getHealth says that the process serves requests, and nothing more.
func (a *API) getHealth(c *call) error {
	gateway.WriteJSON(c.w, http.StatusOK, stateBody{"ok", a.node()})
	return nil
}

// readiness is what the server can do now.
type readiness struct {
	Reads  readyFor `json:"reads"`
	Writes readyFor `json:"writes"`
}

type readyFor struct {
	Ready   bool   `json:"ready"`
	Problem string `json:"problem,omitempty"`
}

func readyUnless(problem string) readyFor { return readyFor{problem == "", problem} }

type readyBody struct {
	stateBody
	readiness
}

// getReady answers for whichever is named, a balancer of questions or one of events; without that,
// for one of both.
func (a *API) getReady(c *call) error {
	now := a.readiness()
	var problem string
	query := c.r.URL.Query()
	switch what := query.Get("for"); {
	case what == "reads":
		problem = now.Reads.Problem
	case what == "writes":
		problem = now.Writes.Problem
	case query.Has("for"):
		return invalid("for", "neither reads nor writes")
	default:
		problem = now.problem()
	}
	if problem != "" {
		e := newError(http.StatusServiceUnavailable, "not_ready", problem).again(1)
		e.readiness = &now
		return e
	}
	gateway.WriteJSON(c.w, http.StatusOK, readyBody{stateBody{"ready", a.node()}, now})
	return nil
}

func (a *API) readiness() readiness {
	if a.draining.Err() != nil {
		stopping := readyUnless("the server is stopping")
		return readiness{stopping, stopping}
	}
	var now readiness
	now.Reads.Ready, now.Writes.Ready = true, true
	if err := a.cfg.State.Ready(); err != nil {
		now.Reads = readyUnless(err.Error())
		// While a state is folded again events are taken. Otherwise the log may be out of reach, or
		// what is submitted waits to be folded.
		if !errors.Is(err, projector.ErrFoldingAgain) {
			now.Writes = now.Reads
		}
	}
	if a.cfg.Writable != nil && now.Writes.Ready {
		if err := a.cfg.Writable(); err != nil {
			now.Writes = readyUnless(err.Error())
		}
	}
	return now
}

// problem is what keeps the server from doing all it should; empty if nothing does.
func (r *readiness) problem() string { return cmp.Or(r.Reads.Problem, r.Writes.Problem) }

// notReady says what keeps the server from being ready; empty if nothing does.
func (a *API) notReady() string {
	now := a.readiness()
	return now.problem()
}

// statusBody holds totals over all apps, for the page: nothing that belongs to one of them.
type statusBody struct {
	Version string `json:"version"`
	// Node is which of a cluster's nodes this is of.
	Node string `json:"node,omitempty"`
	// Log is the identity of the log: another one means that positions of before mean nothing.
	Log           string          `json:"log"`
	UptimeSeconds int64           `json:"uptime_seconds"`
	Ready         bool            `json:"ready"`
	Problem       string          `json:"problem,omitempty"`
	Accepted      uint64          `json:"events_accepted"`
	Streams       int             `json:"streams"`
	Partitions    []partitionBody `json:"partitions"`
}

type partitionBody struct {
	Partition int     `json:"partition"`
	Stored    uint64  `json:"stored"`
	Applied   uint64  `json:"applied"`
	Appended  uint64  `json:"events_appended"`
	Folded    uint64  `json:"events_folded"`
	Queued    uint64  `json:"events_queued"`
	AckMS     float64 `json:"ack_ms"`
	Snapshot  any     `json:"snapshot,omitempty"`
}

func (a *API) getStatus(c *call) error {
	if err := a.mayCount(c); err != nil {
		return err
	}
	status := a.status()
	body := statusBody{
		Version: a.cfg.Version, Node: a.node(), Log: fmt.Sprintf("%016x", a.cfg.Identity), UptimeSeconds: int64(status.Uptime.Seconds()), Ready: status.Problem == "", Problem: status.Problem,
		Accepted: status.Accepted, Streams: status.Streams, Partitions: make([]partitionBody, 0, len(status.Partitions)),
	}
	var snapshots []any
	if a.cfg.Snapshots != nil {
		snapshots = a.cfg.Snapshots()
	}
	for i := range status.Partitions {
		p := &status.Partitions[i]
		var last any
		if p.Partition < len(snapshots) {
			last = snapshots[p.Partition]
		}
		body.Partitions = append(body.Partitions, partitionBody{
			Snapshot:  last,
			Partition: p.Partition, Stored: p.Stored, Applied: p.Applied,
			Appended: p.Appended, Folded: p.Folded, Queued: p.Queued, AckMS: float64(p.Ack) / float64(time.Millisecond),
		})
	}
	gateway.WriteJSON(c.w, http.StatusOK, body)
	return nil
}

// status is what the page and GET /v1/status show.
func (a *API) status() web.Status {
	s := web.Status{
		Version: a.cfg.Version, Uptime: time.Since(a.started), Problem: a.notReady(),
		Accepted: a.accepted.Load(), Streams: a.streams.open(),
	}
	if node := a.node(); node != "" {
		s.Version += ", node " + node
	}
	if a.cfg.PartitionStatus != nil {
		s.Partitions = a.cfg.PartitionStatus()
	}
	if a.cfg.Scrub != nil {
		s.Scrub = a.cfg.Scrub()
	}
	if a.cfg.DeadLetters != nil {
		s.DeadLetters = a.cfg.DeadLetters()
	}
	return s
}
