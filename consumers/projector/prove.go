package projector

import (
	"context"

	"github.com/receiptd/receiptd/consumers/internal/fold"
)

// provenSoon has a state that is complete proven, if others were put aside for it, and those
// removed then. It does not wait for that.
func (w *worker) provenSoon() {
	aside, err := fold.Aside(w.p.o.FS, w.root)
	if err != nil {
		w.logger.Warn("states that were put aside stay", "error", err)
	}
	if len(aside) > 0 {
		w.proving.Go(func() { w.prove(w.p.closing, aside) })
	}
}

// prove removes what was put aside when the state in its place is on the disk and is what was
// written there. What stands on an entry that the log does not have is kept, unless that is to be
// expected: it may be the only copy of that.
func (w *worker) prove(ctx context.Context, aside []string) {
	if err := fold.Prove(ctx, w.use); ctx.Err() != nil {
		return // the next start proves it
	} else if err != nil {
		w.logger.Warn("a state that was put aside is not removed yet: the one in its place is not proven", "aside", aside, "error", err)
		return
	}
	for _, dir := range aside {
		end := fold.Discard
		if !w.p.o.StartOver && w.p.o.FS == nil {
			agrees, err := fold.AsideAgrees(ctx, w.p.log, w.partition, dir)
			if err != nil {
				w.logger.Warn("a state that was put aside is not removed yet: it cannot be compared with the log", "aside", dir, "error", err)
				continue
			}
			if !agrees {
				end = fold.Keep
				w.logger.Error("a state that was put aside is kept: it stands on an entry that the log does not have", "aside", dir)
			}
		}
		if err := end(w.p.o.FS, []string{dir}); err != nil {
			w.logger.Warn("a state that was put aside stays", "error", err)
		}
	}
}

// keepAside has what was put aside kept: see [Options.Keep].
func (w *worker) keepAside() error {
	aside, err := fold.Aside(w.p.o.FS, w.root)
	if err != nil || !w.p.o.Keep {
		return err
	}
	return fold.Keep(w.p.o.FS, aside)
}
