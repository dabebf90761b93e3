package analytics

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/consumers"
	"github.com/receiptd/receiptd/consumers/internal/fold"
	"github.com/receiptd/receiptd/internal/diskread"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/clickhouse"
	"github.com/receiptd/receiptd/projections/store"
)

// Log is what is read. [eventlog.Log] is one.
type Log interface {
	consumers.Log
	fold.Log
}

// Sink is where a [Consumer] puts what it folded. [clickhouse.Store] is one.
type Sink interface {
	// Ready makes the tables if need be. It is called before anything else, and again until it
	// succeeds.
	Ready(ctx context.Context) error
	// Position is the last entry of a partition that the sink has.
	Position(ctx context.Context, partition int) (clickhouse.Position, error)
	// Insert stores a block as a whole or not at all, and once for a token. An error says
	// nothing about which. The block is not looked at any more when it returns.
	Insert(ctx context.Context, b *clickhouse.Block, token string) error
	// The others store the latest state of messages and of the rollup; repeating that changes
	// nothing.
	InsertMessages(ctx context.Context, rows []clickhouse.MessageRow) error
	InsertCohorts(ctx context.Context, partition int, rows []clickhouse.CohortRow) error
	// UseDays says that the totals of days are complete. What was stored before Position is in
	// them only from then on, if a version without them stored it.
	UseDays()
	// ForgetEarlierRules removes the latest state of what only earlier rules knew, once all has
	// been stored by those of this program. It returns when that is gone.
	ForgetEarlierRules(ctx context.Context) error
	// Replay gives back the entries of a span, in order; see [clickhouse.Store.Replay].
	Replay(ctx context.Context, span clickhouse.Span, f func(*projections.Decoded) error) error
}

// Options of [New]. Zero values mean the defaults.
type Options struct {
	// Dir is where its own state lies, a directory for each partition.
	Dir string
	// CacheBytes bounds the cached state of all partitions together; 0 = 64 MiB.
	CacheBytes int
	// BlockRows and BlockBytes end a block: it is sent when it has so many rows, or strings of
	// so many bytes; 0 = 131,072 rows and 32 MiB. An entry is never split, whatever it holds.
	BlockRows, BlockBytes int
	// BlockAge is how long a block waits for more; 0 = 1 s.
	BlockAge time.Duration
	// RefreshEvery is the time between inserts of the latest state of messages and cohorts; 0 =
	// 2 s.
	RefreshEvery time.Duration
	// CheckpointEvery is the time between checkpoints of the state kept here; 0 = 15 s.
	CheckpointEvery time.Duration
	// Intents are shared by several processes, of which one at a time fills the sink; nil = there
	// is one, which keeps them in its files.
	Intents Intents
	// InsertMost is how long an insert may be under way after the process that sent it has ended;
	// 0 = 1 min. The sink waits for so long where nothing says what that was.
	InsertMost time.Duration
	// OnlyWithRoom has New fail on a full disk, instead of waiting for room.
	OnlyWithRoom bool
	// Logger; nil = slog's default.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	o.CacheBytes = cmp.Or(o.CacheBytes, 64<<20)
	o.BlockRows = cmp.Or(o.BlockRows, 1<<17)
	o.BlockBytes = cmp.Or(o.BlockBytes, 32<<20)
	o.BlockAge = cmp.Or(o.BlockAge, time.Second)
	o.RefreshEvery = cmp.Or(o.RefreshEvery, 2*time.Second)
	o.InsertMost = cmp.Or(o.InsertMost, time.Minute)
	o.CheckpointEvery = cmp.Or(o.CheckpointEvery, 15*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	return o
}

// ErrDisagrees is returned when the sink holds an entry that the log does not have: it was filled
// from another log, or the log lost its tail. Nothing is written then.
var ErrDisagrees = errors.New("analytics: ClickHouse holds entries of another log")

// Consumer folds the log by itself, beside the live state, and puts every event with what came of
// it into a sink, exactly once. A sink that is down costs lag and nothing else: the fold waits.
type Consumer struct {
	log     Log
	sink    Sink
	o       Options
	blocks  *pebble.Cache
	workers []*worker
	// catchingUp is how many of them have not yet stored the latest state as of what ClickHouse had
	// at the start: it may have had it by earlier rules, or without totals of days.
	catchingUp atomic.Int32
	// caughtUp is closed when none is. prepared says that what earlier rules counted is gone then.
	caughtUp chan struct{}
	prepared atomic.Bool
	// ended says that Run has returned.
	ended atomic.Bool

	closeOnce sync.Once
	closeErr  error
}

// New opens the state kept for every partition. It does not ask the sink for anything yet. The
// caller must Close the consumer.
func New(log Log, sink Sink, o Options) (*Consumer, error) {
	o = o.withDefaults()
	c := &Consumer{
		log: log, sink: sink, o: o, caughtUp: make(chan struct{}),
		blocks: pebble.NewCache(int64(max(o.CacheBytes/4, 8<<20) + log.Partitions()*store.MemoryBytes)),
	}
	if c.o.Intents == nil {
		c.o.Intents = files{c}
	}
	for k := range log.Partitions() {
		w, err := c.open(k)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("partition %d: %w", k, err), c.Close())
		}
		c.workers = append(c.workers, w)
	}
	c.catchingUp.Store(int32(len(c.workers)))
	return c, nil
}

// root is where the state of a partition lies.
func (c *Consumer) root(partition int) string {
	return filepath.Join(c.o.Dir, fmt.Sprintf("p%03d", partition))
}

func (c *Consumer) foldOptions(partition int) fold.Options {
	return fold.Options{
		Partition: partition, CacheBytes: c.o.CacheBytes * 3 / 4 / c.log.Partitions(),
		Blocks: c.blocks, Logger: c.o.Logger, ForSink: true, SplitLater: true,
		OnlyWithRoom: c.o.OnlyWithRoom,
	}
}

// Run folds and writes until the context ends. It returns an error only when it cannot go on: the
// sink and the log are not of the same events, the sink's tables are those of another version, or
// the state kept here cannot be read or written. It is called once.
func (c *Consumer) Run(ctx context.Context) error {
	defer c.ended.Store(true)
	err := c.retry(ctx, "prepare ClickHouse", c.sink.Ready)
	if err == nil {
		group, ctx := errgroup.WithContext(ctx)
		for _, w := range c.workers {
			group.Go(func() error {
				if err := w.run(ctx); err != nil {
					return fmt.Errorf("partition %d: %w", w.partition, err)
				}
				return nil
			})
		}
		group.Go(func() error { return c.prepare(ctx) })
		err = group.Wait()
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("analytics: %w", err)
	}
	return nil
}

// prepare waits until what the sink had at the start has been stored again, and removes what was
// not: numbers that only earlier rules knew.
func (c *Consumer) prepare(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-c.caughtUp:
	}
	c.sink.UseDays()
	if err := c.retry(ctx, "remove what earlier rules counted", c.sink.ForgetEarlierRules); err != nil {
		return err
	}
	c.prepared.Store(true)
	return nil
}

// Scrub reads the files of the state kept here from the disk against their checksums; pace is asked
// before each read. What is corrupt is returned: that partition's fold ends, and the next start
// begins another state. The error is for what kept it from reading. It is called while Run runs.
func (c *Consumer) Scrub(ctx context.Context, pace diskread.Pace) (bytes int64, corrupt []*store.CorruptError, err error) {
	for _, w := range c.workers {
		g := w.settled.Load()
		if g == nil {
			continue
		}
		n, found, err := fold.Check(ctx, pace, func(f func(*fold.Generation) error) error { return f(g) })
		bytes, corrupt = bytes+n, append(corrupt, found...)
		if err != nil {
			return bytes, corrupt, fmt.Errorf("read the state of analytics %d: %w", w.partition, err)
		}
	}
	return bytes, corrupt, nil
}

// retry tries until it succeeds, the context ends, or the error is one that does not go away.
func (c *Consumer) retry(ctx context.Context, what string, f func(context.Context) error) error {
	b := backoff.NewExponentialBackOff(backoff.WithMaxElapsedTime(0), backoff.WithMaxInterval(10*time.Second))
	return backoff.RetryNotify(func() error {
		err := f(ctx)
		if ctx.Err() != nil {
			return backoff.Permanent(ctx.Err())
		}
		if errors.Is(err, clickhouse.ErrSchema) || errors.Is(err, clickhouse.ErrVersion) || errors.Is(err, ErrFenced) || errors.Is(err, ErrDisagrees) {
			return backoff.Permanent(err)
		}
		return err
	}, backoff.WithContext(b, ctx), func(err error, wait time.Duration) {
		c.o.Logger.Warn("ClickHouse; trying again", "step", what, "error", err, "after", wait)
	})
}

// Close closes the state kept here, without a last checkpoint: the sink knows how far it is. Run
// must have returned. Further calls return what the first did.
func (c *Consumer) Close() error {
	c.closeOnce.Do(func() {
		for _, w := range c.workers {
			c.closeErr = errors.Join(c.closeErr, w.close())
		}
		c.blocks.Unref()
	})
	return c.closeErr
}

// Stats are the figures of one partition.
type Stats struct {
	// Stored is the last entry that the sink has confirmed, Refreshed the one as of which it
	// has the latest state of messages and cohorts.
	Stored, Refreshed uint64
	// RefreshedAt is the broker's time of the entry Refreshed, in Unix milliseconds; 0 if there
	// is none.
	RefreshedAt int64
	// Rows and Blocks were inserted since the start, Failures are inserts that had to be
	// repeated, Refused are entries that ClickHouse did not take as they are.
	Rows, Blocks, Failures, Refused uint64
}

// Stats returns the figures of each partition.
func (c *Consumer) Stats() []Stats {
	out := make([]Stats, len(c.workers))
	for k, w := range c.workers {
		out[k] = Stats{
			Stored: w.stored.Load(), Refreshed: w.refreshed.Load(), RefreshedAt: w.refreshedAt.Load(),
			Rows: w.rows.Load(), Blocks: w.blocks.Load(), Failures: w.failures.Load(), Refused: w.refused.Load(),
		}
	}
	return out
}

// Prepared reports whether the sink has its tables, is being filled from this log, and what it has
// is no older than it was at the start. What it has been given so far, the Stats say.
func (c *Consumer) Prepared() bool {
	for _, w := range c.workers {
		if w.settled.Load() == nil {
			return false
		}
	}
	return c.prepared.Load() && !c.ended.Load()
}

// Ended reports whether Run has returned: nobody fills the sink by this consumer any more.
func (c *Consumer) Ended() bool { return c.ended.Load() }

// Safe is the last entry of a partition that the sink has and that a fold after a crash does not
// need again.
func (c *Consumer) Safe(partition int) uint64 {
	w := c.workers[partition]
	return min(w.stored.Load(), w.durable.Load())
}
