package runtime

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/snapshot"
)

// snapshotsDir is where a snapshot is while it is made.
const snapshotsDir = "snapshots"

// snapshotsLookEvery is how often a node looks what snapshots there are, and whether one of the
// others makes them.
const snapshotsLookEvery = 5 * time.Second

// errNoSnapshots is returned where no snapshots were ever made.
var errNoSnapshots = errors.New("there are no snapshots: no server has run with --snapshot-every")

// openSnapshots finds the snapshots. With replicas above 0 the place for them is made if it is not
// there.
func (c *Core) openSnapshots(ctx context.Context, replicas int) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	nc, err := c.Log.Connect(ctx, "receiptd snapshots")
	if err != nil {
		return fmt.Errorf("connect to the snapshots: %w", err)
	}
	r := &snapshot.Reader{Partitions: c.Log.Partitions(), Logger: c.logger}
	err = retry(ctx, c.logger, func(ctx context.Context) (err error) {
		r.Objects, r.Notes, err = openBuckets(ctx, nc, replicas)
		return err
	},
		jetstream.ErrBucketNotFound)
	if err == nil {
		err = retry(ctx, c.logger, r.Refresh)
	}
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		err = errNoSnapshots
	}
	if err != nil {
		return fmt.Errorf("open snapshots: %w", err)
	}
	c.snapshots = r
	return nil
}

func openBuckets(ctx context.Context, nc *nats.Conn, replicas int) (*snapshot.Bucket, *cluster.Bucket, error) {
	objects, err := snapshot.OpenBucket(ctx, nc, replicas)
	if err != nil {
		return nil, nil, err
	}
	notes, err := cluster.OpenBucket(ctx, nc, snapshot.BucketName, max(replicas, 1), 0)
	return objects, notes, err
}

// Snapshots are what a rebuild may begin from. The error is errNoSnapshots if there never were
// any.
func (c *Core) Snapshots(ctx context.Context) (*snapshot.Reader, error) {
	if c.snapshots == nil {
		if err := c.openSnapshots(ctx, 0); err != nil {
			return nil, err
		}
	}
	return c.snapshots, nil
}

// snapshotMaker makes snapshots, as one node at a time does. Where nothing else covers what leaves
// the log, it lets go of it, too.
type snapshotMaker struct{ s *Server }

// Run implements runner.
func (m snapshotMaker) Run(ctx context.Context) error {
	work := m.singleton(m.s.snapshots.Notes)
	work.Run(ctx)
	return nil
}

func (m snapshotMaker) singleton(notes cluster.Register) cluster.Singleton {
	work := m.s.singleton(snapshot.WriterName, notes)
	work.Every, work.Refusal = snapshotsLookEvery, "this server makes no snapshots now"
	if m.s.node != nil {
		work.Wants = m.due
	}
	work.Work = func(ctx context.Context, w *cluster.Writer) error { return m.make(ctx, w, work.Node) }
	return work
}

// due reports whether a snapshot is due of what is here: it is for those who have what there is to
// be one of.
func (m snapshotMaker) due(ctx context.Context) bool {
	s := m.s
	if err := s.snapshots.Refresh(ctx); err != nil && ctx.Err() == nil {
		s.logger.Warn("what snapshots there are is not known now", "error", err)
	}
	return snapshot.Due(s.snapshots, s.Projector, s.cfg.State.SnapshotEvery)
}

// make makes snapshots until the context ends or another node is to go on.
func (m snapshotMaker) make(ctx context.Context, w *cluster.Writer, name string) error {
	s := m.s
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	defer func() { cancel(); <-done }()
	go func() {
		defer close(done)
		if t := s.trimmer(nil); t != nil && s.Archive == nil {
			_ = t.Run(ctx)
		}
	}()
	maker := snapshot.Maker{
		Reader: s.snapshots, State: s.Projector, Writer: w, Node: name, Dir: filepath.Join(s.cfg.Data, snapshotsDir),
		Furthest: s.furthest(), Every: s.cfg.State.SnapshotEvery, Rate: int64(s.cfg.State.SnapshotRate), Room: s.Core.room, Logger: s.logger,
	}
	return maker.Run(ctx)
}

// furthest tells how far other nodes have folded a partition; nil for a server that is alone.
func (s *Server) furthest() func(partition int) uint64 {
	if s.node == nil {
		return nil
	}
	return s.node.Furthest
}

// lastSnapshot is the newest snapshot of a partition, as the API shows it.
type lastSnapshot struct {
	Sequence uint64    `json:"sequence"`
	Made     time.Time `json:"made"`
	Bytes    int64     `json:"bytes"`
	Digest   string    `json:"digest"`
	Covered  uint64    `json:"covered"`
}

// lastSnapshots has each partition's newest snapshot that is known; nil where there is none.
func (c *Core) lastSnapshots() []any {
	if c.snapshots == nil {
		return nil
	}
	list := make([]any, c.Log.Partitions())
	for _, s := range c.snapshots.Status() {
		if s.Last.Sequence > 0 {
			list[s.Partition] = lastSnapshot{s.Last.Sequence, s.Last.Made, s.Last.Bytes, s.Last.Digest, s.Before.Sequence}
		}
	}
	return list
}

// room says what keeps so many bytes from being written to the data directory; nil if nothing does.
func (c *Core) room(bytes int64) error {
	free, err := eventlog.FreeSpace(c.data)
	if err != nil || free >= c.minFree+roomToWrite+bytes {
		return nil // what cannot be measured is no reason to stop
	}
	return fmt.Errorf("%d MiB are free on the disk of %s, %d MiB are needed and %d MiB kept in reserve", free>>20, c.data, bytes>>20, c.minFree>>20)
}

// covered is the entry of a partition that snapshots cover, where they are made.
func (s *Server) covered(ctx context.Context, partition int) (sequence uint64, made bool, err error) {
	if s.cfg.State.SnapshotEvery == 0 {
		return 0, false, nil
	}
	sequence, err = s.snapshots.Covered(ctx, partition)
	return sequence, true, err
}

// snapshotCollector shows the figures of the snapshots, as they were known last.
type snapshotCollector struct{ core *Core }

var (
	descSnapshot      = desc("snapshot_sequence", "Entry at which the newest snapshot of the state stands; 0 for none.")
	descSnapshotMade  = desc("snapshot_made_timestamp_seconds", "When the newest snapshot was made; 0 for none.")
	descSnapshotBytes = desc("snapshot_bytes", "Size of the newest snapshot's files.")
	descCovered       = desc("snapshot_covered_sequence", "Entry at which the older one of the two snapshots that are kept stands; 0 while there are not two.")

	descSnapshotsMade     = prometheus.NewDesc("receiptd_snapshots_made_total", "Snapshots that this process made, read back and found whole.", nil, nil)
	descSnapshotsFailed   = prometheus.NewDesc("receiptd_snapshots_failed_total", "Snapshots that this process could not make.", nil, nil)
	descSnapshotsUploaded = prometheus.NewDesc("receiptd_snapshots_stored_bytes_total", "Bytes of snapshots that this process stored: files that no snapshot before had.", nil, nil)
	descSnapshotsPassed   = prometheus.NewDesc("receiptd_snapshots_passed_over_total", "Snapshots that this process did not begin from: damaged, of other rules, or unfit for this log.", []string{"reason"}, nil)
)

// Describe implements [prometheus.Collector].
func (c *snapshotCollector) Describe(ch chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(c, ch)
}

// Collect implements [prometheus.Collector].
func (c *snapshotCollector) Collect(ch chan<- prometheus.Metric) {
	r := c.core.snapshots
	for _, s := range r.Status() {
		send := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, strconv.Itoa(s.Partition))
		}
		made := 0.0
		if s.Last.Sequence > 0 {
			made = float64(s.Last.Made.UnixMilli()) / 1000
		}
		send(descSnapshot, float64(s.Last.Sequence))
		send(descSnapshotMade, made)
		send(descSnapshotBytes, float64(s.Last.Bytes))
		send(descCovered, float64(s.Before.Sequence))
	}
	n := &r.Counts
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	count(descSnapshotsMade, n.Made.Load())
	count(descSnapshotsFailed, n.Failures.Load())
	count(descSnapshotsUploaded, n.UploadedBytes.Load())
	count(descSnapshotsPassed, n.Damaged.Load(), snapshot.PassedDamaged)
	count(descSnapshotsPassed, n.Rules.Load(), snapshot.PassedRules)
	count(descSnapshotsPassed, n.Unfit.Load(), snapshot.PassedUnfit)
}

// beginFrom has the state begin from snapshots, if they are made.
func (c *Core) beginFrom(ctx context.Context, cfg config.Config, o *projector.Options) error {
	if cfg.State.SnapshotEvery == 0 {
		return nil
	}
	if err := c.openSnapshots(ctx, cfg.CopiesOfLog()); err != nil {
		return err
	}
	o.Snapshots = c.snapshots
	return nil
}
