package projector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/consumers"
	"github.com/receiptd/receiptd/consumers/internal/fold"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/copystate"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/store"
)

// Log is what the projector reads. [eventlog.Log] is one.
type Log interface {
	consumers.Log
	fold.Log
}

// Audience is who is told about applied receipts. [notify.Hub] is one.
type Audience interface {
	// Online reports whether the user would be told. It is asked for each applied receipt.
	Online(app, user string) bool
	// Push takes effects, and keeps neither the slice nor the strings in it. It must not hold
	// up the fold.
	Push(effects []projections.Effect)
}

// Follower is an [Audience] of one partition that is also told how far its live fold is.
type Follower interface {
	Audience
	// Folded says that the fold has come to an entry, whose effects were pushed before. It must not
	// hold up the fold.
	Folded(sequence uint64)
}

// Intake follows the folds.
type Intake interface {
	// Folded says that the live fold of a partition has come to an entry; 0 that it is far behind
	// for a good reason, and is not to be waited for.
	Folded(partition int, sequence uint64)
}

// DeadLetter is an entry without effect: it could not be decoded, or it is the only event of an app
// that does not exist. Whoever published it was told that it is stored, and nothing else.
type DeadLetter struct {
	Partition int
	Sequence  uint64
	At        int64 // the broker's time, Unix milliseconds
	Subject   string
	// Reason says what is wrong.
	Reason string
	// UnknownApp is set if the entry is an event of an app that does not exist.
	UnknownApp bool
	// Data is what was published. It is valid only during the call.
	Data []byte
}

// Options of the projector. Zero values mean the defaults.
type Options struct {
	// Dir is where the state lies, a directory for each partition.
	Dir string
	// CacheBytes bounds the cached state of all partitions together; 0 = 256 MiB.
	CacheBytes int
	// CheckpointEvery is the time between checkpoints: what has to be folded again after a
	// crash, and how often a message that is being read is written; 0 = 1 s.
	CheckpointEvery time.Duration
	// FlushEvery is the time after which checkpoints too small for a file of their own are made
	// durable; 0 = 15 s.
	FlushEvery time.Duration
	// Audience is told about applied receipts; nil = nobody.
	Audience Audience
	// Followers, if not nil, are the partitions' audiences in the place of Audience.
	Followers func(partition int) Follower
	// Intake, if set, is told how far each partition is folded, so that it can follow.
	// [eventlog.Log] is one.
	Intake Intake
	// DeadLetters is told of entries of outside producers that had no effect, and that nobody was
	// told of; nil = nobody.
	DeadLetters func(DeadLetter)
	// StartOver has a state that the log does not agree with, because the log came back shorter or
	// different, put aside and folded again from the start of the log. It is for a log that may
	// lose what it acknowledged. Without it such a state is refused with [ErrAheadOfLog]: it may be
	// the only copy of what the log lost.
	StartOver bool
	// Keep has a state kept that another one takes the place of, unless that one is equal: for a
	// log that has lost entries, of which it may be the only trace. It is for people, who remove
	// it: nothing is read from it any more.
	Keep bool
	// Sparse has only those partitions be here whose state lies in Dir; see [Projector.AddCopy] for
	// the others. Without it all are.
	Sparse bool
	// Snapshots, if not nil, are what a state begins from that is empty, or that the log cannot
	// bring up to date any more.
	Snapshots Snapshots
	// Logger; nil = slog's default.
	Logger *slog.Logger

	// FS is the file system of the state; nil = the disk. There are no Snapshots with it.
	FS vfs.FS
}

// KeptPrefix begins the names of states that were kept; see [Options.Keep].
const KeptPrefix = fold.KeptPrefix

// ErrStopped is returned for questions to a projector that was closed, and for the outcomes of
// entries that it will not fold any more.
var ErrStopped = errors.New("projector: stopped")

// ErrAheadOfLog is returned for a state that stands on an entry which the log does not have.
var ErrAheadOfLog = errors.New("projector: the log is shorter than the state or has another entry at its position; " +
	"acknowledged events may be missing from it, and the state is kept as it is: restore the log, or see receiptctl repair")

// Projector folds the log into state, a goroutine for each partition, and answers questions about
// it.
type Projector struct {
	log     Log
	o       Options
	blocks  *pebble.Cache
	workers []*worker

	// committing lets one partition at a time write a checkpoint in the background: on few
	// cores two at once would leave none to those who wait for an answer.
	committing sync.Mutex

	// rebuilding is held for writing by the one rebuild there may be, and to close; for reading by
	// each partition whose state is folded again.
	rebuilding sync.RWMutex
	// giveUp ends the rebuild under way; nil if there is none.
	giveUp atomic.Pointer[context.CancelFunc]
	// retention is held for reading while it is found out which entries are still needed. A
	// rebuild waits for that, rather than be refused: it is done every second.
	retention sync.RWMutex
	closing   context.Context // ends with Close
	close     context.CancelFunc
	closeOnce sync.Once
	closeErr  error

	scanSlot chan struct{} // holds a token while a query for read rates is answered
}

// New opens the state of every partition and compares it with the log: see [Options.StartOver]. A
// state whose files are corrupt is put aside and folded again. The caller must Close the projector.
func New(ctx context.Context, log Log, o Options) (*Projector, error) {
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
	p := &Projector{log: log, o: o, blocks: pebble.NewCache(int64(blocks)), scanSlot: make(chan struct{}, 1)}
	p.closing, p.close = context.WithCancel(context.Background())
	for k := range log.Partitions() {
		var w *worker
		err := p.forked(k)
		if err == nil {
			w, err = p.open(ctx, k)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("partition %d: %w", k, err), p.Close())
		}
		p.workers = append(p.workers, w)
	}
	return p, nil
}

// forked has a partition that forked from another one begin with the state of that, if that stands
// before the fork. Otherwise it is folded from the start: the log has all that it takes, or the
// archive.
func (p *Projector) forked(partition int) error {
	if p.o.FS != nil || fold.Exists(nil, partitionDir(p.o.Dir, partition)) {
		return nil
	}
	parent, upto := p.log.Fork(partition)
	if parent < 0 {
		return nil
	}
	g := p.workers[parent].gen
	if g == nil {
		return nil
	}
	at, _ := g.Part.Position()
	if at == 0 || at >= upto {
		return nil
	}
	p.o.Logger.Info("a new partition takes over the state of the one that it forked from", "partition", partition, "from", parent, "entry", at)
	return fold.Fork(partitionDir(p.o.Dir, partition), g, p.foldOptions(partition))
}

// cacheBytes bounds the cached state of one partition.
func (p *Projector) cacheBytes() int { return p.o.CacheBytes * 3 / 4 / p.log.Partitions() }

func (p *Projector) foldOptions(partition int) fold.Options {
	return fold.Options{
		Partition: partition, CacheBytes: p.cacheBytes(),
		Blocks: p.blocks, FS: p.o.FS, Logger: p.o.Logger,
	}
}

// Run folds until the context ends. A state that is found corrupt is put aside and folded again
// from the log, while the other partitions go on; see [ErrFoldingAgain]. Run returns an error only
// when a partition cannot go on: its state cannot be read or written, or the log has a gap. It is
// called once.
func (p *Projector) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, p.stopWaiting)()
	for _, w := range p.workers {
		group.Go(func() error {
			err := w.live(ctx)
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
	}
	return group.Wait()
}

// stopWaiting has no checkpoint wait for room on a full disk any more.
func (p *Projector) stopWaiting() {
	for _, w := range p.workers {
		_ = w.use(func(g *fold.Generation) error { // only fails when closed
			g.Store.StopWaiting()
			return nil
		})
	}
}

// Close ends a rebuild that is under way, writes a last checkpoint and closes the state; from then
// on questions get [ErrStopped]. Run must have returned. Further calls return what the first did.
func (p *Projector) Close() error {
	p.closeOnce.Do(func() {
		p.close()
		p.stopWaiting()
		p.rebuilding.Lock() // for good
		for _, w := range p.workers {
			p.closeErr = errors.Join(p.closeErr, w.close())
		}
		p.blocks.Unref()
	})
	return p.closeErr
}

// Ready returns nil when every partition that is here has folded all that its log held at the
// start, so that answers show everything acknowledged before it, and goes on folding. How far it is
// behind what has come since is no matter of readiness: intake follows the folds, see
// [Options.Intake].
func (p *Projector) Ready() error {
	if log, ok := p.log.(interface{ Connected() bool }); ok && !log.Connected() {
		return errors.New("not connected to the log")
	}
	for _, w := range p.workers {
		if err := w.err.Load(); err != nil {
			return *err
		}
		if w.copyState() != copystate.Here {
			continue // another node answers for it
		}
		if err := w.ask(func(*projections.Partition) error { return nil }); err != nil {
			return err
		}
		if at, end := w.outcomes.last(), w.endAtOpen.Load(); at < end {
			return fmt.Errorf("partition %d is %d entries behind", w.partition, end-at)
		}
	}
	return nil
}

// Outcomes waits until an entry is folded and returns what was decided about its events, in their
// order. The error is the context's, [ErrOutcomeGone] for an entry of long ago, or [ErrStopped].
func (p *Projector) Outcomes(ctx context.Context, partition int, sequence uint64) ([]events.Outcome, error) {
	if partition < 0 || partition >= len(p.workers) {
		return nil, fmt.Errorf("no partition %d", partition)
	}
	return p.workers[partition].outcomes.wait(ctx, sequence)
}
