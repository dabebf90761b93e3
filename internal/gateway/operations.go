package gateway

import (
	_ "embed"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/receiptd/receiptd/schema"
)

//go:embed page.html
var page []byte

// pagePolicy lets the page run nothing but what is written in it, and talk to nobody but this server.
const pagePolicy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"

func (g *Gateway) getPage(c *call) error {
	c.w.Header().Set("Content-Security-Policy", pagePolicy)
	c.w.writeFile("text/html; charset=utf-8", page)
	return nil
}

func (g *Gateway) getOpenAPI(c *call) error {
	c.w.writeFile("application/yaml", schema.OpenAPI)
	return nil
}

func (w *response) writeFile(contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(body)
}

func (g *Gateway) getMetrics() func(*call) error {
	h := promhttp.HandlerFor(g.cfg.Registry, promhttp.HandlerOpts{Registry: g.cfg.Registry})
	return func(c *call) error {
		h.ServeHTTP(c.w, c.r)
		return nil
	}
}

type stateBody struct {
	Status string `json:"status"`
}

// getHealth says that the process serves requests, and nothing more.
func (g *Gateway) getHealth(c *call) error {
	writeJSON(c.w, http.StatusOK, stateBody{"ok"})
	return nil
}

func (g *Gateway) getReady(c *call) error {
	if problem := g.notReady(); problem != "" {
		return &apiError{status: http.StatusServiceUnavailable, code: "not_ready", message: problem, retryAfter: 1}
	}
	writeJSON(c.w, http.StatusOK, stateBody{"ready"})
	return nil
}

// notReady says what keeps the server from being ready; empty if nothing does.
func (g *Gateway) notReady() string {
	if g.draining.Err() != nil {
		return "the server is stopping"
	}
	if err := g.cfg.State.Ready(); err != nil {
		return err.Error()
	}
	return ""
}

// statusBody holds totals over all apps, for the page: nothing that belongs to one of them.
type statusBody struct {
	Version       string     `json:"version"`
	UptimeSeconds int64      `json:"uptime_seconds"`
	Ready         bool       `json:"ready"`
	Problem       string     `json:"problem,omitempty"`
	Accepted      uint64     `json:"events_accepted"`
	Streams       int        `json:"streams"`
	Partitions    []Progress `json:"partitions"`
}

func (g *Gateway) getStatus(c *call) error {
	problem := g.notReady()
	body := statusBody{
		Version: g.cfg.Version, UptimeSeconds: int64(time.Since(g.started).Seconds()), Ready: problem == "", Problem: problem,
		Accepted: g.accepted.Load(), Streams: g.streams.open(), Partitions: []Progress{},
	}
	if g.cfg.Progress != nil {
		body.Partitions = g.cfg.Progress()
	}
	writeJSON(c.w, http.StatusOK, body)
	return nil
}
