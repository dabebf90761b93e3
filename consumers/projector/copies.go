package projector

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/consumers/internal/fold"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/copystate"
)

// notHere is why a partition is not answered for that is not being folded again. To those who only
// have to know that another copy may answer it is an [ErrFoldingAgain].
type notHere string

// Error implements error.
func (e notHere) Error() string { return string(e) }

// Is reports whether the partition is to be asked elsewhere.
func (e notHere) Is(target error) bool { return target == ErrFoldingAgain }

var (
	// ErrAbsent is returned for questions to a partition that this process has no copy of.
	ErrAbsent error = notHere("projector: the state of the partition is not kept here")
	// ErrArriving is the same for one whose copy is not complete yet.
	ErrArriving error = notHere("projector: the state of the partition is being brought here")
	// errRefused is the same for one whose copy is put aside for good: see [Projector.Refuse].
	errRefused error = notHere("projector: the state of the partition is put aside until the next start")
)

// Why a view of the copies of several processes does not answer for a partition, if its own copy is
// not being folded again.
var (
	// ErrNoCopy: there is no copy of the partition here that answers, and none is heard of
	// elsewhere.
	ErrNoCopy = errors.New("projector: no node that is heard of has a copy of the partition that answers")
	// ErrLate: there is a copy, and none had the answer in time, with all in it that was answered
	// before: its node is busy, behind or out of reach.
	ErrLate = fmt.Errorf("projector: the nodes that have a copy of the partition did not answer in time: %w", context.DeadlineExceeded)
)

// tenure is the time in which there is a copy here.
type tenure struct {
	ctx  context.Context // ends when the copy is to leave
	end  context.CancelFunc
	over chan struct{} // closed when the fold has ended
}

// settle has the worker fold the copy that it has, until it leaves. It is called with changing held
// or before the worker is known.
func (w *worker) settle() {
	t := &tenure{over: make(chan struct{})}
	t.ctx, t.end = context.WithCancel(context.Background())
	w.now = t
	w.tenures <- t
}

// live folds whenever there is a copy here, until the context ends.
func (w *worker) live(ctx context.Context) error {
	for {
		select {
		case t := <-w.tenures:
			err := w.hold(ctx, t)
			close(t.over)
			switch {
			case ctx.Err() != nil:
				return err
			case err == nil, w.copyState() == copystate.Here:
			case errors.Is(err, eventlog.ErrTrimmed): // it came too late, and begins anew
				w.logger.Warn("a copy of the state is given up that could not be completed", "error", err)
				err = nil
			}
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hold folds the copy that is here. It returns nil once it is to leave.
func (w *worker) hold(ctx context.Context, t *tenure) error {
	holding, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	group, holding := errgroup.WithContext(holding)
	group.Go(func() error { return w.run(holding) })
	group.Go(func() error { return w.checkpoints(holding) })
	err := group.Wait()
	w.leave()
	if t.ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// copyState is whether there is a copy here.
func (w *worker) copyState() copystate.State {
	switch reason := w.unanswered(); reason {
	case ErrAbsent:
		return copystate.Absent
	case ErrArriving:
		return copystate.Arriving
	}
	return copystate.Here
}

// CopyState is whether there is a copy of a partition here.
func (p *Projector) CopyState(partition int) copystate.State { return p.workers[partition].copyState() }

// here are the partitions of which there is a copy that is complete, or was.
func (p *Projector) here() (list []*worker) {
	for _, w := range p.workers {
		if w.copyState() == copystate.Here {
			list = append(list, w)
		}
	}
	return list
}

// AddCopy brings a copy of a partition here, unless there is one: from a snapshot if there are any,
// and from the log. It returns when it is opened; the partition is answered for once it has come to
// where the log ended. One that failed on the way is begun anew.
func (p *Projector) AddCopy(ctx context.Context, partition int) error {
	w := p.workers[partition]
	w.changing.Lock()
	defer w.changing.Unlock()
	if w.now != nil && !w.failed() {
		return nil
	}
	err := w.vacate()
	if err == nil {
		if err = w.bring(ctx); err != nil {
			err = errors.Join(err, w.vacate())
		}
	}
	if err != nil {
		return fmt.Errorf("bring partition %d here: %w", partition, err)
	}
	return nil
}

// failed reports whether the copy here was given up before it was complete.
func (w *worker) failed() bool {
	select {
	case <-w.now.over:
		return w.copyState() == copystate.Arriving
	default:
		return false
	}
}

// bring opens a copy and has it folded.
func (w *worker) bring(ctx context.Context) error {
	reason := ErrArriving
	w.refold.reason.Store(&reason)
	g, err := fold.OpenCurrent(w.root, w.foldOptions())
	if err != nil {
		return err
	}
	_, end, err := w.p.log.Bounds(ctx, w.partition)
	if err != nil {
		return errors.Join(fmt.Errorf("end of the log: %w", err), g.Close())
	}
	if g, _, err = w.begin(ctx, g); err != nil {
		return err
	}
	seq, _ := g.Part.Position()
	w.outcomes.jump(seq)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return errors.Join(ErrStopped, g.Close())
	}
	w.endAtOpen.Store(end)
	w.gen, w.replaying, w.replayUpto = g, true, max(end, w.outcomes.last())
	if seq >= w.replayUpto {
		w.replayed(g)
	}
	w.settle()
	return nil
}

// DropCopy ends the fold of a partition and removes its copy, if there is one here: nothing of it
// stays, in memory or on the disk. From then on its questions get [ErrAbsent]. The error is
// [ErrRebuilding] while the copies here are rebuilt.
func (p *Projector) DropCopy(partition int) error {
	w := p.workers[partition]
	if !p.rebuilding.TryRLock() {
		return ErrRebuilding
	}
	defer p.rebuilding.RUnlock()
	w.changing.Lock()
	defer w.changing.Unlock()
	if w.now == nil {
		return nil
	}
	if err := w.vacate(); err != nil {
		return fmt.Errorf("drop partition %d: %w", partition, err)
	}
	return nil
}

// vacate ends the fold and removes all there is of a copy. It is called with changing held.
func (w *worker) vacate() error {
	if w.now != nil {
		w.now.end()
		_ = w.use(func(g *fold.Generation) error { // a full disk must not keep it
			g.Store.StopWaiting()
			return nil
		})
		select {
		case <-w.now.over:
		case <-w.p.closing.Done():
			return ErrStopped
		}
	}
	// The fold has told everything before others are asked to.
	reason := ErrAbsent
	w.refold.known.Store(nil)
	w.refold.reason.Store(&reason)
	w.proving.Wait()
	w.mu.Lock()
	g := w.gen
	w.gen = nil
	w.refold.refused.Store(nil)
	w.mu.Unlock()
	w.now = nil
	var err error
	if g != nil {
		err = g.Remove()
	}
	return errors.Join(err, fold.Clear(w.p.o.FS, w.root))
}
