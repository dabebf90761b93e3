package cluster

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Turns has one process at a time do some work, as its [Writer]: another one when that one is gone,
// and when it is there but cannot. Whoever has the right keeps it only while it gets on.
type Turns struct {
	Bucket *Bucket
	// Name is that of the writer, Node and Life are this process.
	Name, Node, Life string
	// Keep says of the process that is the writer that it is there.
	Keep func(node, life string) bool
	// First is the time until the first look whether it is this process's turn, Every the time
	// between two.
	First, Every time.Duration
	// Wants reports whether there is something to do, as far as this process can tell; nil = there
	// always is.
	Wants func(ctx context.Context) bool
	// Able says what keeps this process from the work, at every look, while it is at it, too; nil =
	// nothing ever does. What lasts for unableLooks has it give up the right.
	Able func() error
	// Work does it until the context ends, for which it returns nil, or somebody else is to go on:
	// nil for whose turn it is, an error for whoever can. It is called again, some time later.
	Work func(ctx context.Context, w *Writer) error
	// Refusal is what the log says of a process that could not, beside the error.
	Refusal string
	Logger  *slog.Logger
}

const (
	// unableLooks is at how many looks in a row something has to keep a process from its work.
	unableLooks = 10
	// turnsPause is how many looks a process that could not do the work leaves to the others at
	// first; each further time in a row it is twice as many, up to turnsPauses.
	turnsPause  = 4
	turnsPauses = 64
	// releaseFor is how long giving a right up may take.
	releaseFor = 5 * time.Second
)

// Run takes turns until the context ends.
func (t *Turns) Run(ctx context.Context) {
	wait, pause := t.First, turnsPause
	unable := false // which was said
	for {
		select {
		case <-time.After(wait):
			wait = t.Every
		case <-ctx.Done():
			return
		}
		if err := t.able(); err != nil {
			if !unable {
				t.refuse(err)
			}
			unable = true
			continue
		}
		unable = false
		if t.Wants != nil && !t.Wants(ctx) {
			continue
		}
		w, err := Claim(ctx, t.Bucket, t.Name, t.Node, t.Life, t.Keep)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, ErrConflict) {
				t.refuse(err)
			}
			continue
		}
		began := time.Now()
		err = t.work(ctx, w)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > turnsPauses*t.Every {
			pause = turnsPause
		}
		if err != nil {
			t.refuse(err)
		}
		if err != nil && !errors.Is(err, ErrFenced) {
			wait = time.Duration(pause) * t.Every
			pause = min(2*pause, turnsPauses)
		}
		if err := t.release(ctx, w); err != nil && ctx.Err() == nil {
			t.Logger.Warn("a right of this node was not given up", "right", t.Name, "error", err)
		}
	}
}

func (t *Turns) able() error {
	if t.Able == nil {
		return nil
	}
	return t.Able()
}

func (t *Turns) refuse(err error) { t.Logger.Warn(t.Refusal, "error", err) }

// work does it for as long as this process is able to.
func (t *Turns) work(ctx context.Context, w *Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for looks := 0; ; {
			select {
			case <-time.After(t.Every):
			case <-ctx.Done():
				return
			}
			err := t.able()
			if err == nil {
				looks = 0
			} else if looks++; looks == unableLooks {
				cancel(err)
				return
			}
		}
	}()
	err := t.Work(ctx, w)
	cause := context.Cause(ctx)
	cancel(nil)
	<-watched
	if cause != nil {
		return cause
	}
	return err
}

// release gives the right up, if it is this process's still.
func (t *Turns) release(ctx context.Context, w *Writer) error {
	ctx, cancel := context.WithTimeout(ctx, releaseFor)
	defer cancel()
	return w.Release(ctx)
}
