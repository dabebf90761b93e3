package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/consumers/analytics"
	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/gateway/httpapi"
	"github.com/receiptd/receiptd/internal/notary"
	"github.com/receiptd/receiptd/internal/web"
	"github.com/receiptd/receiptd/internal/web/demo"
	"github.com/receiptd/receiptd/projections/clickhouse"
)

// startTimeout bounds the start of the log: the embedded server reads what it holds, an outside one
// answers.
const startTimeout = 60 * time.Second

// Core is the log and the state folded from it, without an edge: what a tool opens on a stopped
// server's data.
type Core struct {
	Log       *eventlog.Log
	Projector *projector.Projector
	// Archive is ClickHouse; nil if there is none.
	Archive *clickhouse.Store

	data     string // the directory
	hub      *notify.Hub
	registry *prometheus.Registry
	lock     *flock.Flock
	logger   *slog.Logger
}

// OpenStopped opens log and state of a stopped server for a tool, which makes nothing that is not
// there: a directory without a log is refused, and so is a state that the log does not agree with.
// dsn is the ClickHouse that has the archive; empty for none.
func OpenStopped(ctx context.Context, dir string, dsn config.DSN, logger *slog.Logger) (*Core, error) {
	if _, err := os.Stat(filepath.Join(dir, logDir)); err != nil {
		return nil, fmt.Errorf("%s holds no log; one in an outside NATS takes a running server: %w", dir, err)
	}
	cfg := config.Default()
	cfg.Data, cfg.Analytics.ClickHouse = dir, dsn
	return openCore(ctx, cfg, opening{}, logger)
}

// opening says how data is opened.
type opening struct {
	// startOver has a state folded again that stands beyond the log; see [projector.Options].
	startOver bool
}

// openCore takes the data directory and opens log and state. Nothing is folded yet: see
// [projector.Projector.Run].
func openCore(ctx context.Context, cfg config.Config, how opening, logger *slog.Logger) (c *Core, err error) {
	c = &Core{logger: logger, data: cfg.Data}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close(context.WithoutCancel(ctx)))
		}
	}()
	if c.lock, err = openData(cfg.Data); err != nil {
		return c, err
	}
	inTime, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if c.Log, err = eventlog.Open(inTime, logConfig(cfg, logger)); err != nil {
		return c, fmt.Errorf("open log: %w", err)
	}
	if dsn := cfg.Analytics.ClickHouse; dsn != "" {
		if c.Archive, err = clickhouse.New(clickhouse.Options{DSN: dsn.Reveal()}); err != nil {
			return c, err
		}
	}
	c.registry = prometheus.NewRegistry()
	c.hub = notify.New(c.Log.Partitions(), notify.Options{
		// Half of the 50 ms in which an author hears of a reader in the middle: the other
		// half is for the way there.
		FlushInterval: 25 * time.Millisecond,
		Registerer:    c.registry,
	})
	c.Projector, err = projector.New(ctx, c.Log, projector.Options{
		Dir:             filepath.Join(cfg.Data, stateDir),
		CacheBytes:      int(cfg.State.CacheSize),
		CheckpointEvery: cfg.State.CheckpointInterval,
		Audience:        c.hub,
		StartOver:       how.startOver,
		Logger:          logger,
	})
	if err != nil {
		return c, fmt.Errorf("open state: %w", err)
	}
	return c, nil
}

// mayLose reports whether power loss may take events that were acknowledged, by the operator's own
// choice.
func mayLose(cfg config.Config) bool {
	return len(cfg.Log.NATS) == 0 && cfg.Log.Fsync == config.FsyncInterval
}

func logConfig(cfg config.Config, logger *slog.Logger) eventlog.Config {
	l := eventlog.Config{
		Partitions: cfg.Log.Partitions,
		Logger:     logger,
	}
	if len(cfg.Log.NATS) > 0 {
		l.URL = cfg.Log.NATS.Reveal()
		l.Credentials = cfg.Log.NATSCredentials
		l.Replicas = cfg.Log.Replicas
		return l
	}
	l.Dir = filepath.Join(cfg.Data, logDir)
	l.WitnessDir, l.InspectBytes = witnessOf(cfg), int64(cfg.Log.InspectSize)
	if l.MinFree = int64(cfg.Log.MinFree); l.MinFree == 0 {
		l.MinFree = eventlog.NoMinFree
	}
	if cfg.Log.Fsync == config.FsyncInterval {
		l.Fsync = eventlog.FsyncInterval
	}
	l.Ingress = eventlog.Ingress{Listen: cfg.Log.NATSListen, Password: cfg.Log.NATSPassword.Reveal()}
	return l
}

// OpenNotary opens what signs the heads of the log's trees, and makes its key if there is none. The
// error is [notary.ErrRewritten] for a log that is not what was signed before.
func (c *Core) OpenNotary() (*notary.Notary, error) {
	n, err := notary.Open(notary.Options{Data: c.data, Log: c.Log, State: c.Projector, Logger: c.logger})
	if err != nil && notary.Check(c.data) != nil {
		err = fmt.Errorf("%s: %w", CodeHeadsBad, err)
	}
	return n, err
}

// KnownHeads are the heads that the tree of a partition is known to have had, for
// [projector.RebuildOptions].
func (c *Core) KnownHeads(partition int) ([]merkle.Head, error) {
	return notary.KnownHeads(c.data, c.Log, partition)
}

// Close closes what is open, in the order in which one part needs the other. It may be called
// again.
func (c *Core) Close(ctx context.Context) error {
	var err error
	if c.Projector != nil {
		err = errors.Join(err, c.Projector.Close())
		c.Projector = nil
	}
	if c.Archive != nil {
		err = errors.Join(err, c.Archive.Close())
		c.Archive = nil
	}
	if c.hub != nil {
		c.hub.Close()
	}
	if c.Log != nil {
		err = errors.Join(err, c.Log.Close(ctx))
		c.Log = nil
	}
	if c.lock != nil {
		err = errors.Join(err, c.lock.Unlock())
		c.lock = nil
	}
	return err
}

// Server is a whole receiptd.
type Server struct {
	*Core
	cfg      config.Config
	logger   *slog.Logger
	listener net.Listener
	http     *http.Server
	sdk      *sdk
	gate     gate
	scrubber *scrubber
	adminKey string

	notary    *notary.Notary
	gateway   *httpapi.API
	opened    []consumer          // of the table of consumers
	analytics *analytics.Consumer // one of them; nil without ClickHouse

	draining      context.Context // ends when draining starts
	startDraining context.CancelFunc
}

// Build opens everything and binds the address, but serves and folds nothing yet.
func Build(ctx context.Context, cfg config.Config, logger *slog.Logger, version string) (s *Server, err error) {
	core, err := openCore(ctx, cfg, opening{startOver: mayLose(cfg)}, logger)
	if err != nil {
		return nil, err
	}
	s = &Server{Core: core, cfg: cfg, logger: logger}
	s.draining, s.startDraining = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close(context.WithoutCancel(ctx)))
			s = nil
		}
	}()
	if s.adminKey = cfg.HTTP.AdminKey.Reveal(); s.adminKey == "" {
		if s.adminKey, err = secretFile(filepath.Join(cfg.Data, config.AdminKeyFile), 24); err != nil {
			return s, err
		}
	}
	if err := s.openConsumers(); err != nil {
		return s, err
	}
	if s.notary, err = core.OpenNotary(); err != nil {
		return s, err
	}
	if s.gateway, err = s.newGateway(ctx, version); err != nil {
		return s, err
	}
	s.http = s.gateway.Server()
	s.http.RegisterOnShutdown(s.sdk.sessions.Drain)
	s.gate.next, s.http.Handler = s.http.Handler, &s.gate
	if s.listener, err = net.Listen("tcp", cfg.HTTP.Listen); err != nil {
		return s, fmt.Errorf("listen: %w", err)
	}
	if !config.Loopback(cfg.HTTP.Listen) {
		logger.Warn("keys and tokens travel unencrypted: receiptd has no TLS of its own; let a proxy with TLS be the only one to reach it",
			"listen", cfg.HTTP.Listen)
	}
	return s, nil
}

func (s *Server) newGateway(ctx context.Context, version string) (*httpapi.API, error) {
	key, err := secretFile(filepath.Join(s.cfg.Data, tokenKeyFile), 32)
	if err != nil {
		return nil, err
	}
	tokens, err := gateway.NewTokens([]byte(key), time.Now)
	if err != nil {
		return nil, err
	}
	s.scrubber = newScrubber(s)
	s.registry.MustRegister(s.scrubber, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&collector{core: s.Core})
	if s.sdk, err = openSDK(ctx, s.Core, s.cfg, tokens, s.adminKey); err != nil {
		return nil, err
	}
	return httpapi.New(httpapi.Config{
		Sessions:        s.sdk.sessions,
		REST:            s.sdk.rest,
		Demo:            s.demo(tokens),
		State:           s.Projector,
		Log:             s.Log,
		Commands:        &commands{log: s.Log, projector: s.Projector},
		Notify:          s.hub,
		Analytics:       s.rates(),
		Notary:          s.notary,
		Partitions:      s.Log.Partitions(),
		Identity:        s.Log.Identity(),
		AdminKey:        s.adminKey,
		Tokens:          tokens,
		Names:           s.sdk.accounts,
		Admin:           newAdmin(s.draining, s.Core, s.scrubber),
		Scrub:           s.scrubber.line,
		PartitionStatus: s.partitionStatus,
		Version:         version,
		Registry:        s.registry,
		Logger:          s.logger,
		Limits: httpapi.Limits{
			BodyBytes: int64(s.cfg.HTTP.MaxBody),
			Events:    s.cfg.HTTP.MaxEventsPerRequest,
		},
	})
}

// demo is the demo page, nil unless it is asked for.
func (s *Server) demo(tokens *gateway.Tokens) http.Handler {
	if !s.cfg.Demo.On {
		return nil
	}
	return demo.New(demo.Config{
		Host: &demoHost{s.Core, tokens, s.sdk.ids}, SDK: s.cfg.Demo.SDK, Logger: s.logger,
	})
}

// Addr is the address that the server listens at.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// AdminKey is the key that may do everything.
func (s *Server) AdminKey() string { return s.adminKey }

// AdminKeyFile is where the admin key was made and is kept; empty if it was given.
func (s *Server) AdminKeyFile() string {
	if s.cfg.HTTP.AdminKey.Reveal() != "" {
		return ""
	}
	return filepath.Join(s.cfg.Data, config.AdminKeyFile)
}

// Run serves and folds until the context ends, then drains within the shutdown timeout: no new
// requests, those under way finish, what was submitted becomes durable, the state is written. It
// returns early with an error if a part cannot go on.
func (s *Server) Run(ctx context.Context) error {
	// The folds stop last: requests that wait for outcomes need them.
	folding, stopFolding := context.WithCancel(context.WithoutCancel(ctx))
	defer stopFolding()
	group, failed := errgroup.WithContext(ctx)
	for _, c := range s.opened {
		group.Go(func() error { return s.runConsumer(failed, folding, c) })
	}
	group.Go(func() error {
		select {
		case <-s.Log.Failed():
			return fmt.Errorf("log: %w", s.Log.Err())
		case <-failed.Done():
			return nil
		}
	})
	group.Go(func() error { return s.reconcile(failed) })
	group.Go(func() error { return s.scrubber.run(failed) })
	group.Go(func() error { return s.notary.Run(failed) })
	group.Go(func() error {
		s.gateway.Run(failed)
		return nil
	})
	group.Go(func() error {
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve: %w", err)
		}
		return nil
	})
	group.Go(func() error { s.sdk.sessions.Run(folding); return nil })
	group.Go(func() error {
		<-failed.Done()
		defer stopFolding()
		return s.drain(context.WithoutCancel(ctx))
	})
	return group.Wait()
}

func (s *Server) drain(ctx context.Context) error {
	s.logger.Info("draining")
	s.startDraining()
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ShutdownTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		s.logger.Warn("requests were cut off", "error", err)
		err = s.http.Close()
	}
	// Shutdown began it, and does not wait for it: these connections are no longer the HTTP
	// server's.
	if e := s.sdk.sessions.Close(ctx); e != nil {
		s.logger.Warn("SDK sessions were cut off", "error", e)
	}
	return err
}

// reconcile completes changes of settings that a crash cut off between two partitions, and opens
// the gate.
func (s *Server) reconcile(ctx context.Context) error {
	c := &commands{log: s.Log, projector: s.Projector}
	err := c.reconcile(ctx)
	switch {
	case err == nil:
		s.gate.open.Store(true)
	case ctx.Err() == nil:
		return fmt.Errorf("complete settings: %w", err)
	}
	return nil
}

// Close closes everything. Run must have returned.
func (s *Server) Close(ctx context.Context) error {
	var err error
	if s.listener != nil {
		if e := s.listener.Close(); !errors.Is(e, net.ErrClosed) {
			err = e
		}
		s.listener = nil
	}
	if s.sdk != nil {
		err = errors.Join(err, s.sdk.close(ctx))
		s.sdk = nil
	}
	return errors.Join(err, s.closeConsumers(), s.Core.Close(ctx))
}

// partitionStatus says how far each partition is.
func (s *Server) partitionStatus() []web.PartitionStatus {
	var out []web.PartitionStatus
	states := s.Projector.Stats()
	for k, log := range s.Log.Stats() {
		p := web.PartitionStatus{
			Partition: k, Stored: max(log.LastSequence, states[k].Sequence), Applied: states[k].Sequence,
			Appended: log.Events, Queued: uint64(log.Queued), Ack: log.LastAck,
		}
		for _, n := range states[k].Outcomes {
			p.Folded += n
		}
		out = append(out, p)
	}
	return out
}

// Configure puts settings of an app in force in every partition.
func (c *Core) Configure(ctx context.Context, app string, s events.Settings) (events.Settings, error) {
	return (&commands{log: c.Log, projector: c.Projector}).Configure(ctx, app, s)
}
