package runtime

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A start that waits says for what: at once, and then now and again.
func TestStartSaysWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*retrySayEvery+time.Second)
		defer cancel()
		var said bytes.Buffer
		nobody := errors.New("nobody leads the stream")
		err := retry(ctx, slog.New(slog.NewTextHandler(&said, nil)), func(context.Context) error { return nobody })
		if !errors.Is(err, nobody) {
			t.Errorf("in the end: %v", err)
		}
		if n := strings.Count(said.String(), nobody.Error()); n != 3 {
			t.Errorf("said %d times in %s: %s", n, 2*retrySayEvery, &said)
		}
	})
}

// off is a log whose store goes off.
type off struct{ context.Context }

func (o off) Failed() <-chan struct{} { return o.Done() }
func (o off) Err() error              { return context.Cause(o.Context) }

// A start that waits for NATS servers ends when the log's own store goes off, and says that:
// nothing that it waits for comes then.
func TestStartEndsWithTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("the disk is full")
		store, fail := context.WithCancelCause(t.Context())
		defer time.AfterFunc(time.Minute, func() { fail(why) }).Stop()
		nobody := errors.New("nobody leads the stream")
		start := func() (err error) {
			ctx, cancel := context.WithTimeout(t.Context(), peersTimeout)
			defer cancel()
			ctx, opened := whileStoring(ctx, off{store})
			defer opened(&err)
			return retry(ctx, slog.New(slog.DiscardHandler), func(context.Context) error { return nobody })
		}
		began := time.Now()
		if err := start(); !errors.Is(err, why) || !errors.Is(err, nobody) || time.Since(began) != time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
	// What ends well ends so.
	ctx, opened := whileStoring(t.Context(), off{t.Context()})
	var err error
	if opened(&err); err != nil || ctx.Err() == nil {
		t.Errorf("%v, %v", err, ctx.Err())
	}
}
