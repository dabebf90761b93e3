package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/cluster"
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

// probe is a consumer that is had once. It notes who has the right, and ends when it is told to.
type probe struct {
	node    string
	right   *cluster.Writer
	terms   chan<- string // a node, and the note of the term before
	broken  <-chan struct{}
	running *atomic.Int32
}

func (p *probe) Run(ctx context.Context) error {
	note, err := p.right.Read(ctx, 0)
	if err == nil {
		err = p.right.Write(ctx, 0, fmt.Appendf(nil, "%q", p.node))
	}
	if err != nil {
		return err
	}
	if p.running.Add(1) > 1 {
		return errors.New("another node runs it, too")
	}
	p.terms <- fmt.Sprintf("%s after %s", p.node, note)
	select {
	case <-p.broken:
		return errors.New("broken")
	case <-ctx.Done():
		return nil
	}
}

func (p *probe) Close() error {
	p.running.Add(-1)
	return nil
}

// What is had once runs at one node at a time, and another one goes on after the last note.
func TestOneNodeHasWhatIsHadOnce(t *testing.T) {
	nodes := startNodes(t, 2)
	terms, broken := make(chan string, 8), make(chan struct{})
	var running atomic.Int32
	ctx, cancel := context.WithCancel(testContext(t))
	ended := make(chan error, len(nodes))
	for _, s := range nodes {
		c := consumer{name: "probe", singleton: "probe", open: func(right *cluster.Writer) (runner, error) {
			return &probe{s.node.Name(), right, terms, broken, &running}, nil
		}}
		go func() { ended <- singletonConsumer{s.Server, c}.Run(ctx) }()
	}
	var first, second string
	if _, err := fmt.Sscanf(<-terms, "%s after", &first); err != nil {
		t.Fatal(err)
	}
	broken <- struct{}{}
	if _, err := fmt.Sscanf(<-terms, "%s after "+strconv.Quote(first), &second); err != nil || second == first {
		t.Errorf("%s came after %s: %v", second, first, err)
	}
	cancel()
	if err := errors.Join(<-ended, <-ended); err != nil || running.Load() != 0 {
		t.Errorf("%v, %d still run", err, running.Load())
	}
}

// A node whose copy was refused decides otherwise than the others, or its machine is at fault: what
// one node does for all it leaves to another one at once, and does not begin again.
func TestNodeWithARefusedCopyGivesTheRightUp(t *testing.T) {
	nodes := startNodes(t, 2)
	terms := make(chan string, 8)
	var running atomic.Int32
	ctx, cancel := context.WithCancel(testContext(t))
	ended := make(chan error, len(nodes))
	for _, s := range nodes {
		c := consumer{name: "probe", singleton: "probe", open: func(right *cluster.Writer) (runner, error) {
			return &probe{s.node.Name(), right, terms, nil, &running}, nil
		}}
		go func() { ended <- singletonConsumer{s.Server, c}.Run(ctx) }()
	}
	var first, second string
	if _, err := fmt.Sscanf(<-terms, "%s after", &first); err != nil {
		t.Fatal(err)
	}
	for _, s := range nodes {
		if s.node.Name() != first {
			continue
		}
		if err := s.Projector.Refuse(0, errors.New("it decides otherwise")); err != nil {
			t.Fatal(err)
		}
		for _, work := range []cluster.Singleton{singletonConsumer{s.Server, consumer{}}.singleton(), snapshotMaker{s.Server}.singleton(nil)} {
			if err := work.Able(); !errors.Is(err, cluster.ErrUnfit) {
				t.Errorf("it may have the right: %v", err)
			}
		}
	}
	select {
	case term := <-terms:
		if _, err := fmt.Sscanf(term, "%s after "+strconv.Quote(first), &second); err != nil || second == first {
			t.Errorf("%s came after %s: %v", second, first, err)
		}
	case <-time.After(time.Minute):
		t.Errorf("%s goes on", first)
	}
	cancel()
	if err := errors.Join(<-ended, <-ended); err != nil {
		t.Error(err)
	}
	for _, s := range nodes { // else its end is that of a server that is at fault
		if s.node.Name() == first {
			if err := s.Projector.DropCopy(0); err != nil {
				t.Error(err)
			}
		}
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
