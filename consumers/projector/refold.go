package projector

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/receiptd/receiptd/consumers/internal/fold"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/diskread"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/store"
)

// ErrFoldingAgain is returned for questions to a partition whose state was found corrupt, until it
// is complete again. Other partitions answer.
var ErrFoldingAgain = errors.New("projector: the state of a partition is corrupt and is being folded again from the log")

// refold is the part of a worker that replaces its state when that is found corrupt while in use.
type refold struct {
	found chan struct{} // holds a token when a state of this partition was found corrupt
	count atomic.Uint64
	// reason is why questions are not answered now; nil if they are.
	reason atomic.Pointer[error]
	// refused is why the state is not folded again when it is found corrupt; nil if it is.
	refused atomic.Pointer[error]
	// known are the settings of all apps as they were: without them each app would look unknown.
	known atomic.Pointer[map[string]configured]
	// holds is set while the worker keeps rebuilds away: they, too, would have to tell an
	// incomplete state from a complete one.
	holds bool
}

type configured struct {
	settings events.Settings
	revision uint64
}

// foldOptions are the options of the partition's generations.
func (w *worker) foldOptions() fold.Options {
	o := w.p.foldOptions(w.partition)
	o.OnCorrupt = func() {
		select {
		case w.refold.found <- struct{}{}:
		default: // that is known
		}
	}
	return o
}

// corrupt is what was found corrupt in the state in use, or nil.
func (w *worker) corrupt() (err error) {
	_ = w.use(func(g *fold.Generation) error {
		err = g.Store.Corrupt()
		return nil
	})
	return err
}

// unanswered is why questions are not answered now, or nil.
func (w *worker) unanswered() error {
	if reason := w.refold.reason.Load(); reason != nil {
		return *reason
	}
	return nil
}

// answered is the error of a question. What a corrupt state said is no answer.
func (w *worker) answered(g *fold.Generation, err error) error {
	if err == nil || errors.Is(err, projections.ErrNotFound) {
		if g.Store.Corrupt() == nil {
			return err
		}
	} else if !errors.Is(err, store.ErrCorrupt) {
		return err
	}
	return fmt.Errorf("%w: partition %d", ErrFoldingAgain, w.partition)
}

// run folds until the context ends. A state that is found corrupt, by the fold, a question, a
// checkpoint or whoever reads its files through, is folded again.
func (w *worker) run(ctx context.Context) error {
	defer w.letRebuild()
	for {
		following, cancel := context.WithCancel(ctx)
		watching := make(chan struct{})
		go func() {
			defer close(watching)
			for {
				select {
				case <-w.refold.found:
					if w.corrupt() != nil { // not a replica's
						cancel()
						return
					}
				case <-following.Done():
					return
				}
			}
		}()
		err := w.follow(following)
		cancel()
		<-watching
		bad := w.corrupt()
		if ctx.Err() != nil || bad == nil {
			return err
		}
		if err := w.startAgain(ctx, bad); err != nil {
			return err
		}
	}
}

// startAgain puts the corrupt state aside and begins an empty one, if the log has all it takes to
// complete it, or else one from a snapshot. If there is none, the partition answers nothing, and
// the corrupt state stays where it is.
func (w *worker) startAgain(ctx context.Context, bad error) error {
	w.refold.count.Add(1)
	w.leave()
	if w.unanswered() == nil {
		known := map[string]configured{}
		_ = w.use(func(g *fold.Generation) error {
			for app := range g.Part.Apps() { // in memory, all of them
				settings, revision, _ := g.Part.Settings(app)
				known[app] = configured{settings, revision}
			}
			return nil
		})
		w.refold.known.Store(&known)
	}
	if why := w.refold.refused.Load(); why != nil {
		return w.standAside(ctx, *why)
	}
	reason := fmt.Errorf("%w: partition %d", ErrFoldingAgain, w.partition)
	w.refold.reason.Store(&reason)
	first, _, err := w.p.log.Bounds(ctx, w.partition)
	for ; err != nil; first, _, err = w.p.log.Bounds(ctx, w.partition) {
		w.logger.Warn("the state is corrupt, and the log does not say where it begins; trying again", "error", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var begin string
	if first > 1 {
		if begin, err = w.beginAgain(ctx); err != nil {
			return err
		}
	}
	if first > 1 && begin == "" {
		gone := fmt.Errorf("%w, which no longer has its start: %w", reason, ErrNeedsArchive)
		w.refold.reason.Store(&gone)
		w.logger.Error("the state is corrupt and the log cannot replace it; the partition is not answered for", "error", bad, "do", ErrNeedsArchive)
		<-ctx.Done()
		return ctx.Err()
	}
	if err := w.holdRebuilds(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	g, aside, err := fold.StartAgain(w.root, w.gen, w.foldOptions())
	if err == nil && begin != "" {
		g, err = fold.Install(w.root, begin, g, w.foldOptions())
	}
	if err != nil {
		return errors.Join(bad, fmt.Errorf("begin another state: %w", err))
	}
	w.logger.Error("the state is corrupt; it is put aside and folded again from the log, and the partition answers no questions until that is done",
		"error", bad, "aside", aside)
	w.gen, w.replaying, w.replayUpto = g, true, max(w.outcomes.last(), w.replayUpto)
	if at, _ := g.Part.Position(); at >= w.replayUpto {
		w.replayed(g)
	}
	return nil
}

// standAside leaves a state that was refused where it is, and folds nothing until the context ends.
func (w *worker) standAside(ctx context.Context, why error) error {
	reason := fmt.Errorf("%w: partition %d: %w", errRefused, w.partition, why)
	w.refold.reason.Store(&reason)
	w.logger.Error("the state is put aside, and not folded again before the next start; the partition is not answered for here", "error", why)
	w.letRebuild()
	<-ctx.Done()
	return ctx.Err()
}

// beginAgain gets a snapshot for a log that no longer has its start; empty if there is none.
func (w *worker) beginAgain(ctx context.Context) (dir string, err error) {
	for {
		dir, _, err = w.fromSnapshot(ctx, 0)
		if err == nil || ctx.Err() != nil {
			return dir, err
		}
		w.logger.Warn("the state is corrupt, and the snapshots cannot be read; trying again", "error", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// replayed ends the replay of a state that is complete. It is called by the fold, or with mu held.
func (w *worker) replayed(g *fold.Generation) {
	w.replaying = false
	g.Part.MakeEffects(w.online())
	switch was := w.unanswered(); was {
	case nil: // at a start
	case ErrArriving:
		w.refold.reason.Store(nil)
		w.logger.Info("a copy of the state is complete, and answers", "entry", w.replayUpto)
	default:
		w.refold.reason.Store(nil)
		w.letRebuild()
		w.logger.Info("the state is complete again")
	}
	w.provenSoon()
}

// holdRebuilds ends the rebuild under way and keeps others away until letRebuild.
func (w *worker) holdRebuilds(ctx context.Context) error {
	for !w.refold.holds {
		if w.refold.holds = w.p.rebuilding.TryRLock(); w.refold.holds {
			break
		}
		if giveUp := w.p.giveUp.Load(); giveUp != nil {
			(*giveUp)()
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (w *worker) letRebuild() {
	if w.refold.holds {
		w.refold.holds = false
		w.p.rebuilding.RUnlock()
	}
}

// Scrub reads the files of the state of every partition that is here from the disk against their
// checksums; pace is asked before each read. A state that is corrupt is folded again, see
// [ErrFoldingAgain]. The error is for what kept it from reading.
func (p *Projector) Scrub(ctx context.Context, pace diskread.Pace) (bytes int64, corrupt []*store.CorruptError, err error) {
	for _, w := range p.here() {
		n, found, err := fold.Check(ctx, pace, w.use)
		bytes, corrupt = bytes+n, append(corrupt, found...)
		if errors.Is(err, ErrAbsent) {
			continue // it has left
		}
		if err != nil {
			return bytes, corrupt, fmt.Errorf("read the state of partition %d: %w", w.partition, err)
		}
	}
	return bytes, corrupt, nil
}

// settings returns the settings of an app in this partition. While the state is folded again, they
// are those that it had before; while there is no copy here, there are none.
func (w *worker) settings(app string) (s events.Settings, revision uint64, ok bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return s, 0, false
	}
	if w.unanswered() != nil {
		c, ok := w.knew()[app]
		return c.settings, c.revision, ok
	}
	return w.gen.Part.Settings(app)
}

// knew are the settings that the state had before it was folded again; nil if it is not here, or
// never was complete.
func (w *worker) knew() map[string]configured {
	if known := w.refold.known.Load(); known != nil {
		return *known
	}
	return nil
}

// configured reports whether the partition has a say in what apps there are.
func (w *worker) configured() bool { return w.unanswered() == nil || w.knew() != nil }

// revisions returns the revisions of the settings of all apps, as settings does those of one.
func (w *worker) revisions() map[string]uint64 {
	w.mu.RLock()
	defer w.mu.RUnlock()
	switch {
	case w.closed:
		return nil
	case w.unanswered() != nil:
		all := map[string]uint64{}
		for app, c := range w.knew() {
			all[app] = c.revision
		}
		return all
	}
	return w.gen.Part.Apps()
}
