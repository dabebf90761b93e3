package router

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/projections"
)

const (
	// askMax bounds the answer of other nodes to a question that does not say how long it waits.
	askMax = 5 * time.Second
	// silence is how long this node's own fold is waited for before others are asked whether they
	// have come to an entry.
	silence = 100 * time.Millisecond
	// waitMax is how long others are waited for before this node's fold is looked at again.
	waitMax = time.Second
)

// Router is the state as a node of a cluster has it. What it does not define is this node's alone:
// its readiness, for one, and its digests.
type Router struct {
	*projector.Projector
	asker *cluster.Asker
	feeds Feeds
	// seen is the last entry of each partition that an answer of another node had in it: this node
	// answers by itself again once it has come as far.
	seen  []atomic.Uint64
	apps  settingsCache
	calls map[string]Call
	total *prometheus.CounterVec
}

// Feeds tell the users who are online at this node. [feed.Feeds] are some.
type Feeds interface {
	// Cover returns when all that happens to a user in a partition, after the entry that is
	// returned, is told to those who are online as that user.
	Cover(ctx context.Context, partition int, app, user string) (after uint64, err error)
}

// New makes a router for the copies of this node and those of others.
func New(local *projector.Projector, asker *cluster.Asker, feeds Feeds, registry prometheus.Registerer) *Router {
	r := &Router{Projector: local, asker: asker, feeds: feeds, seen: make([]atomic.Uint64, len(local.Folded())), calls: map[string]Call{}}
	r.total = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "receiptd_cluster_questions_total", Help: "Questions that this node asked others about partitions that it does not answer for, those of them that nobody answered, and those of others that it answered.",
	}, []string{"kind"})
	for _, kind := range []string{kindAsked, kindFailed, kindAnswered} {
		r.total.WithLabelValues(kind)
	}
	registry.MustRegister(r.total)
	r.Handle(callRates, r.answerRates)
	return r
}

// Kinds of counted questions.
const (
	kindAsked    = "asked"
	kindFailed   = "failed"
	kindAnswered = "answered"
)

// Folded is the last entry of each partition that answers have in them: what this node has folded
// or another one has answered with.
func (r *Router) Folded() []uint64 {
	all := r.Projector.Folded()
	for k := range all {
		all[k] = max(all[k], r.seen[k].Load())
	}
	return all
}

// WaitFor waits until a partition is answered for with an entry in it, be it by another node.
func (r *Router) WaitFor(ctx context.Context, partition int, sequence uint64) error {
	if sequence <= r.seen[partition].Load() {
		return nil
	}
	_, err := wait(ctx, r, partition, sequence, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, r.Projector.WaitFor(ctx, partition, sequence)
	}, position)
	return err
}

// Outcomes waits until an entry is folded, here or by another node, and returns what was decided
// about its events. All come to the same.
func (r *Router) Outcomes(ctx context.Context, partition int, sequence uint64) ([]events.Outcome, error) {
	if partition < 0 || partition >= len(r.seen) {
		return nil, fmt.Errorf("no partition %d", partition)
	}
	return wait(ctx, r, partition, sequence, func(ctx context.Context) ([]events.Outcome, error) {
		return r.Projector.Outcomes(ctx, partition, sequence)
	}, outcomes)
}

// wait waits for this node's fold, and asks others when it is silent and does not serve.
func wait[R any](
	ctx context.Context, r *Router, partition int, sequence uint64, here func(context.Context) (R, error), name string,
) (result R, err error) {
	patience := silence
	if !r.Serves(partition, 0) {
		patience = 0 // what is known is known at once
	}
	for {
		soon, cancel := context.WithTimeoutCause(ctx, patience, errSilent)
		result, err = here(soon)
		cancel()
		if !errors.Is(err, errSilent) {
			return result, err
		}
		if ctx.Err() != nil { // in the same moment
			return result, context.Cause(ctx)
		}
		patience = silence
		if r.Serves(partition, 0) {
			continue
		}
		asked, cancel := context.WithTimeout(ctx, waitMax)
		answers, err := r.askOf(asked, name, []byte("{}"), []eventlog.Position{{Partition: partition, Sequence: sequence}})
		cancel()
		if err == nil {
			return decode[R](&answers[0])
		}
	}
}

// errSilent is why this node's fold is not waited for by itself any longer.
var errSilent = errors.New("the fold here is silent")

// serves reports whether this node answers for a partition, with all that its answers have had in
// them. A fold that has just begun to answer again is given a moment to come as far.
func (r *Router) serves(partition int) bool {
	seen := r.seen[partition].Load()
	if r.Serves(partition, seen) {
		return true
	}
	if !r.Serves(partition, 0) {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), silence)
	defer cancel()
	return r.Projector.WaitFor(ctx, partition, seen) == nil
}

// in asks a question of one partition.
func in[R any](r *Router, partition int, q *question[R], a *args) (result R, err error) {
	return inFrom(r, partition, q, a, 0)
}

// inFrom asks a question of one partition, for an answer that has an entry in it.
func inFrom[R any](r *Router, partition int, q *question[R], a *args, sequence uint64) (result R, err error) {
	if r.serves(partition) && r.Serves(partition, sequence) {
		err = r.Ask(partition, func(part *projections.Partition) (err error) {
			result, err = q.ask(part, a)
			return err
		})
		if !errors.Is(err, projector.ErrFoldingAgain) {
			return result, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), askMax)
	defer cancel()
	answers, err := r.ask(ctx, q.name, a, []eventlog.Position{{Partition: partition, Sequence: sequence}})
	if err != nil {
		return result, err
	}
	return decode[R](&answers[0])
}

// inAll asks a question of all partitions, the others only for those that this node does not answer
// for, and yields the answers, in the order of the partitions.
func inAll[R any](r *Router, q *question[R], a *args) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		type answer struct {
			result R
			err    error
		}
		all := make([]answer, len(r.seen))
		var missing []eventlog.Position
		for k := range all {
			x := &all[k]
			x.err = projector.ErrFoldingAgain
			if r.serves(k) {
				x.err = r.Ask(k, func(part *projections.Partition) (err error) {
					x.result, err = q.ask(part, a)
					return err
				})
			}
			if errors.Is(x.err, projector.ErrFoldingAgain) {
				missing = append(missing, eventlog.Position{Partition: k})
			}
		}
		if len(missing) > 0 {
			ctx, cancel := context.WithTimeout(context.Background(), askMax)
			defer cancel()
			answers, err := r.ask(ctx, q.name, a, missing)
			if err != nil {
				var none R
				yield(none, err)
				return
			}
			for i := range answers {
				x := &all[answers[i].Partition]
				x.result, x.err = decode[R](&answers[i])
			}
		}
		for k := range all {
			if !yield(all[k].result, all[k].err) {
				return
			}
		}
	}
}

// ask asks other nodes about partitions, for answers that are at least as new as what this node has
// said. If nobody answers, the error says why; see [projector.ErrNoCopy].
func (r *Router) ask(ctx context.Context, name string, a *args, of []eventlog.Position) ([]cluster.Answer, error) {
	text, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("router: %s: %w", name, err)
	}
	return r.askFor(ctx, name, text, of)
}

// askFor is ask with arguments that are encoded.
func (r *Router) askFor(ctx context.Context, name string, text []byte, of []eventlog.Position) ([]cluster.Answer, error) {
	said := r.Folded()
	for i := range of {
		of[i].Sequence = max(of[i].Sequence, said[of[i].Partition])
	}
	return r.askOf(ctx, name, text, of)
}

// askOf asks of the very entries that are named: what was decided about one of them, say, is not
// what was decided about a later one.
func (r *Router) askOf(ctx context.Context, name string, text []byte, of []eventlog.Position) ([]cluster.Answer, error) {
	r.total.WithLabelValues(kindAsked).Inc()
	answers, err := r.asker.Ask(ctx, cluster.Question{Name: name, Args: text, Of: of})
	if err != nil {
		r.total.WithLabelValues(kindFailed).Inc()
		return nil, r.unanswered(err)
	}
	for i := range answers {
		seen := &r.seen[answers[i].Partition]
		for at := seen.Load(); at < answers[i].Sequence && !seen.CompareAndSwap(at, answers[i].Sequence); at = seen.Load() {
		}
	}
	return answers, nil
}

func decode[R any](x *cluster.Answer) (result R, err error) {
	if x.Problem != nil {
		return result, cause(x.Problem)
	}
	if err := json.Unmarshal(x.Result, &result); err != nil {
		return result, fmt.Errorf("router: the answer of another node: %w", err)
	}
	return result, nil
}

// Answer answers a question of another node about a partition, from this node's own copy.
func (r *Router) Answer(ctx context.Context, q *cluster.Question, of eventlog.Position) cluster.Answer {
	r.total.WithLabelValues(kindAnswered).Inc()
	x := cluster.Answer{Position: eventlog.Position{Partition: of.Partition}}
	result, err := r.answer(ctx, q, of)
	if err == nil {
		x.Result, err = json.Marshal(result)
	}
	if err != nil {
		x.Problem = problem(err)
	}
	if of.Partition >= 0 && of.Partition < len(r.seen) {
		x.Sequence = r.Projector.Folded()[of.Partition] // after the answer: all of it is in there
	}
	return x
}

func (r *Router) answer(ctx context.Context, q *cluster.Question, of eventlog.Position) (result any, err error) {
	if of.Partition < 0 || of.Partition >= len(r.seen) {
		return nil, fmt.Errorf("no partition %d", of.Partition)
	}
	if err := r.Unanswered(of.Partition); err != nil {
		return nil, err
	}
	if err := r.Projector.WaitFor(ctx, of.Partition, of.Sequence); err != nil {
		return nil, err
	}
	if call := r.calls[q.Name]; call != nil {
		return call(ctx, of.Partition, q.Args)
	}
	a, err := readArgs(q.Args)
	if err != nil {
		return nil, err
	}
	switch f := questions[q.Name]; {
	case q.Name == position:
		return struct{}{}, nil
	case q.Name == outcomes:
		return r.Projector.Outcomes(ctx, of.Partition, of.Sequence)
	case f == nil:
		return nil, fmt.Errorf("this version does not know the question %q", q.Name)
	default:
		err = r.Ask(of.Partition, func(part *projections.Partition) (err error) {
			result, err = f(part, a)
			return err
		})
		return result, err
	}
}
