package cluster

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// ErrUnfit: what this process does may be wrong, and another one is to do it.
var ErrUnfit = errors.New("cluster: this node is not fit to do it for all")

// Singleton is work that one process at a time does, as its [Writer]: another one when that one is
// gone, and when it is there but cannot. A process has the right for a term, which ends when it
// does not get on, and in which no clock has a say.
type Singleton struct {
	Register Register
	// Name is the writer's, Node and Life are this process.
	Name, Node, Life string
	// Keep says of the process that is the writer that it is there.
	Keep func(node, life string) bool
	// First is the time until the first look whether this process claims the right, Every the time
	// between two.
	First, Every time.Duration
	// Wants reports whether there is something to do, as far as this process can tell; nil = there
	// always is.
	Wants func(ctx context.Context) bool
	// Able says what keeps this process from the work, at every look, while it is at it, too; nil =
	// nothing ever does. What lasts for unableLooks has it give up the right; [ErrUnfit] does at
	// once.
	Able func() error
	// Work does it until the context ends, for which it returns nil, or somebody else is to go on:
	// nil for whoever has the right now, an error for whoever can. It is called again, some time
	// later.
	Work func(ctx context.Context, w *Writer) error
	// Refusal is what the log says of a process that could not, beside the error.
	Refusal string
	Logger  *slog.Logger
}

const (
	// unableLooks is at how many looks in a row something has to keep a process from its work.
	unableLooks = 10
	// pauseLooks is how many looks a process that could not do the work leaves to the others at
	// first; each further time in a row it is twice as many, up to maxPauseLooks.
	pauseLooks    = 4
	maxPauseLooks = 64
)

// Run claims the right and works, time and again, until the context ends.
func (s *Singleton) Run(ctx context.Context) {
	var (
		left   *Writer   // of a term that is over, or never began, who may have the right still
		again  time.Time // until then the right is left to others
		pause  = pauseLooks
		unable = false // which was said
	)
	for wait := s.First; ; wait = s.Every {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		left = s.leave(ctx, left, false)
		if err := s.able(); err != nil {
			if !unable {
				s.refuse(err)
			}
			unable = true
			continue
		}
		unable = false
		if time.Now().Before(again) || s.Wants != nil && !s.Wants(ctx) {
			continue
		}
		w, err := Claim(ctx, s.Register, s.Name, s.Node, s.Life, s.Keep)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, ErrConflict) {
				s.refuse(err)
				left = w // it may have been claimed, and the answer was lost
			}
			continue
		}
		began := time.Now()
		err = s.work(ctx, w)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > maxPauseLooks*s.Every {
			pause = pauseLooks
		}
		if err != nil {
			s.refuse(err)
		}
		if err != nil && !errors.Is(err, ErrFenced) {
			again = time.Now().Add(time.Duration(pause) * s.Every)
			pause = min(2*pause, maxPauseLooks)
		}
		left = s.leave(ctx, w, true)
	}
}

// leave gives a right up, if it is this process's still, and returns it if that has to be tried
// again: while this process is there nobody would take it.
func (s *Singleton) leave(ctx context.Context, w *Writer, first bool) *Writer {
	if w == nil {
		return nil
	}
	err := w.Release(ctx)
	if err == nil {
		return nil
	}
	if first && ctx.Err() == nil {
		s.Logger.Warn("a right of this node is not given up yet", "right", s.Name, "error", err)
	}
	return w
}

func (s *Singleton) able() error {
	if s.Able == nil {
		return nil
	}
	return s.Able()
}

func (s *Singleton) refuse(err error) { s.Logger.Warn(s.Refusal, "error", err) }

// work does it for as long as this process is able to.
func (s *Singleton) work(ctx context.Context, w *Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for looks := 0; ; {
			select {
			case <-time.After(s.Every):
			case <-ctx.Done():
				return
			}
			err := s.able()
			if looks++; err == nil {
				looks = 0
			}
			if looks == unableLooks || errors.Is(err, ErrUnfit) {
				cancel(err)
				return
			}
		}
	}()
	err := s.Work(ctx, w)
	cause := context.Cause(ctx)
	cancel(nil)
	<-watched
	if cause != nil {
		return cause
	}
	return err
}
