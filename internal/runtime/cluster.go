package runtime

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/internal/feed"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/gateway/httpapi"
	"github.com/receiptd/receiptd/internal/presence"
	"github.com/receiptd/receiptd/internal/router"
	"github.com/receiptd/receiptd/internal/web"
	"github.com/receiptd/receiptd/projections"
)

// sessionsBucket has the sessions of the page, by the hashes of their ids.
const sessionsBucket = "receiptd_sessions"

// sinkName is the writer that fills ClickHouse.
const sinkName = "sink"

// joinCluster makes this process a node, if it is to be one: it gets the secrets of the others, or
// gives them its own if it is the first.
func (s *Server) joinCluster(ctx context.Context, version string) error {
	name := s.cfg.Cluster.Node
	if name == "" {
		return s.checkAlone(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit(s.cfg))
	defer cancel()
	if err := retry(ctx, s.logger, func(ctx context.Context) (err error) {
		s.sessions, err = cluster.OpenBucket(ctx, s.nc, sessionsBucket, s.cfg.CopiesOfLog(), 24*time.Hour)
		return err
	}); err != nil {
		return err
	}
	if err := retry(ctx, s.logger, s.shareSecrets); err != nil {
		return err
	}
	if err := retry(ctx, s.logger, s.compareAdminKeys); err != nil {
		return err
	}
	var life [8]byte
	_, _ = rand.Read(life[:]) // never fails
	s.life = hex.EncodeToString(life[:])
	names, err := cluster.NewNameBus(s.nc)
	if err != nil {
		return err
	}
	if err := retry(ctx, s.logger, func(ctx context.Context) (err error) {
		s.releaseName, err = cluster.TakeName(ctx, names, s.bucket, name, s.life)
		return err
	}, cluster.ErrNameTaken); err != nil {
		return err
	}
	bus, err := cluster.NewBus(s.nc)
	if err != nil {
		return err
	}
	feedBus, err := cluster.NewFeedBus(s.nc)
	if err != nil {
		return err
	}
	jobBus, err := cluster.NewJobBus(s.nc)
	if err != nil {
		return err
	}
	s.jobs = &cluster.Jobs{Bus: jobBus, Node: name, Do: rebuilder{s.Core}.job}
	userBus, err := cluster.NewUserBus(s.nc)
	if err != nil {
		return err
	}
	err = retry(ctx, s.logger, func(ctx context.Context) (err error) {
		s.node, err = cluster.New(ctx, cluster.Options{
			Name: name, Life: s.life, Version: version, Bus: bus, Bucket: s.bucket, Register: s.bucket, Log: s.Log, State: copies{s.Projector}, MaxLevel: projections.MaxLevel(), Raise: projections.RaisedLevel,
			Plan: s.plan, MoveAfter: s.cfg.Cluster.MoveAfter, Snapshots: s.snapshots != nil, FloorEvery: s.cfg.State.SnapshotEvery,
			Draining: func() bool { return s.draining.Err() != nil }, Registerer: s.registry, Logger: s.logger,
		})
		return err
	})
	if err != nil {
		return err
	}
	s.feeds.Join(feed.Options{
		ID: s.life, Node: name, Bus: feedBus, State: s.Projector, Copies: s.node.Copies, Furthest: s.node.Furthest,
		Registerer: s.registry, Logger: s.logger,
	})
	s.router = router.New(s.Projector, s.node.Asker(), s.feeds, s.registry)
	s.answerOthers()
	s.otherNodes = presence.New(presence.Options{Node: name, Others: s.node.Others, Bus: userBus, Registerer: s.registry})
	s.fresh = cluster.NewFreshReads(s.Log, s.router)
	return nil
}

// checkAlone refuses to be the only process on a log that nodes share: it would neither know their
// secrets nor what they need of the log, and they would not know of it.
func (s *Server) checkAlone(ctx context.Context) error {
	if s.cfg.Log.NATS == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	nc, err := s.Log.Connect(ctx, "receiptd looking for nodes")
	if err != nil {
		return fmt.Errorf("connect to look for nodes: %w", err)
	}
	defer nc.Close()
	var nodes []string
	if err := retry(ctx, s.logger, func(ctx context.Context) error {
		bucket, err := cluster.FindBucket(ctx, nc, cluster.BucketName)
		if errors.Is(err, cluster.ErrNotFound) {
			return nil
		}
		if err == nil {
			nodes, err = cluster.Nodes(ctx, bucket)
		}
		return err
	}); err != nil {
		return fmt.Errorf("look for nodes: %w", err)
	}
	if len(nodes) == 0 {
		return nil
	}
	return fmt.Errorf("the log is shared by the nodes %s, and this process has no name: give it one of its own by --node", strings.Join(nodes, ", "))
}

// A try that is not answered is given up for the next one, which takes twice as long, up to
// retryTryMax.
const (
	retryTry      = time.Second
	retryTryMax   = 10 * time.Second
	retryPause    = 200 * time.Millisecond
	retrySayEvery = 10 * time.Second
)

// retry does a step of a start until it succeeds, its error is a final one, or ctx ends: streams
// that were just made have no leader yet, and a request without one is never answered. What it
// waits for is logged once in retrySayEvery.
func retry(ctx context.Context, logger *slog.Logger, step func(context.Context) error, final ...error) error {
	say := rate.Sometimes{First: 1, Interval: retrySayEvery}
	for limit := retryTry; ; limit = min(2*limit, retryTryMax) {
		try, cancel := context.WithTimeout(ctx, limit)
		err := step(try)
		cancel()
		if err == nil || ctx.Err() != nil || slices.ContainsFunc(final, func(f error) bool { return errors.Is(err, f) }) {
			return err
		}
		say.Do(func() { logger.Info("the start waits for the NATS servers; trying again", "reason", err) })
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return err
		}
	}
}

// copies are this node's copies of the state, as the cluster asks for them.
type copies struct{ *projector.Projector }

// ChecksumAt implements [cluster.State].
func (c copies) ChecksumAt(ctx context.Context, partition int, sequence uint64) (cluster.Checksum, time.Duration, error) {
	m, err := c.Projector.ChecksumAt(ctx, partition, sequence)
	if errors.Is(err, projector.ErrPassed) {
		err = cluster.ErrPassed
	}
	return cluster.Checksum{Sequence: sequence, Base: m.Head.Base, Chain: m.Head.Root.String(), Digest: m.Digest, Rules: m.Rules}, m.Cost, err
}

// Condemned implements [cluster.State].
func (c copies) Condemned(partition int) bool { return c.FoldingAgain(partition) }

// nodeState is the state as the edges of a node ask for it.
type nodeState struct {
	*router.Router
	node  *cluster.Node
	fresh *cluster.FreshReads
}

// newestTimeout bounds how long a question for an unknown app looks for it in the log.
const newestTimeout = 3 * time.Second

// FindApp looks for an app that is unknown here in what the log has by now: another node may have
// just made it. While the log does not answer, as when its leader has died, nobody can tell.
func (n nodeState) FindApp(app string) (s events.Settings, revision uint64, err error) {
	if s, revision, err = n.Router.FindApp(app); !errors.Is(err, projector.ErrNoApp) {
		return s, revision, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), newestTimeout)
	defer cancel()
	if err := n.fresh.Newest(ctx); err != nil {
		return s, 0, fmt.Errorf("look for an app in the log: %w: %w", projector.ErrLate, err)
	}
	return n.Router.FindApp(app)
}

// Ready is the node's.
func (n nodeState) Ready() error { return n.node.Ready() }

// folded is the state as [positions] asks for it.
type folded interface {
	Folded() []uint64
	WaitFor(ctx context.Context, partition int, sequence uint64) error
}

// positions is how far the state is folded.
type positions struct {
	folded
	log   *eventlog.Log
	fresh *cluster.FreshReads
	alone bool
}

// WaitFor waits for an entry of a partition, and of all that have forked from it since and have the
// entry, too: what was in the one is in them by now.
func (p positions) WaitFor(ctx context.Context, partition int, sequence uint64) error {
	for k := partition; k < p.log.Partitions(); k++ {
		upto := sequence
		if k != partition {
			upto = min(sequence, p.log.Shared(k, partition))
		}
		if upto == 0 {
			continue
		}
		if err := p.folded.WaitFor(ctx, k, upto); err != nil {
			return err
		}
	}
	return nil
}

// Strong implements [gateway.Positions]. What a server that is the only one has acknowledged is in
// its own log.
func (p positions) Strong(ctx context.Context) error {
	if p.alone {
		return p.fresh.Newest(ctx)
	}
	return p.fresh.Strong(ctx)
}

func (s *Server) positions() gateway.Positions {
	if s.node != nil {
		return positions{s.router, s.Log, s.fresh, false}
	}
	return positions{s.Projector, s.Log, cluster.NewFreshReads(s.Log, s.Projector), true}
}

// freshness is how new what the edges answer is.
func (s *Server) freshness() *gateway.Freshness {
	f := &gateway.Freshness{Positions: s.positions(), Partitions: s.Log.Partitions(), Log: s.Log.Identity()}
	if s.node != nil {
		f.Node = s.node.Name()
	}
	return f
}

// clusterAPI is the cluster as the HTTP API asks for it.
type clusterAPI struct {
	*cluster.Node
	snapshots func() []any
}

// View implements [httpapi.Cluster].
func (n clusterAPI) View() any {
	v := n.Describe()
	for k, last := range n.snapshots() {
		v.Partitions[k].Snapshot = last
	}
	return v
}

// clusterPage is the cluster as the page shows it.
func (s *Server) clusterPage() web.Cluster {
	view := s.node.Describe()
	c := web.Cluster{Node: view.Node, RulesLevel: view.RulesLevel, Wanted: view.Copies}
	for _, m := range view.Moves {
		c.Moves = append(c.Moves, web.ClusterMove(m))
	}
	for _, n := range view.Nodes {
		c.Nodes = append(c.Nodes, web.ClusterNode{
			Name: n.Node, State: n.State, Version: n.Version, Problem: n.Problem, Heard: time.Duration(n.HeardMS) * time.Millisecond,
			MaxRulesLevel: n.MaxRulesLevel, Drained: n.Drained,
		})
	}
	for _, p := range view.Partitions {
		x := web.ClusterPartition{Partition: p.Partition, Compared: p.Compared, Wanted: p.Wanted}
		for _, k := range p.Copies {
			x.Copies = append(x.Copies, web.ClusterCopy{Node: k.Node, State: k.State, Sequence: k.Sequence, Applied: k.Applied, Chain: k.Chain, Digest: k.Digest, Stuck: k.Stuck})
		}
		c.Partitions = append(c.Partitions, x)
	}
	return c
}

// changed is the error of a change of the cluster, as the API knows it.
func changed(err error) error {
	switch {
	case errors.Is(err, cluster.ErrNotFound):
		return httpapi.ErrNoNode
	case errors.Is(err, cluster.ErrConflict):
		return httpapi.ErrNodeAlive
	case errors.Is(err, cluster.ErrRefused):
		return fmt.Errorf("%w: %s", httpapi.ErrRefused, strings.TrimPrefix(err.Error(), cluster.ErrRefused.Error()+": "))
	}
	return err
}

// Forget implements [httpapi.Cluster].
func (n clusterAPI) Forget(ctx context.Context, node string) error {
	return changed(n.Node.Forget(ctx, node))
}

// SetCopies implements [httpapi.Cluster].
func (n clusterAPI) SetCopies(ctx context.Context, copies int) error {
	return changed(n.Node.SetCopies(ctx, copies))
}

// Drain implements [httpapi.Cluster].
func (n clusterAPI) Drain(ctx context.Context, node string) error {
	return changed(n.Node.Drain(ctx, node))
}

// Undrain implements [httpapi.Cluster].
func (n clusterAPI) Undrain(ctx context.Context, node string) error {
	return changed(n.Node.Undrain(ctx, node))
}

// Move implements [httpapi.Cluster].
func (n clusterAPI) Move(ctx context.Context, partition int, from, to string) error {
	return changed(n.MoveCopy(ctx, cluster.Move{Partition: partition, From: from, To: to}))
}

// DropMove implements [httpapi.Cluster].
func (n clusterAPI) DropMove(ctx context.Context, partition int) error {
	return changed(n.Node.DropMove(ctx, partition))
}

// claimEvery is how often a node looks whether it is to run what one does at a time.
const claimEvery = time.Second

// pageSessions are the sessions of the page that all nodes share; nil for a server that is alone.
func (s *Server) pageSessions() web.SessionStore {
	if s.sessions == nil {
		return nil
	}
	return pageSessions{s.sessions}
}

// pageSessions keeps sessions in a bucket.
type pageSessions struct{ bucket *cluster.Bucket }

// Put implements [web.SessionStore].
func (p pageSessions) Put(ctx context.Context, id string, expires time.Time) error {
	return p.bucket.Put(ctx, id, []byte(expires.UTC().Format(time.RFC3339)))
}

// Get implements [web.SessionStore].
func (p pageSessions) Get(ctx context.Context, id string) (time.Time, error) {
	text, _, err := p.bucket.Get(ctx, id)
	if errors.Is(err, cluster.ErrNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339, string(text))
}

// Delete implements [web.SessionStore].
func (p pageSessions) Delete(ctx context.Context, id string) error { return p.bucket.Delete(ctx, id) }
