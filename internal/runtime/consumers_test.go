package runtime

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// closing is a consumer that waits for its context, and says when it is closed.
type closing struct {
	name   string
	closed *[]string
}

func (c closing) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (c closing) Close() error {
	*c.closed = append(*c.closed, c.name)
	return errors.New(c.name)
}

func TestConsumersAreClosedLastToFirst(t *testing.T) {
	var closed []string
	s := &Server{}
	for _, name := range []string{"a", "b", "c"} {
		s.opened = append(s.opened, consumer{name: name, opened: closing{name, &closed}})
	}
	s.opened = append(s.opened, consumer{name: "closed by others", opened: runFunc(nil)})
	if err := s.closeConsumers(); err == nil || err.Error() != "c\nb\na" || !slices.Equal(closed, []string{"c", "b", "a"}) {
		t.Errorf("closed %v, %v", closed, err)
	}
	if err := s.closeConsumers(); err != nil || len(closed) != 3 {
		t.Errorf("once more: closed %v, %v", closed, err)
	}
}

// Only what the server can do without may fail, and only what requests wait for outlives them.
func TestConsumerEndsTheServerUnlessItIsOptional(t *testing.T) {
	s := &Server{logger: natstest.Logger(t)}
	broken := errors.New("broken")
	fails := runFunc(func(context.Context) error { return broken })
	if err := s.runConsumer(t.Context(), t.Context(), consumer{opened: fails}); !errors.Is(err, broken) {
		t.Errorf("a needed one: %v", err)
	}
	if err := s.runConsumer(t.Context(), t.Context(), consumer{opened: fails, optional: "it goes on without"}); err != nil {
		t.Errorf("an optional one: %v", err)
	}
	ctx, folding := context.WithValue(t.Context(), s, "ctx"), context.WithValue(t.Context(), s, "folding")
	for want, c := range map[string]consumer{"ctx": {}, "folding": {last: true}} {
		c.opened = runFunc(func(ctx context.Context) error {
			if got := ctx.Value(s); got != want {
				t.Errorf("last %v: it runs until %v ends", c.last, got)
			}
			return nil
		})
		if err := s.runConsumer(ctx, folding, c); err != nil {
			t.Error(err)
		}
	}
}

// A fold that cannot go on ends the server with its own reason, and whoever waits for it at the
// start has none.
func TestReasonOfAFoldIsNotHidden(t *testing.T) {
	s, err := Build(testContext(t), testConfig(t), natstest.Logger(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(testContext(t)); err != nil {
			t.Error(err)
		}
	}()
	if _, err := s.Log.Append(testContext(t), group("g", 1)); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(testContext(t))
	cancel()
	if err := s.Projector.Run(over); err != nil {
		t.Fatal(err)
	}
	if err := s.reconcile(testContext(t)); err != nil {
		t.Errorf("the fold has ended, and the reason is said to be: %v", err)
	}
	if s.gate.open.Load() {
		t.Error("requests are taken that nothing folds")
	}
}
