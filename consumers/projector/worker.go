package projector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/receiptd/receiptd/consumers"
	"github.com/receiptd/receiptd/consumers/internal/fold"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/projections"
)

// worker is the projector of one partition.
type worker struct {
	p         *Projector
	partition int
	root      string
	logger    *slog.Logger
	outcomes  *outcomes
	// audience takes the effects; nil for none. follower is audience, if that is a [Follower].
	audience Audience
	follower Follower
	// endAtOpen is the last entry of the log when it was opened: what was acknowledged before
	// the start.
	endAtOpen atomic.Uint64

	// changing is held to bring a copy here or to have it leave, and with it now; nil if there is
	// none. tenures has the one that is to be folded next.
	changing sync.Mutex
	now      *tenure
	tenures  chan *tenure

	// mu is held for reading by whoever uses the generation, the fold among them, and for
	// writing to switch to another one or to close it.
	mu     sync.RWMutex
	gen    *fold.Generation
	closed bool
	// replaying is set while a state is folded again from the start of the log, up to replayUpto:
	// what happened long ago is no news.
	replaying  bool
	replayUpto uint64
	refold     refold
	proving    sync.WaitGroup

	checksum         atomic.Pointer[checksumRequest] // nil unless somebody waits for one
	checkpointWanted chan struct{}
	effects          []projections.Effect
	err              atomic.Pointer[error]
}

// online tells the live fold whether a user would be told; nil if nobody would.
func (w *worker) online() func(app, user string) bool {
	if w.audience == nil || w.replaying {
		return nil
	}
	return w.audience.Online
}

func (p *Projector) open(ctx context.Context, partition int) (*worker, error) {
	w := &worker{
		p: p, partition: partition, root: partitionDir(p.o.Dir, partition),
		logger: p.o.Logger.With("partition", partition), checkpointWanted: make(chan struct{}, 1), audience: p.o.Audience,
		tenures: make(chan *tenure, 1),
	}
	if p.o.Followers != nil {
		w.follower = p.o.Followers(partition)
		w.audience = w.follower
	}
	w.refold.found = make(chan struct{}, 1)
	if p.o.Sparse && !fold.Exists(p.o.FS, w.root) {
		reason := ErrAbsent
		w.refold.reason.Store(&reason)
		w.outcomes = newOutcomes(0)
		return w, nil
	}
	g, err := fold.OpenCurrent(w.root, w.foldOptions())
	if err != nil {
		return nil, err
	}
	_, end, err := p.log.Bounds(ctx, partition)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("end of the log: %w", err), g.Close())
	}
	w.endAtOpen.Store(end)
	ok, err := g.Agrees(ctx, p.log, partition)
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	if !ok && !p.o.StartOver {
		seq, _ := g.Part.Position()
		err := fmt.Errorf("%w: the state in %s stands at entry %d, the log ends with entry %d", ErrAheadOfLog, g.Dir(), seq, end)
		return nil, errors.Join(err, g.Close())
	}
	if !ok {
		if g, err = w.startOver(g); err != nil {
			return nil, err
		}
	}
	g, begun, err := w.begin(ctx, g)
	if err != nil {
		return nil, err
	}
	if err := w.keepAside(); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	aside, err := fold.Aside(w.p.o.FS, w.root)
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	seq, _ := g.Part.Position()
	// A state that was put aside is kept until the one in its place is complete and proven, be
	// that after another start.
	w.gen, w.replayUpto = g, end
	w.replaying = seq < end && (seq == 0 || begun || len(aside) > 0)
	if !w.replaying {
		w.provenSoon()
	}
	g.Part.MakeEffects(w.online())
	w.outcomes = newOutcomes(seq)
	w.settle()
	return w, nil
}

// startOver replaces a state that the log does not agree with by an empty one.
func (w *worker) startOver(old *fold.Generation) (*fold.Generation, error) {
	seq, _ := old.Part.Position()
	w.logger.Error("the log is shorter than the state or has another entry at its position; the state is folded again from the start of the log",
		"state_position", seq)
	return fold.Replace(w.root, old, w.foldOptions())
}

// follow folds everything after the state's position, until the context ends.
func (w *worker) follow(ctx context.Context) error {
	w.mu.RLock()
	at, _ := w.gen.Part.Position()
	w.mu.RUnlock()
	return consumers.Follow(ctx, w.p.log, consumers.Options{Partition: w.partition, After: at, Logger: w.logger}, w)
}

// Handle folds one entry, says what was decided and hands over the effects.
func (w *worker) Handle(_ context.Context, x *projections.Decoded, stored *eventlog.Entry) error {
	if x.Repartitions() { // the state may become another one
		w.mu.Lock()
		defer w.mu.Unlock()
	} else {
		w.mu.RLock()
		defer w.mu.RUnlock()
	}
	g := w.gen
	list, err := g.Apply(*x)
	if err != nil {
		return err
	}
	if x.Poison != "" || len(list) == 1 && list[0] == events.RejectedNoApp {
		w.tellDeadLetter(x, stored)
	}
	if w.replaying && x.Sequence >= w.replayUpto {
		w.replayed(g)
	}
	w.outcomes.decided(x.Sequence, list)
	if m := w.checksum.Load(); m != nil && x.Sequence >= m.sequence {
		w.takeChecksum(m, x.Sequence, g)
	}
	w.reached(x.Sequence)
	if a := w.audience; a != nil {
		if w.effects = g.Part.TakeEffects(w.effects[:0]); len(w.effects) > 0 {
			a.Push(w.effects)
			clear(w.effects)
		}
	}
	if w.follower != nil && !w.replaying {
		w.follower.Folded(x.Sequence)
	}
	return g.Relieve(w.checkpointWanted)
}

// reached has intake follow the fold, unless it is catching up.
func (w *worker) reached(sequence uint64) {
	if w.p.o.Intake != nil && !w.replaying && sequence >= w.endAtOpen.Load() {
		w.p.o.Intake.Folded(w.partition, sequence)
	}
}

// leave has intake wait for this fold no longer.
func (w *worker) leave() {
	if w.p.o.Intake != nil {
		w.p.o.Intake.Folded(w.partition, 0)
	}
}

// tellDeadLetter tells of an entry without effect, unless it is one of long ago.
func (w *worker) tellDeadLetter(x *projections.Decoded, stored *eventlog.Entry) {
	if w.p.o.DeadLetters == nil || w.replaying {
		return
	}
	v := DeadLetter{
		Partition: w.partition, Sequence: x.Sequence, At: x.At, Subject: stored.Subject, Reason: x.Poison, Data: stored.Data,
	}
	if v.Reason == "" {
		v.UnknownApp, v.Reason = true, events.RejectedNoApp.Reason()
	}
	w.p.o.DeadLetters(v)
}

// use calls f with the generation, which is neither switched nor closed meanwhile. The error is
// [ErrAbsent] if there is none.
func (w *worker) use(f func(*fold.Generation) error) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	switch {
	case w.closed:
		return ErrStopped
	case w.gen == nil:
		return ErrAbsent
	}
	return f(w.gen)
}

func (w *worker) close() error {
	w.proving.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.gen == nil {
		return nil
	}
	return w.gen.Close()
}
