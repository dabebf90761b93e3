package analytics

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/consumers/internal/fold"
	"github.com/receiptd/receiptd/projections/clickhouse"
)

// worker is the analytics of one partition, in three stages: one goroutine folds, another one
// encodes what the first hands over while what came before is on its way, a third one inserts.
type worker struct {
	c         *Consumer
	partition int
	root      string
	logger    *slog.Logger
	gen       *fold.Generation
	// fork is the last entry that it has in common with the partition that it forked from, whose
	// worker gives the sink what is up to there; 0 = it forked from none.
	fork    uint64
	settled atomic.Pointer[fold.Generation] // gen, once it will not be replaced any more

	folded  chan *job // to be encoded
	encoded chan *job // to be inserted
	// recycled is a block that the sink has, for its memory.
	recycled  chan *clickhouse.Block
	capturing chan struct{} // holds a token while a capture is under way

	unfinished                      atomic.Int32 // jobs that are not inserted yet
	stored, refreshed               atomic.Uint64
	refreshedAt                     atomic.Int64 // the broker's time of the entry refreshed
	saved, durable                  atomic.Uint64
	rows, blocks, failures, refused atomic.Uint64

	opened time.Time // no insert of another process was sent after that

	// sinkAtStart is the last entry that the sink had at the start. caughtUp says that the latest
	// state as of that entry has been stored again.
	sinkAtStart uint64
	caughtUp    bool
	// whole is closed when the state on the disk has all that the sink had at the start.
	whole     chan struct{}
	wholeOnce sync.Once
}

func (c *Consumer) open(partition int) (*worker, error) {
	w := &worker{
		c: c, partition: partition, root: c.root(partition),
		logger: c.o.Logger.With("analytics", partition),
		folded: make(chan *job), encoded: make(chan *job), recycled: make(chan *clickhouse.Block, 1),
		capturing: make(chan struct{}, 1), whole: make(chan struct{}), opened: time.Now(),
	}
	first := !fold.Exists(nil, w.root)
	if err := c.fork(w); err != nil {
		return nil, err
	}
	var err error
	if w.gen, err = fold.OpenCurrent(w.root, c.foldOptions(partition)); err != nil {
		return nil, err
	}
	if f, alone := c.o.Intents.(files); alone && first {
		if err := f.begin(partition); err != nil {
			return nil, errors.Join(err, w.close())
		}
	}
	w.standAt(w.gen.Saved())
	w.refreshedAt.Store(w.gen.Part.Stats().Clock)
	return w, nil
}

// standAt notes which entry the state kept here stood on when it was opened.
func (w *worker) standAt(sequence uint64) {
	for _, at := range []*atomic.Uint64{&w.refreshed, &w.saved, &w.durable} {
		at.Store(sequence)
	}
}

// refreshedTo notes that the sink has the latest state as of an entry of a time.
func (w *worker) refreshedTo(at uint64, clock int64) {
	w.refreshedAt.Store(clock)
	w.refreshed.Store(at)
	if w.caughtUp || at < w.sinkAtStart {
		return
	}
	w.caughtUp = true
	if w.c.catchingUp.Add(-1) == 0 {
		close(w.c.caughtUp)
	}
}

// close does not checkpoint: what was folded may be ahead of the sink.
func (w *worker) close() error {
	if w.gen == nil { // it could not be replaced
		return nil
	}
	return w.gen.Store.Close()
}

func (w *worker) run(ctx context.Context) error {
	f := &foldStage{w: w}
	if err := w.c.retry(ctx, "compare with the log", f.resume); err != nil {
		return err
	}
	w.settled.Store(w.gen)
	// At the end nobody waits for room on a full disk.
	defer context.AfterFunc(ctx, w.gen.Store.StopWaiting)()
	w.wholeSoon()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		w.prove(ctx)
		return nil
	})
	group.Go(func() error { return w.encode(ctx) })
	group.Go(func() error { return w.write(ctx) })
	group.Go(func() error { return f.run(ctx) })
	return group.Wait()
}

// wholeSoon closes whole once the state is that.
func (w *worker) wholeSoon() {
	if w.durable.Load() >= w.sinkAtStart {
		w.wholeOnce.Do(func() { close(w.whole) })
	}
}

// prove removes states that were put aside when the one in their place has come to where the sink
// was, and is what was written.
func (w *worker) prove(ctx context.Context) {
	aside, err := fold.Aside(nil, w.root)
	if err == nil && len(aside) == 0 {
		return
	}
	select {
	case <-w.whole:
	case <-ctx.Done():
		return
	}
	if err == nil {
		err = fold.ReadBack(ctx, func(f func(*fold.Generation) error) error { return f(w.gen) })
	}
	if err == nil {
		err = fold.Discard(nil, aside)
	}
	if err != nil && ctx.Err() == nil {
		w.logger.Warn("states for analytics that were put aside stay", "aside", aside, "error", err)
	}
}
