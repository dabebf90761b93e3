package consumers

import (
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

	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/clickhouse"
	"github.com/receiptd/receiptd/projections/store"
)

// Sink is where [Analytics] puts what it folded. [clickhouse.Store] is one.
type Sink interface {
	// Ready makes the tables if need be. It is called before anything else, and again until it succeeds.
	Ready(ctx context.Context) error
	// Position is the last entry of a partition that the sink has.
	Position(ctx context.Context, partition int) (clickhouse.Position, error)
	// Insert stores a block as a whole or not at all, and once for a token. An error says nothing about which. The block is
	// not looked at any more when it returns.
	Insert(ctx context.Context, b *clickhouse.Block, token string) error
	// The others store the latest state of messages and of the rollup; repeating that changes nothing.
	InsertMessages(ctx context.Context, rows []clickhouse.MessageRow) error
	InsertCohorts(ctx context.Context, partition int, rows []clickhouse.CohortRow) error
	// UseDays says that the totals of days are complete. What was stored before Position is in them only from then on, if
	// a version without them stored it.
	UseDays()
}

// Archive gives back the entries that a sink took. [clickhouse.Store] is one.
type Archive interface {
	// Archived returns the first and the last entry of a partition; zeros if there are none.
	Archived(ctx context.Context, partition int) (first, last clickhouse.Position, err error)
	// Replay calls f with every entry behind after, up to and with upto, in order; see [clickhouse.Store.Replay].
	Replay(ctx context.Context, partition, partitions int, after, upto uint64,
		f func(*projections.Decoded) error) error
}

// SinkArchive is a sink that gives back what it took.
type SinkArchive interface {
	Sink
	Archive
}

// AnalyticsOptions are the options of [Analytics]. Zero values mean the defaults.
type AnalyticsOptions struct {
	// Dir is where its own state lies, a directory for each partition.
	Dir string
	// CacheBytes bounds the cached state of all partitions together; 0 = 64 MiB.
	CacheBytes int
	// BlockRows and BlockBytes end a block: it is sent when it has so many rows, or strings of so many bytes; 0 = 131,072
	// rows and 32 MiB. An entry is never split, whatever it holds.
	BlockRows, BlockBytes int
	// BlockAge is how long a block waits for more; 0 = 1 s.
	BlockAge time.Duration
	// RefreshEvery is the time between inserts of the latest state of messages and cohorts; 0 = 2 s.
	RefreshEvery time.Duration
	// CheckpointEvery is the time between checkpoints of the own state; 0 = 15 s.
	CheckpointEvery time.Duration
	// Logger; nil = slog's default.
	Logger *slog.Logger
}

func (o AnalyticsOptions) orDefaults() AnalyticsOptions {
	for _, d := range []struct{ value, otherwise *time.Duration }{
		{&o.BlockAge, new(time.Second)}, {&o.RefreshEvery, new(2 * time.Second)}, {&o.CheckpointEvery, new(15 * time.Second)},
	} {
		if *d.value == 0 {
			*d.value = *d.otherwise
		}
	}
	for _, d := range []struct {
		value     *int
		otherwise int
	}{{&o.CacheBytes, 64 << 20}, {&o.BlockRows, 1 << 17}, {&o.BlockBytes, 32 << 20}} {
		if *d.value == 0 {
			*d.value = d.otherwise
		}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// ErrSinkDisagrees is returned when the sink holds an entry that the log does not have: it was filled from another log, or
// the log lost its tail. Nothing is written then.
var ErrSinkDisagrees = errors.New("consumers: ClickHouse holds entries of another log")

// Analytics folds the log by itself, beside the projector, and puts every event with what came of it into a sink, exactly
// once. Where it goes on is what the sink says: its own state is only ever a checkpoint of the fold, behind the sink.
//
// A sink that is down costs lag and nothing else: the fold waits.
type Analytics struct {
	log     Log
	sink    SinkArchive
	o       AnalyticsOptions
	blocks  *pebble.Cache
	workers []*archivist
	// behind is how many of them have not stored again yet what ClickHouse may have had before it had totals of days.
	behind atomic.Int32

	closeOnce sync.Once
	closeErr  error
}

// NewAnalytics opens the own state of every partition. It does not ask the sink for anything yet.
func NewAnalytics(log Log, sink SinkArchive, o AnalyticsOptions) (*Analytics, error) {
	o = o.orDefaults()
	a := &Analytics{
		log: log, sink: sink, o: o,
		blocks: pebble.NewCache(int64(max(o.CacheBytes/4, 8<<20) + log.Partitions()*store.MemoryBytes)),
	}
	for k := range log.Partitions() {
		w := &archivist{
			a: a, partition: k, root: filepath.Join(o.Dir, fmt.Sprintf("p%03d", k)), logger: o.Logger.With("analytics", k),
			work: make(chan *delivery), encoded: make(chan *delivery), spent: make(chan *clickhouse.Block, 1), free: make(chan struct{}, 1),
		}
		if err := w.open(); err != nil {
			return nil, errors.Join(fmt.Errorf("partition %d: %w", k, err), a.Close())
		}
		a.workers = append(a.workers, w)
	}
	a.behind.Store(int32(len(a.workers)))
	return a, nil
}

func (a *Analytics) genOptions(partition int) genOptions {
	n := a.log.Partitions()
	return genOptions{
		partition: partition, partitions: n, cacheBytes: a.o.CacheBytes * 3 / 4 / n,
		blocks: a.blocks, logger: a.o.Logger, analytics: true,
	}
}

// Run folds and writes until the context ends. It returns an error only when it cannot go on: the sink and the log are not
// of the same events, the sink's tables are those of another version, or the own state cannot be read or written.
func (a *Analytics) Run(ctx context.Context) error {
	err := a.retry(ctx, "prepare ClickHouse", a.sink.Ready)
	if err == nil {
		group, ctx := errgroup.WithContext(ctx)
		for _, w := range a.workers {
			group.Go(func() error {
				if err := w.run(ctx); err != nil {
					return fmt.Errorf("partition %d: %w", w.partition, err)
				}
				return nil
			})
		}
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

// retry tries until it succeeds, the context ends, or the error is one that does not go away.
func (a *Analytics) retry(ctx context.Context, what string, f func(context.Context) error) error {
	b := backoff.NewExponentialBackOff(backoff.WithMaxElapsedTime(0), backoff.WithMaxInterval(10*time.Second))
	return backoff.RetryNotify(func() error {
		err := f(ctx)
		if ctx.Err() != nil {
			return backoff.Permanent(ctx.Err())
		}
		if errors.Is(err, clickhouse.ErrSchema) || errors.Is(err, clickhouse.ErrVersion) || errors.Is(err, ErrSinkDisagrees) {
			return backoff.Permanent(err)
		}
		return err
	}, backoff.WithContext(b, ctx), func(err error, wait time.Duration) {
		a.o.Logger.Warn("ClickHouse; trying again", "step", what, "error", err, "after", wait)
	})
}

// Close closes the own state, without a last checkpoint: the sink knows how far it is. Run has to have returned.
// Further calls return what the first did.
func (a *Analytics) Close() error {
	a.closeOnce.Do(func() {
		for _, w := range a.workers {
			a.closeErr = errors.Join(a.closeErr, w.close())
		}
		a.blocks.Unref()
	})
	return a.closeErr
}

// AnalyticsStats are the figures of one partition.
type AnalyticsStats struct {
	// Stored is the last entry that the sink has confirmed, Refreshed the one as of which it has the latest state of
	// messages and cohorts, Durable the one that the own state would go on from after a crash.
	Stored, Refreshed, Durable uint64
	// Rows and Blocks were inserted since the start, Failures are inserts that had to be repeated, Refused are entries that
	// ClickHouse did not take as they are.
	Rows, Blocks, Failures, Refused uint64
}

// Stats returns the figures of each partition.
func (a *Analytics) Stats() []AnalyticsStats {
	out := make([]AnalyticsStats, len(a.workers))
	for k, w := range a.workers {
		out[k] = AnalyticsStats{
			Stored: w.stored.Load(), Refreshed: w.refreshed.Load(), Durable: w.durable.Load(),
			Rows: w.rows.Load(), Blocks: w.blocks.Load(), Failures: w.failures.Load(), Refused: w.refused.Load(),
		}
	}
	return out
}

// Safe is the last entry of a partition that the sink has and that the own state does not need again.
func (a *Analytics) Safe(partition int) uint64 {
	w := a.workers[partition]
	return min(w.stored.Load(), w.durable.Load())
}

// archivist is the analytics of one partition: one goroutine folds, another one encodes what the first hands over while
// what came before is on its way, a third one writes it.
type archivist struct {
	a         *Analytics
	partition int
	root      string
	logger    *slog.Logger
	gen       *generation

	work    chan *delivery // what is folded, to be encoded
	encoded chan *delivery // what is to be written
	// spent is a block that the sink has, for its memory.
	spent chan *clickhouse.Block
	free  chan struct{} // has a token while a capture is under way

	pending                         atomic.Int32 // deliveries that are not written yet
	stored, refreshed               atomic.Uint64
	saved, durable                  atomic.Uint64
	rows, blocks, failures, refused atomic.Uint64

	// goal is where ClickHouse was at the start, and reached that the latest state was stored as of there.
	goal    uint64
	reached bool
}

func (w *archivist) open() error {
	dir, err := currentGeneration(w.root)
	if err != nil {
		return err
	}
	if w.gen, err = openGeneration(dir, w.a.genOptions(w.partition)); err != nil {
		return err
	}
	for _, at := range []*atomic.Uint64{&w.refreshed, &w.saved, &w.durable} {
		at.Store(w.gen.saved)
	}
	return nil
}

// refreshedTo notes that the sink has the latest state as of an entry.
func (w *archivist) refreshedTo(at uint64) {
	w.refreshed.Store(at)
	if w.reached || at < w.goal {
		return
	}
	w.reached = true
	if w.a.behind.Add(-1) == 0 {
		w.a.sink.UseDays()
	}
}

// close does not checkpoint: what was folded may be ahead of the sink.
func (w *archivist) close() error {
	if w.gen == nil {
		return nil
	}
	return w.gen.store.Close()
}

func (w *archivist) run(ctx context.Context) error {
	f := &folding{w: w}
	if err := w.a.retry(ctx, "compare with the log", f.resume); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return w.encode(ctx) })
	group.Go(func() error { return w.write(ctx) })
	group.Go(func() error { return f.run(ctx) })
	return group.Wait()
}
