package router

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/internal/lab/consumertest"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// silentFeeds tell nobody anything.
type silentFeeds struct{ why error }

func (f silentFeeds) Cover(context.Context, int, string, string) (uint64, error) { return 0, f.why }

// bus answers as one node does, or never.
type bus struct {
	cluster.Bus
	answer func(of eventlog.Position) *cluster.Answer
}

func (b *bus) Ask(ctx context.Context, _ string, question []byte) ([]byte, error) {
	var q cluster.Question
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, err
	}
	var list []cluster.Answer
	for _, of := range q.Of {
		x := b.answer(of)
		if x == nil {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		list = append(list, *x)
	}
	return json.Marshal(list)
}

// newRouter makes a router of a node on its own, which has copies or none.
func newRouter(t *testing.T, sparse bool, b *bus) (*Router, *projector.Projector) {
	t.Helper()
	return newRouterOf(t, 1, sparse, b)
}

func newRouterOf(t *testing.T, partitions int, sparse bool, b *bus) (*Router, *projector.Projector) {
	t.Helper()
	p, err := projector.New(consumertest.Context(t), consumertest.Open(t, partitions), projector.Options{Dir: t.TempDir(), Sparse: sparse, Logger: natstest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() }) // one that is condemned cannot be written down
	asker := &cluster.Asker{Bus: b, Copies: func(int) (preferred, others []string) {
		if b == nil {
			return nil, nil
		}
		return []string{"b"}, nil
	}}
	return New(p, asker, silentFeeds{context.DeadlineExceeded}, prometheus.NewRegistry()), p
}

// What is said of a question that nobody answers is so: only a state that was damaged is folded
// again, a node that is slow or behind is just that, and what is nowhere is nowhere.
func TestWhatIsSaidOfWhatNobodyAnswers(t *testing.T) {
	behind := func(of eventlog.Position) *cluster.Answer {
		return &cluster.Answer{Position: of, Problem: &cluster.Problem{Code: cluster.Unavailable, Text: "late", Behind: true}}
	}
	old := func(of eventlog.Position) *cluster.Answer {
		return &cluster.Answer{Position: eventlog.Position{Partition: of.Partition, Sequence: of.Sequence - 1}, Result: []byte("true")}
	}
	gone := func(of eventlog.Position) *cluster.Answer {
		return &cluster.Answer{Position: of, Problem: &cluster.Problem{Code: cluster.Unavailable, Text: "it has left"}}
	}
	never := func(eventlog.Position) *cluster.Answer { return nil }
	for name, test := range map[string]struct {
		here   string
		answer func(eventlog.Position) *cluster.Answer
		want   error
	}{
		"nowhere":                         {"absent", nil, projector.ErrNoCopy},
		"elsewhere, and the node is slow": {"absent", never, projector.ErrLate},
		"elsewhere, and behind":           {"absent", behind, projector.ErrLate},
		"elsewhere, and older":            {"absent", old, projector.ErrLate},
		"it has just left there, too":     {"absent", gone, projector.ErrNoCopy},
		"damaged, and nowhere else":       {"damaged", nil, projector.ErrFoldingAgain},
		"damaged, and the other is slow":  {"damaged", never, projector.ErrLate},
		"here, and behind":                {"here", nil, projector.ErrLate},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b *bus
			if test.answer != nil {
				b = &bus{answer: test.answer}
			}
			r, p := newRouter(t, test.here == "absent", b)
			if test.here == "damaged" {
				if err := p.Condemn(0, errors.New("planted")); err != nil {
					t.Fatal(err)
				}
			}
			r.seen[0].Store(7)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			var result bool
			err := r.CallOther(ctx, "a call", 0, 7, struct{}{}, &result)
			all := []error{projector.ErrNoCopy, projector.ErrLate, projector.ErrFoldingAgain}
			for _, is := range all {
				if errors.Is(err, is) != (is == test.want) {
					t.Errorf("%v, want %v", err, test.want)
				}
			}
			if test.answer == nil || test.here == "here" {
				_, _, err := r.SummaryAt(0, "app", "ann", "")
				if !errors.Is(err, test.want) {
					t.Errorf("a summary: %v, want %v", err, test.want)
				}
			}
		})
	}
}

// A wait that ends in the very moment in which others are to be asked ends as any other one: it is
// no fault of the server.
func TestAWaitThatEndsAsOthersAreAsked(t *testing.T) {
	r, _ := newRouter(t, true, nil)
	ended := errors.New("the client's time is over")
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := wait(ctx, r, 0, 1, func(soon context.Context) (struct{}, error) {
		<-soon.Done()
		cancel(ended)
		return struct{}{}, context.Cause(soon)
	}, position)
	if !errors.Is(err, ended) {
		t.Errorf("%v, want %v", err, ended)
	}
}
