package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/consumers/analytics"
	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/copystate"
	"github.com/receiptd/receiptd/internal/gateway/admission"
	"github.com/receiptd/receiptd/internal/gateway/httpapi"
	"github.com/receiptd/receiptd/internal/notary"
	"github.com/receiptd/receiptd/internal/presence"
	"github.com/receiptd/receiptd/internal/web"
	"github.com/receiptd/receiptd/projections"
)

// Server is a whole receiptd.
type Server struct {
	*Core
	cfg      config.Config
	logger   *slog.Logger
	edgeLog  *slog.Logger // for the edges: see sparingLog
	listener net.Listener
	http     *http.Server
	sdk      *sdk
	gate     readinessGate
	intake   *admission.Gate
	requests requests
	scrubber *scrubber
	alerts   *alertKeeper
	adminKey string

	// Of a node of a cluster; nil and empty if this server is alone. sessions are the page's.
	node        *cluster.Node
	fresh       *cluster.FreshReads
	otherNodes  *presence.OtherNodes
	life        string
	releaseName func() // nil before the name is taken
	sessions    *cluster.Bucket
	filling     atomic.Pointer[analytics.Consumer] // nil while another node fills ClickHouse

	notary    *notary.Notary
	gateway   *httpapi.API
	opened    []consumer          // of the table of consumers
	analytics *analytics.Consumer // one of them; nil without ClickHouse, and on nodes

	draining      context.Context // ends when draining starts
	startDraining context.CancelFunc

	// repartitionTo is how many partitions the log is to have after the server has ended for that;
	// 0 = it does not. end has it end.
	repartitionTo atomic.Int64
	ended         context.Context
	end           context.CancelFunc
}

// Build opens everything and binds the address, but serves and folds nothing yet.
func Build(ctx context.Context, cfg config.Config, logger *slog.Logger, version string) (s *Server, err error) {
	files, known := openFilesLimit()
	if known {
		if err := checkFiles(&cfg.Log, files, logger); err != nil {
			return nil, err
		}
	}
	way := asItIs
	if mayLose(cfg) {
		way = startOver
	}
	core, err := openCore(ctx, cfg, way, logger)
	if err != nil {
		return nil, err
	}
	s = &Server{Core: core, cfg: cfg, logger: logger, edgeLog: newSparingLog(logger)}
	s.draining, s.startDraining = context.WithCancel(context.Background())
	s.ended, s.end = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close(context.WithoutCancel(ctx)))
			s = nil
		}
	}()
	ctx, opened := whileStoring(ctx, core.Log)
	defer opened(&err)
	if err := s.joinCluster(ctx, version); err != nil {
		return s, fmt.Errorf("join the cluster: %w", err)
	}
	if s.adminKey, err = s.adminKeyGiven(); err != nil {
		return s, err
	}
	if err := s.openConsumers(); err != nil {
		return s, err
	}
	if s.notary, err = core.openNotary(); err != nil {
		return s, err
	}
	if s.gateway, err = s.newGateway(ctx, version); err != nil {
		return s, err
	}
	s.http = s.gateway.Server()
	s.http.RegisterOnShutdown(s.sdk.sessions.Drain)
	s.gate.next = s.http.Handler
	s.http.Handler = newFront(cfg.HTTP, newStreams(newPendingAnswers(&s.gate, answersMost, s.registry), streamsMost, s.registry))
	if err := s.listen(); err != nil {
		return s, fmt.Errorf("listen: %w", err)
	}
	if !config.Loopback(cfg.HTTP.Listen) && cfg.HTTP.TrustedProxies == "" {
		logger.Warn("keys and tokens travel unencrypted: receiptd has no TLS of its own; let a proxy with TLS be the only one to reach it",
			"listen", cfg.HTTP.Listen)
	}
	return s, nil
}

// listen opens the server's door, which has room for so many connections as leave files for
// the log.
func (s *Server) listen() error {
	l, err := net.Listen("tcp", s.cfg.HTTP.Listen)
	if err != nil {
		return err
	}
	most := unknownConnections
	if files, known := openFilesLimit(); known {
		most = connectionsFor(files-uint64(ingressConnections(&s.cfg.Log, files)), s.Log.Partitions())
	}
	p := limitConnections(l, most, s.registry)
	next := s.http.ConnState
	s.http.ConnState = func(conn net.Conn, state http.ConnState) {
		p.changed(conn, state)
		next(conn, state)
	}
	s.listener = p
	return nil
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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ended, cancel)()
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
	if s.node != nil {
		group.Go(func() error { return s.node.Run(folding) })
		group.Go(func() error { return s.node.Serve(folding, s.router.Answer) })
		group.Go(func() error { return s.feeds.Run(folding) })
		group.Go(func() error { return s.jobs.Serve(s.draining) })
		group.Go(func() error { return s.otherNodes.Run(folding, s.sdk.sessions) })
		group.Go(func() error { s.watchRoster(failed); return nil })
	}
	group.Go(func() error {
		err := s.reconcile(failed)
		if err == nil {
			s.raiseLevel(failed)
			s.foldByNewRules(failed)
		}
		return err
	})
	group.Go(func() error { return s.scrubber.run(failed) })
	group.Go(func() error { s.alerts.run(failed); return nil })
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
	err := group.Wait()
	if errors.Is(err, eventlog.ErrFenced) {
		s.logger.Warn("this node was fenced while the log was repartitioned, and begins again", "reason", err)
		s.endFor(2 * s.Log.Partitions())
		return nil
	}
	return err
}

func (s *Server) drain(ctx context.Context) error {
	s.logger.Info("draining")
	s.startDraining()
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ShutdownTimeout)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- s.requests.close(ctx) }()
	defer func() {
		if err := <-closed; err != nil {
			s.logger.Warn("NATS requests were cut off", "error", err)
		}
	}()
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
	c := &commands{log: s.Log, projector: s.folds()}
	err := c.reconcile(ctx)
	if err != nil {
		err = fmt.Errorf("complete settings: %w", err)
	} else {
		err = s.openRequests(ctx)
	}
	switch {
	case err == nil:
		s.gate.open.Store(true)
	case ctx.Err() != nil: // a stop so early is none of a failure
		return nil
	case errors.Is(err, projector.ErrStopped): // whose own error says why
		return nil
	}
	return err
}

// raiseLevel brings the highest level of the rules that this version knows into force, if this
// server is alone. Nodes of a cluster do that when all of them know it.
func (s *Server) raiseLevel(ctx context.Context) {
	if s.node != nil {
		return
	}
	c := &commands{log: s.Log, projector: s.Projector}
	to := projections.RaisedLevel(projections.MaxLevel())
	for k, level := range s.Projector.Levels() {
		if level >= to {
			continue
		}
		e := events.Event{Kind: events.RulesLevel, App: events.LevelApp, Revision: to}
		if _, err := c.apply(ctx, k, e); err != nil && ctx.Err() == nil {
			s.logger.Warn("the level of the rules was not raised; the next start does it", "partition", k, "level", to, "error", err)
		}
	}
}

// foldByNewRules folds a state again that the rules of an earlier version made, beside it. Until
// then that one answers: it is what everybody was told.
func (s *Server) foldByNewRules(ctx context.Context) {
	older, err := s.Projector.OlderRules()
	if err == nil && !older {
		return
	}
	s.logger.Info("the state was folded by the rules of an earlier version: it is folded again, and answers as it is until that is done")
	var result projector.RebuildResult
	if err == nil {
		result, err = s.Projector.Rebuild(ctx, projector.RebuildOptions{Switch: true})
	}
	switch {
	case err == nil:
		s.logger.Info("the state is that of the rules of this version", "it_was_the_same", result.Equal)
	case ctx.Err() != nil: // the next start does it
	case errors.Is(err, projector.ErrNeedsArchive):
		s.logger.Warn("the state is still that of earlier rules; receiptctl replay --from archive folds it again", "error", err)
	default:
		s.logger.Warn("the state is still that of earlier rules; receiptctl replay folds it again, and so does the next start", "error", err)
	}
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
	if s.releaseName != nil {
		s.releaseName()
		s.releaseName = nil
	}
	return errors.Join(err, s.closeConsumers(), s.Core.Close(ctx))
}

// partitionStatus says how far each partition is.
func (s *Server) partitionStatus() []web.PartitionStatus {
	var out []web.PartitionStatus
	states := s.Projector.Stats()
	for k, log := range s.Log.Stats() {
		p := web.PartitionStatus{
			Partition: k, Elsewhere: states[k].CopyState != copystate.Here, Stored: max(log.LastSequence, states[k].Sequence), Applied: states[k].Sequence,
			Appended: log.Events, Queued: uint64(log.Queued), Ack: log.LastAck,
		}
		for _, n := range states[k].Outcomes {
			p.Folded += n
		}
		out = append(out, p)
	}
	return out
}
