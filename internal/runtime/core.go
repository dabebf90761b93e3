package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/feed"
	"github.com/receiptd/receiptd/internal/notary"
	"github.com/receiptd/receiptd/internal/router"
	"github.com/receiptd/receiptd/internal/snapshot"
	"github.com/receiptd/receiptd/projections/clickhouse"
)

// startTimeout bounds the start of the log: the embedded server reads what it holds, an outside one
// answers.
const startTimeout = 60 * time.Second

// peersTimeout is how long a node waits for the others that it forms a cluster with, or for most of
// the NATS servers outside.
const peersTimeout = 10 * time.Minute

// startLimit bounds each part of a start that waits for NATS servers.
func startLimit(cfg config.Config) time.Duration {
	if cfg.Cluster.Node != "" {
		return peersTimeout
	}
	return startTimeout
}

// Core is the log and the state folded from it, without an edge: what a tool opens on a stopped
// server's data.
type Core struct {
	Log       *eventlog.Log
	Projector *projector.Projector
	// Archive is ClickHouse; nil if there is none.
	Archive *clickhouse.Store

	data        string           // the directory
	snapshots   *snapshot.Reader // nil if there are none
	minFree     int64            // bytes that the embedded log leaves free there
	hub         *notify.Hub
	deadLetters *deadLetters
	registry    *prometheus.Registry
	lock        *flock.Flock
	logger      *slog.Logger

	// Of a node of a cluster; nil for a server that is alone.
	feeds  *feed.Feeds
	router *router.Router
	jobs   *cluster.Jobs
	nc     *nats.Conn
	bucket *cluster.Bucket
	plan   cluster.Plan // as it was when the node began
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
	return openCore(ctx, cfg, asItIs, logger)
}

// Ways to open a state; see [projector.Options].
const (
	asItIs    = iota
	startOver // a state that stands beyond the log is folded again
	keepOld   // likewise, and the old one is kept if the new one is another
)

// openCore takes the data directory and opens log and state. Nothing is folded yet: see
// [projector.Projector.Run].
func openCore(ctx context.Context, cfg config.Config, way int, logger *slog.Logger) (c *Core, err error) {
	c = &Core{logger: logger, data: cfg.Data}
	if len(cfg.Log.NATS) == 0 {
		c.minFree = int64(cfg.Log.MinFree)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close(context.WithoutCancel(ctx)))
		}
	}()
	if err = c.takeData(&cfg, way); err != nil {
		return c, err
	}
	if err = c.openLog(ctx, &cfg); err != nil {
		return c, err
	}
	ctx, opened := whileStoring(ctx, c.Log)
	defer opened(&err)
	if dsn := cfg.Analytics.ClickHouse; dsn != "" {
		if c.Archive, err = clickhouse.New(clickhouse.Options{DSN: dsn.Reveal()}); err != nil {
			return c, err
		}
	}
	return c, c.openState(ctx, cfg, way)
}

// takeData makes the data directory this process's own, unless another one has it, it belongs to
// another node, or a repair of it was cut off.
func (c *Core) takeData(cfg *config.Config, way int) (err error) {
	if c.lock, err = openData(cfg.Data); err != nil {
		return err
	}
	if way != keepOld {
		if err := repairing(cfg.Data); err != nil {
			return err
		}
	}
	if node := cfg.Cluster.Node; node != "" {
		return checkOwner(cfg.Data, node)
	}
	return nil
}

// openLog opens the log, with whatever has to be done before: a restore, or the rest of a
// repartition that was cut off.
func (c *Core) openLog(ctx context.Context, cfg *config.Config) (err error) {
	limit := startLimit(*cfg)
	if cfg.Cluster.RestoreFrom != "" {
		limit = restoreTimeout
	}
	if err := checkOutside(cfg); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	o := logConfig(*cfg, c.logger)
	o.BeforeOpen = restoreFirst(*cfg, c.logger)
	node := cfg.Cluster.Node
	if node != "" {
		newRoster(*cfg, c.logger).enlist(&o)
	}
	if o.Peers != nil {
		if o.Peers.TLS, err = newPeerTLS(cfg.Cluster); err != nil {
			return err
		}
	}
	if o.Ingress, err = newIngress(cfg.Log); err != nil {
		return err
	}
	c.Log, err = eventlog.Open(ctx, o)
	if errors.Is(err, eventlog.ErrRepartitioning) && node == "" {
		c.logger.Warn("a repartition of the log was cut off; it is finished now")
		if _, err = eventlog.Repartition(ctx, o, 0); err == nil {
			c.Log, err = eventlog.Open(ctx, o)
		}
	}
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	if node != "" {
		return noteOwner(cfg.Data, node)
	}
	return nil
}

// openState opens the state of every partition that is here, and what hears of its changes.
func (c *Core) openState(ctx context.Context, cfg config.Config, way int) (err error) {
	c.registry = prometheus.NewRegistry()
	c.deadLetters = newDeadLetters(c.registry, c.logger)
	c.hub = notify.New(c.Log.Partitions(), notify.Options{
		// Half of the 50 ms in which an author hears of a reader in the middle: the other
		// half is for the way there.
		FlushInterval: 25 * time.Millisecond,
		Registerer:    c.registry,
	})
	o := projector.Options{
		Dir:             filepath.Join(cfg.Data, stateDir),
		CacheBytes:      int(cfg.State.CacheSize),
		CheckpointEvery: cfg.State.CheckpointInterval,
		Intake:          c.Log,
		DeadLetters:     c.deadLetters.add,
		StartOver:       way != asItIs,
		Keep:            way == keepOld,
		Logger:          c.logger,
	}
	if cfg.Cluster.Node == "" {
		o.Audience = c.hub
	} else {
		c.feeds = feed.New(c.hub, c.Log.Partitions())
		o.Followers = func(k int) projector.Follower { return c.feeds.Of(k) }
		if err := c.joinPlan(ctx, cfg); err != nil {
			return err
		}
		o.Sparse = !c.plan.Everywhere()
	}
	if err := c.beginFrom(ctx, cfg, &o); err != nil {
		return err
	}
	if c.Projector, err = projector.New(ctx, c.Log, o); err != nil {
		return fmt.Errorf("open state: %w", err)
	}
	return nil
}

// failing is a log that may fail for good, so that nothing is stored until the process is started
// again. [eventlog.Log] is one.
type failing interface {
	Failed() <-chan struct{}
	Err() error
}

// whileStoring is ctx until the log can store nothing any more: nothing that a start waits for
// comes then. done ends it, and adds to an error of the start that this is why.
func whileStoring(ctx context.Context, log failing) (during context.Context, done func(*error)) {
	during, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-log.Failed():
			cancel()
		case <-during.Done():
		}
	}()
	return during, func(err *error) {
		cancel()
		if why := log.Err(); *err != nil && why != nil {
			*err = fmt.Errorf("log: %w, in a start that had got to: %w", why, *err)
		}
	}
}

// roomToWrite is what has to be free beyond the reserve for a log that takes events: an entry, and
// what is written beside it.
const roomToWrite = 1 << 20

// stuckAfter is how long an entry may be under way to the log before nobody is told any more that
// events are taken: longer than a partition takes to get another leader.
const stuckAfter = 15 * time.Second

// stuck says that entries are not stored; nil if they are, or none is to be.
func stuck(partitions []eventlog.PartitionStats) error {
	for _, p := range partitions {
		if p.InFlight > stuckAfter {
			return fmt.Errorf("the log takes no events: an entry of partition %d has waited for %s; are most of the NATS servers there, and is there room on their disks?",
				p.Partition, p.InFlight.Round(time.Second))
		}
	}
	return nil
}

// writable says what keeps the log from taking events; nil if nothing does.
func (c *Core) writable() error {
	if err := stuck(c.Log.Stats()); err != nil {
		return err
	}
	if c.minFree == 0 {
		return nil // an outside cluster, or no reserve
	}
	free, err := eventlog.FreeSpace(c.data)
	if err != nil || free >= c.minFree+roomToWrite {
		return nil // what cannot be measured is no reason to stop
	}
	return fmt.Errorf("events are refused: %d MiB are free on the disk of %s, %d MiB are kept in reserve", free>>20, c.data, c.minFree>>20)
}

// mayLose reports whether power loss may take events that were acknowledged, by the operator's own
// choice.
func mayLose(cfg config.Config) bool {
	return len(cfg.Log.NATS) == 0 && cfg.Cluster.Listen == "" && cfg.Log.Fsync == config.FsyncInterval
}

func logConfig(cfg config.Config, logger *slog.Logger) eventlog.Config {
	l := eventlog.Config{
		Partitions: cfg.Log.Partitions,
		Logger:     logger,
		Weight:     cfg.Intake.AppWeights.Of(),
	}
	if cfg.Cluster.Listen != "" {
		l.Peers = &eventlog.Peers{
			Dir: filepath.Join(cfg.Data, logDir), Listen: cfg.Cluster.Listen, Routes: cfg.Cluster.RouteList(), Secret: cfg.Cluster.Secret.Reveal(),
		}
		if cfg.Log.Fsync == config.FsyncInterval {
			l.Peers.Fsync = eventlog.FsyncInterval
		}
		l.Node, l.Replicas = cfg.Cluster.Node, cfg.CopiesOfLog()
		return l
	}
	if len(cfg.Log.NATS) > 0 {
		l.URL = cfg.Log.NATS.Reveal()
		l.Credentials = cfg.Log.NATSCredentials
		l.Replicas = cfg.CopiesOfLog()
		l.Node = cfg.Cluster.Node
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
	return l
}

// openNotary opens what signs the heads of the log's trees, and makes its key if there is none. The
// error is [notary.ErrRewritten] for a log that is not what was signed before.
func (c *Core) openNotary() (*notary.Notary, error) {
	n, err := notary.Open(notary.Options{Data: c.data, Log: c.Log, State: c.Projector, Logger: c.logger})
	if err != nil && notary.Check(c.data) != nil {
		err = fmt.Errorf("%s: %w", foundHeadsBad, err)
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

// Configure puts settings of an app in force in every partition.
func (c *Core) Configure(ctx context.Context, app string, s events.Settings) (events.Settings, error) {
	return (&commands{log: c.Log, projector: c.folds()}).Configure(ctx, app, s)
}
