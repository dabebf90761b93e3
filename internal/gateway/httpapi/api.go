package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/cors"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/internal/fair"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/gateway/admission"
	"github.com/receiptd/receiptd/internal/gateway/ingest"
	"github.com/receiptd/receiptd/internal/web"
)

// Config is what an [API] is made of.
type Config struct {
	State    State
	Log      gateway.Log
	Commands Commands
	Notify   gateway.Subscriber
	// Analytics answers the questions about read rates.
	Analytics Analytics
	// Notary answers the questions about the log's trees.
	Notary Notary
	// Partitions is the number of partitions of the log, and Identity what tells it from others:
	// see [eventlog.Log.Identity].
	Partitions int
	Identity   uint64

	// Positions knows how far the state is folded.
	Positions Positions
	// Cluster, if set, is the nodes that this server is one of.
	Cluster Cluster

	// AdminKey opens everything.
	AdminKey string
	// Tokens checks and makes user tokens.
	Tokens *gateway.Tokens
	// Names, if set, keeps the names of users that the backend makes tokens for from strangers.
	Names Names

	// Invitations are those that wait for the consent of users.
	Invitations Invitations

	// Gate admits requests with events, and questions; nil = one of its own, with its defaults.
	Gate *admission.Gate
	// Admin are the calls below /v1/admin/. They are only called for requests with the admin key,
	// and without deadlines.
	Admin []AdminCall
	// Sessions, if set, serves the SDK's WebSocket at /websocket, and REST the SDK's calls at the
	// root.
	Sessions http.Handler
	REST     REST
	// Demo, if set, serves /demo and the files below it.
	Demo http.Handler
	// PageSessions, if set, keeps the page's sessions where several servers find them.
	PageSessions web.SessionStore
	// Writable, if set, says what keeps the log from taking events; nil if nothing does.
	Writable func() error
	// PartitionStatus, if set, says how far each partition is, for GET /v1/status.
	PartitionStatus func() []web.PartitionStatus
	// Snapshots, if set, is the newest snapshot of each partition as JSON, nil for none.
	Snapshots func() []any
	// Scrub, if set, says in a few words what reading all files through has come to, for the page.
	Scrub func() string
	// DeadLetters, if set, is what NATS clients published lately and had no effect, for the page.
	DeadLetters func() []web.DeadLetter
	// ClickHouse says that the server has one, for the page.
	ClickHouse bool
	// ClusterPage, if set, is the cluster as this node sees it, for the page.
	ClusterPage func() web.Cluster
	// PrivateTotals has the totals over all apps and the metrics take the admin key.
	PrivateTotals bool
	// Version is shown in GET /v1/status.
	Version string

	// Registry gets the API's metrics, and is what GET /metrics shows.
	Registry *prometheus.Registry
	Logger   *slog.Logger
	Limits   Limits

	// Origins are the origins whose pages may make the calls below /v1/ from a browser, such as
	// "https://chat.example.com"; "*" stands for all. None: only pages of this server.
	Origins []string
}

// AdminCall is a call that is served from outside the package.
type AdminCall struct {
	// Method and Path are as in schema/openapi.yaml, which also has the query parameters that are
	// let through.
	Method, Path string
	Handler      http.Handler
}

// REST serves the SDK's calls.
type REST interface {
	http.Handler
	// Serves reports whether the request is one of the SDK's calls, or a browser's question before
	// one.
	Serves(r *http.Request) bool
}

// Limits bound what clients can make grow. Zero values mean the defaults.
type Limits struct {
	// BodyBytes bounds the body of POST events, before and after decompression. Default 8 MiB.
	BodyBytes int64
	// Events bounds the events of one request. Default 10,000.
	Events int
	// Request is how long a request may take, to the last byte of its answer. Default 30 s.
	Request time.Duration
	// Submit is how long a request that was read waits for its turn and for room in the log's queue
	// before it is told to come back. Default 1 s.
	Submit time.Duration
	// Apply is how long wait=applied waits for the fold once the events are durable. Default 10 s.
	Apply time.Duration
	// CatchUp is how long a request waits for the state to be as new as it asks for. Default 5 s.
	CatchUp time.Duration
	// Streams bounds the open event streams, which apps share by weight, StreamsPerUser those of
	// one user. Defaults 20,000 and 8.
	Streams, StreamsPerUser int
	// StreamWrite is how long a stream's client may leave its socket full before it is dropped.
	// Default 10 s.
	StreamWrite time.Duration
	// ReceiptsPerSecond bounds the receipts that a user reports with their token, after a burst of
	// ten times as many. Default 100.
	ReceiptsPerSecond int
	// Heartbeat is the longest silence of a stream. Default 15 s.
	Heartbeat time.Duration
	// UploadIdle is the longest silence of a client that streams events. Default 2 min.
	UploadIdle time.Duration
}

func (l Limits) withDefaults() Limits {
	gateway.OrDefault(&l.BodyBytes, 8<<20)
	gateway.OrDefault(&l.Events, 10_000)
	gateway.OrDefault(&l.Request, 30*time.Second)
	gateway.OrDefault(&l.Submit, time.Second)
	gateway.OrDefault(&l.Apply, 10*time.Second)
	gateway.OrDefault(&l.CatchUp, gateway.CatchUpTime)
	gateway.OrDefault(&l.Streams, 20_000)
	gateway.OrDefault(&l.StreamsPerUser, 8)
	gateway.OrDefault(&l.StreamWrite, 10*time.Second)
	gateway.OrDefault(&l.ReceiptsPerSecond, 100)
	gateway.OrDefault(&l.Heartbeat, 15*time.Second)
	gateway.OrDefault(&l.UploadIdle, 2*time.Minute)
	return l
}

// API is the HTTP handler. It starts no goroutine of its own; Run is what goes on between the
// requests.
type API struct {
	cfg       Config
	fresh     gateway.Freshness
	mux       *http.ServeMux
	cors      *cors.Cors // nil: no page of another origin may call
	callers   *gateway.Authenticator
	summaries *notify.Summaries
	metrics   *metrics
	page      *web.Page
	started   time.Time

	gate        *admission.Gate
	hints       *ingest.Hints
	reporters   *reporters
	streams     *streamCount
	scrapes     *fair.Semaphore
	connections connections
	configuring chan struct{} // holds a token while settings change

	// draining ends streams; it is what Drain cancels.
	draining context.Context
	drain    context.CancelFunc
	accepted atomic.Uint64
}

// New makes an API. It fails if the configuration lacks something.
func New(cfg Config) (*API, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("httpapi: %w", err)
	}
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Gate == nil {
		cfg.Gate = admission.New(admission.Options{Registerer: cfg.Registry})
	}
	a := &API{
		cfg:         cfg,
		fresh:       cfg.freshness(),
		callers:     gateway.NewAuthenticator(cfg.AdminKey, cfg.Tokens),
		summaries:   &notify.Summaries{State: cfg.State, Partitions: cfg.Partitions, Log: cfg.Identity},
		metrics:     newMetrics(cfg.Registry),
		started:     time.Now(),
		gate:        cfg.Gate,
		hints:       ingest.NewHints(cfg.State),
		reporters:   newReporters(cfg.Limits.ReceiptsPerSecond),
		streams:     newStreamCount(cfg.Limits, cfg.Gate.Weight),
		scrapes:     fair.New(fair.Options{Capacity: scrapesAtOnce}),
		configuring: make(chan struct{}, 1),
	}
	a.draining, a.drain = context.WithCancel(context.Background())
	a.page = web.New(web.Config{
		State: cfg.State, Rates: cfg.Analytics, Status: a.status, AdminKey: cfg.AdminKey, Private: cfg.PrivateTotals,
		Registry: cfg.Registry, Sessions: cfg.PageSessions, Logger: cfg.Logger, ClickHouse: cfg.ClickHouse, Cluster: cfg.ClusterPage,
	})
	a.mux = a.newMux()
	if len(cfg.Origins) > 0 {
		a.cors = newCORS(cfg.Origins)
	}
	return a, nil
}

// Run keeps the history that the page shows, until the context ends.
func (a *API) Run(ctx context.Context) { a.page.Run(ctx) }

func (cfg *Config) validate() error {
	switch {
	case cfg.State == nil, cfg.Log == nil, cfg.Commands == nil, cfg.Notify == nil:
		return errors.New("state, log, commands and notify are required")
	case cfg.Positions == nil:
		return errors.New("positions are required")
	case cfg.Analytics == nil, cfg.Notary == nil:
		return errors.New("analytics and a notary are required")
	case cfg.Partitions < 1:
		return errors.New("the number of partitions is required")
	case cfg.AdminKey == "":
		// An empty one would open everything to everybody.
		return errors.New("an admin key is required")
	case cfg.Tokens == nil:
		return errors.New("tokens are required")
	case cfg.Registry == nil:
		return errors.New("a metrics registry is required")
	case cfg.Logger == nil:
		return errors.New("a logger is required")
	}
	return nil
}

// Drain ends the open streams and turns readiness off; other requests are still served. It may be
// called more than once.
func (a *API) Drain() { a.drain() }

// Server returns a server for the API, without an address. Its Shutdown drains the API.
func (a *API) Server() *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // a proxy, or a client that knows it
	s := &http.Server{
		Handler:   a,
		Protocols: &protocols,
		// This bounds the header alone. Bodies and answers differ by route, from a lookup to a
		// stream that stays open for days, so their deadlines are set by route (see serve).
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ConnContext:       a.ConnContext,
		ConnState:         a.connections.changed,
		MaxHeaderBytes:    32 << 10,
		// A deadline of a request is nothing to a connection whose socket its client leaves full.
		HTTP2:    &http.HTTP2Config{WriteByteTimeout: a.cfg.Limits.StreamWrite},
		ErrorLog: slog.NewLogLogger(a.cfg.Logger.Handler(), slog.LevelDebug),
	}
	s.RegisterOnShutdown(a.Drain)
	s.RegisterOnShutdown(func() { a.connections.cutStalled(stalledAfter) })
	return s
}
