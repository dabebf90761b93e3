package runtime

import (
	"context"
	"net/http"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/gateway/admission"
	"github.com/receiptd/receiptd/internal/gateway/httpapi"
	"github.com/receiptd/receiptd/internal/web"
	"github.com/receiptd/receiptd/internal/web/demo"
)

// newGateway opens the edges.
func (s *Server) newGateway(ctx context.Context, version string) (*httpapi.API, error) {
	key, err := secretFile(filepath.Join(s.cfg.Data, tokenKeyFile), 32)
	if err != nil {
		return nil, err
	}
	tokens, err := gateway.NewTokens([]byte(key), time.Now)
	if err != nil {
		return nil, err
	}
	s.intake = admission.New(admission.Options{
		Memory: int64(s.cfg.Intake.Memory), Weight: s.cfg.Intake.AppWeights.Of(), Registerer: s.registry,
	})
	s.scrubber = newScrubber(s)
	s.alerts = newAlertKeeper(&commands{log: s.Log, projector: s.folds()}, s.registry, s.logger)
	s.registry.MustRegister(s.scrubber, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&collector{core: s.Core})
	if s.sdk, err = s.openSDK(ctx, tokens); err != nil {
		return nil, err
	}
	var nodes httpapi.Cluster
	var clusterPage func() web.Cluster
	if s.node != nil {
		nodes, clusterPage = clusterAPI{s.node, s.lastSnapshots}, s.clusterPage
	}
	return httpapi.New(httpapi.Config{
		Positions:       s.positions(),
		Cluster:         nodes,
		ClusterPage:     clusterPage,
		ClickHouse:      s.Archive != nil,
		PageSessions:    s.pageSessions(),
		Sessions:        s.sdk.sessions,
		REST:            s.sdk.rest,
		Gate:            s.intake,
		Demo:            s.demo(tokens),
		State:           s.state(),
		Log:             s.Log,
		Commands:        &commands{log: s.Log, projector: s.folds(), users: newUserLocks()},
		Notify:          s.hub,
		Analytics:       s.rates(),
		Notary:          s.notaries(),
		Partitions:      s.Log.Partitions(),
		Identity:        s.Log.Identity(),
		AdminKey:        s.adminKey,
		Tokens:          tokens,
		Names:           s.sdk.accounts,
		Invitations:     s.sdk.rest,
		Admin:           adminCalls(s.draining, s.Core, s.scrubber, http.HandlerFunc(s.repartition)),
		Scrub:           s.scrubber.line,
		Snapshots:       s.lastSnapshots,
		Writable:        s.Core.writable,
		DeadLetters:     s.deadLetters.shown,
		PartitionStatus: s.partitionStatus,
		PrivateTotals:   s.cfg.HTTP.PrivateTotals(),
		Version:         version,
		Registry:        s.registry,
		Logger:          s.edgeLog,
		Origins:         s.cfg.HTTP.CORSOrigin.List(),
		Limits: httpapi.Limits{
			BodyBytes: int64(s.cfg.HTTP.MaxBody),
			Events:    s.cfg.HTTP.MaxEventsPerRequest,

			ReceiptsPerSecond: s.cfg.HTTP.ReceiptsPerSecond,
		},
	})
}

// state answers the questions of the edges: from the folds here or, on a node, also from other
// nodes.
func (s *Server) state() edgeState {
	if s.node != nil {
		return nodeState{s.router, s.node, s.fresh}
	}
	return s.Projector
}

// notaries makes proofs of partitions here and, on a node, has other nodes make those of theirs.
func (s *Server) notaries() httpapi.Notary {
	if s.node != nil {
		return routedNotary{s.notary, s.router}
	}
	return s.notary
}

// demo is the demo page, nil unless it is asked for.
func (s *Server) demo(tokens *gateway.Tokens) http.Handler {
	if !s.cfg.Demo.On {
		return nil
	}
	return demo.New(demo.Config{
		Host: &demoHost{s.Core, tokens, s.sdk.ids}, SDK: s.cfg.Demo.SDK, Logger: s.edgeLog,
	})
}
