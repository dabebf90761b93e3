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
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/store"
)

// Log is what the consumers read. [eventlog.Log] is one.
type Log interface {
	Partitions() int
	Read(ctx context.Context, partition int, after uint64) (*eventlog.Reader, error)
	Bounds(ctx context.Context, partition int) (first, last uint64, err error)
	EntryAt(ctx context.Context, partition int, sequence uint64) (eventlog.Entry, error)
}

// Audience is who is told about applied receipts. [Notify] is one.
type Audience interface {
	// Online reports whether the user would be told. It is asked for each applied receipt.
	Online(app, user string) bool
	// Deliver takes effects. It must not hold up the fold.
	Deliver(effects []projections.Effect)
}

// Options of the projector. Zero values mean the defaults.
type Options struct {
	// Dir is where the state lies, a directory for each partition.
	Dir string
	// CacheBytes bounds the cached state of all partitions together; 0 = 256 MiB.
	CacheBytes int
	// CheckpointEvery is the time between checkpoints: what has to be folded again after a crash, and how often a
	// message that is being read is written; 0 = 1 s.
	CheckpointEvery time.Duration
	// FlushEvery is the time after which checkpoints too small for a file of their own are made durable; 0 = 15 s.
	FlushEvery time.Duration
	// Audience is told about applied receipts; nil = nobody.
	Audience Audience
	// Strict refuses a state that the log does not agree with, with [ErrDisagree]; without it the state is set aside
	// and folded again.
	Strict bool
	// Logger; nil = slog's default.
	Logger *slog.Logger

	hooks hooks
}

// hooks are for tests.
type hooks struct {
	fs vfs.FS // of the checkpoints; nil = the disk
}

// ErrStopped is returned for questions to a projector that was closed, and for the outcomes of entries that it
// will not fold any more.
var ErrStopped = errors.New("consumers: the projector has stopped")

// ErrDisagree is returned for a state that stands on an entry which the log does not have.
var ErrDisagree = errors.New("consumers: the log is shorter than the state or has another entry at its position")

// Limits on what a checkpoint may hold back: at the first a checkpoint starts early, at the second the fold
// waits for the one under way.
const (
	manyChanges = 100_000
	mostChanges = 250_000
)

// Projector folds the log into state, a goroutine for each partition, and answers questions about it.
type Projector struct {
	log     Log
	o       Options
	blocks  *pebble.Cache
	workers []*worker

	// committing lets one partition at a time write a checkpoint in the background: on few cores two at once would leave none to
	// those who wait for an answer.
	committing sync.Mutex

	rebuilding sync.Mutex      // held by the one rebuild there may be, and to close
	closing    context.Context // ends with Close
	close      context.CancelFunc
	closeOnce  sync.Once
	closeErr   error

	scanning chan struct{} // holds a token while read rates are counted
}

// worker is the projector of one partition.
type worker struct {
	p         *Projector
	partition int
	root      string
	logger    *slog.Logger
	outcomes  *outcomes
	// held is the last entry of the log when it was opened: what was acknowledged before the start.
	held uint64

	// using is held for reading by whoever uses the generation, the fold among them, and taken to switch to
	// another one or to close it.
	using  sync.RWMutex
	gen    *generation
	closed bool
	// quiet is set while a state is folded again from the start of the log: what happened long ago is no news.
	quiet bool

	kick    chan struct{} // a checkpoint is wanted now
	effects []projections.Effect
	err     atomic.Pointer[error]
}

// NewProjector opens the state of every partition and compares it with the log. A state that the log does not
// agree with, because the log came back shorter or different, is set aside and folded again from the start of
// the log.
func NewProjector(ctx context.Context, log Log, o Options) (*Projector, error) {
	if o.CacheBytes == 0 {
		o.CacheBytes = 256 << 20
	}
	if o.CheckpointEvery == 0 {
		o.CheckpointEvery = time.Second
	}
	if o.FlushEvery == 0 {
		o.FlushEvery = 15 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	blocks := max(o.CacheBytes/4, 8<<20) + log.Partitions()*store.MemoryBytes
	p := &Projector{log: log, o: o, blocks: pebble.NewCache(int64(blocks)), scanning: make(chan struct{}, 1)}
	p.closing, p.close = context.WithCancel(context.Background())
	for k := range log.Partitions() {
		w, err := p.open(ctx, k)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("partition %d: %w", k, err), p.Close())
		}
		p.workers = append(p.workers, w)
	}
	return p, nil
}

func (p *Projector) genOptions(partition int) genOptions {
	n := p.log.Partitions()
	return genOptions{
		partition: partition, partitions: n, cacheBytes: p.o.CacheBytes * 3 / 4 / n,
		blocks: p.blocks, fs: p.o.hooks.fs, logger: p.o.Logger,
	}
}

// online is what the live fold asks who would be told; nil for nobody.
func (w *worker) online() func(app, user string) bool {
	if w.p.o.Audience == nil || w.quiet {
		return nil
	}
	return w.p.o.Audience.Online
}

func (p *Projector) open(ctx context.Context, partition int) (*worker, error) {
	w := &worker{
		p: p, partition: partition, root: filepath.Join(p.o.Dir, fmt.Sprintf("p%03d", partition)),
		logger: p.o.Logger.With("partition", partition), kick: make(chan struct{}, 1),
	}
	dir, err := currentGeneration(w.root)
	if err != nil {
		return nil, err
	}
	if _, w.held, err = p.log.Bounds(ctx, partition); err != nil {
		return nil, fmt.Errorf("end of the log: %w", err)
	}
	g, err := openGeneration(dir, p.genOptions(partition))
	if err != nil {
		return nil, err
	}
	ok, err := agrees(ctx, p.log, partition, g)
	if err != nil {
		return nil, errors.Join(err, g.close())
	}
	if !ok && p.o.Strict {
		return nil, errors.Join(ErrDisagree, g.close())
	}
	if !ok {
		if g, err = w.startOver(g); err != nil {
			return nil, err
		}
	}
	seq, _ := g.part.Position()
	w.gen, w.quiet = g, seq == 0 && w.held > 0
	g.part.Live(w.online())
	w.outcomes = newOutcomes(seq)
	return w, nil
}

// startOver replaces a state that the log does not agree with by an empty one.
func (w *worker) startOver(old *generation) (*generation, error) {
	seq, _ := old.part.Position()
	w.logger.Error("the log is shorter than the state or has another entry at its position; the state is folded again from the start of the log",
		"state_position", seq)
	return replaceGeneration(w.root, old, w.p.genOptions(w.partition))
}

// Run folds until the context ends. It returns an error only when a partition cannot go on: our own state cannot
// be read or written, or the log has a gap. It is called once.
func (p *Projector) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, w := range p.workers {
		group.Go(func() error {
			err := w.run(ctx)
			w.outcomes.end()
			if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				err = nil
			}
			if err != nil {
				err = fmt.Errorf("project partition %d: %w", w.partition, needsArchive(err))
				w.err.Store(&err)
			}
			return err
		})
		group.Go(func() error { return w.checkpoints(ctx) })
	}
	return group.Wait()
}

// run reads the log from the state's position on. A reader that breaks is replaced; what is wrong for good ends
// the run.
func (w *worker) run(ctx context.Context) error {
	b := backoff.NewExponentialBackOff(backoff.WithMaxElapsedTime(0), backoff.WithMaxInterval(5*time.Second))
	for {
		err := w.follow(ctx, w.outcomes.last(), b.Reset)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, errReader), errors.Is(err, eventlog.ErrGap), errors.Is(err, eventlog.ErrTrimmed),
			errors.Is(err, eventlog.ErrAhead):
			return err
		}
		delay := b.NextBackOff()
		w.logger.Warn("reading the log failed; trying again", "error", err, "after", delay)
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// errReader marks failures of the log, as opposed to failures of the state.
var errReader = errors.New("read log")

func (w *worker) follow(ctx context.Context, after uint64, healthy func()) error {
	r, err := w.p.log.Read(ctx, w.partition, after)
	if err != nil {
		return fmt.Errorf("%w: %w", errReader, err)
	}
	defer r.Close()
	for {
		e, err := r.Next(ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", errReader, err)
		}
		healthy()
		if err := w.apply(&e); err != nil {
			return err
		}
	}
}

// apply folds one entry, says what was decided and hands over the effects.
func (w *worker) apply(e *eventlog.Entry) error {
	w.using.RLock()
	defer w.using.RUnlock()
	g := w.gen
	list, err := g.apply(e, w.p.log.Partitions())
	if err != nil {
		return err
	}
	w.outcomes.decided(e.Sequence, list)
	if w.quiet && e.Sequence >= w.held {
		w.quiet = false
		g.part.Live(w.online())
	}
	if a := w.p.o.Audience; a != nil {
		if w.effects = g.part.TakeEffects(w.effects[:0]); len(w.effects) > 0 {
			a.Deliver(w.effects)
			clear(w.effects)
		}
	}
	return g.relieve(w.kick)
}

// checkpoints writes a checkpoint at each interval, or when one is wanted; [Projector.Close] writes the last one.
func (w *worker) checkpoints(ctx context.Context) error {
	tick := time.NewTicker(w.p.o.CheckpointEvery)
	defer tick.Stop()
	flushed := time.Now()
	flushedAt := uint64(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-w.kick:
		}
		flush := time.Since(flushed) >= w.p.o.FlushEvery && w.outcomes.last() != flushedAt
		if err := w.checkpoint(flush); err != nil {
			return fmt.Errorf("checkpoint partition %d: %w", w.partition, err)
		}
		if flush {
			flushed, flushedAt = time.Now(), w.outcomes.last()
		}
	}
}

func (w *worker) checkpoint(flush bool) error {
	w.p.committing.Lock()
	defer w.p.committing.Unlock()
	return w.use(func(g *generation) error {
		if err := g.checkpointBeside(); err != nil || !flush {
			return err
		}
		return g.store.FlushSoon()
	})
}

// use calls f with the generation, which is neither switched nor closed meanwhile.
func (w *worker) use(f func(*generation) error) error {
	w.using.RLock()
	defer w.using.RUnlock()
	if w.closed {
		return ErrStopped
	}
	return f(w.gen)
}

// Close ends a rebuild that is under way, writes a last checkpoint and closes the state; from then on questions
// get ErrStopped. Run has to have returned. Further calls return what the first did.
func (p *Projector) Close() error {
	p.closeOnce.Do(func() {
		p.close()
		p.rebuilding.Lock() // for good
		for _, w := range p.workers {
			p.closeErr = errors.Join(p.closeErr, w.close())
		}
		p.blocks.Unref()
	})
	return p.closeErr
}

func (w *worker) close() error {
	w.using.Lock()
	defer w.using.Unlock()
	w.closed = true
	return w.gen.close()
}

// Ready returns nil when every partition has folded all that its log held at the start, so that answers show
// everything acknowledged before it, and is not far behind what came since.
func (p *Projector) Ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for _, w := range p.workers {
		if err := w.err.Load(); err != nil {
			return *err
		}
		_, last, err := p.log.Bounds(ctx, w.partition)
		if err != nil {
			return fmt.Errorf("log of partition %d: %w", w.partition, err)
		}
		// While events keep coming the fold is always a few entries behind.
		if at := w.outcomes.last(); at < w.held || last > at+readyLag {
			return fmt.Errorf("partition %d is %d entries behind", w.partition, last-at)
		}
	}
	return nil
}

const readyLag = 64

// Durable makes what a partition has folded durable and returns its last entry: nothing before it is needed again. The
// error is ErrRebuilding while a rebuild reads the log.
func (p *Projector) Durable(partition int) (sequence uint64, err error) {
	if !p.rebuilding.TryLock() {
		return 0, ErrRebuilding
	}
	defer p.rebuilding.Unlock()
	err = p.workers[partition].use(func(g *generation) error {
		if err := g.checkpoint(); err != nil {
			return err
		}
		g.checkpointing.Lock()
		sequence = g.saved
		g.checkpointing.Unlock()
		return g.store.Flush()
	})
	return sequence, err
}

// Outcomes waits until an entry is folded and returns what was decided about its events, in their order.
func (p *Projector) Outcomes(ctx context.Context, partition int, sequence uint64) ([]events.Outcome, error) {
	if partition < 0 || partition >= len(p.workers) {
		return nil, fmt.Errorf("no partition %d", partition)
	}
	return p.workers[partition].outcomes.wait(ctx, sequence)
}
