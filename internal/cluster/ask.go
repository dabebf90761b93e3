package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
)

const (
	// hedgeAfter is how long an answer is waited for before another copy is asked as well.
	hedgeAfter = 50 * time.Millisecond
	// againAfter is how long it is before all copies are asked once more, since a message may have
	// been lost, and half of how long before the time after that, and so on.
	againAfter = 500 * time.Millisecond
)

// NoCopyError: no node that is heard of could answer for a partition.
type NoCopyError struct {
	Partition int
	// Why the last one that was asked did not answer, or that none is heard of. It is a
	// [context.DeadlineExceeded] if one of them has the partition, and was behind.
	Why error
}

// Error implements error.
func (e *NoCopyError) Error() string {
	return fmt.Sprintf("cluster: no copy of partition %d answers: %v", e.Partition, e.Why)
}

// Unwrap returns why.
func (e *NoCopyError) Unwrap() error { return e.Why }

// behindError is why a copy did not answer that had not come in time to the entry that was asked
// for.
type behindError string

// Error implements error.
func (e behindError) Error() string { return string(e) }

// Is reports whether it is that there was not time enough.
func (e behindError) Is(target error) bool { return target == context.DeadlineExceeded }

// Question is what copies of partitions are asked.
type Question struct {
	Name string          `json:"name"`
	Args json.RawMessage `json:"args"`
	// Of are the partitions that are asked, and the entry that each must have folded to answer.
	Of []eventlog.Position `json:"of"`
	// Wait is how long the answer may take, in milliseconds: whoever asks is gone then.
	Wait int64 `json:"wait_ms"`
}

// Answer is what a copy of one partition answers to a [Question].
type Answer struct {
	// Position is the last entry that the answer has in it.
	eventlog.Position
	// Result is what was asked for, unless there is a Problem.
	Result  json.RawMessage `json:"result,omitempty"`
	Problem *Problem        `json:"problem,omitempty"`
}

// Problem is an error that goes from node to node.
type Problem struct {
	// Code tells those apart that the one who asked must know; [Unavailable] is for cluster itself.
	Code string `json:"code"`
	Text string `json:"text,omitempty"`
	// Behind is set with [Unavailable] if there is a copy, which did not come to the entry in time.
	Behind bool `json:"behind,omitempty"`
	// Details are for the code.
	Details json.RawMessage `json:"details,omitempty"`
}

// Unavailable is the code of a copy that cannot answer now, while another one may.
const Unavailable = "elsewhere"

// Asker asks the copies that other nodes have.
type Asker struct {
	// Bus reaches them.
	Bus Bus
	// Copies are the nodes that have a copy of a partition, this one not among them: those to be
	// asked first, and those to be asked if none of these answers.
	Copies func(partition int) (preferred, others []string)
}

// Ask asks as few nodes as have all the partitions of the question, and returns an answer for each,
// in the order of the question: all of them or an error, which is a [*NoCopyError] or the
// context's. What one cannot answer the next is asked at once, and what is not answered after
// 50 ms, too. Where no answer comes, all are asked again before long, so what is asked must not
// change anything.
func (a *Asker) Ask(ctx context.Context, q Question) ([]Answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := inquiry{a: a, q: &q, got: make([]*Answer, len(q.Of)), asked: make([]map[string]bool, len(q.Of)), replies: make(chan reply), why: make([]error, len(q.Of))}
	r.forget()
	r.send(ctx, r.missing())
	hedge, again := time.NewTimer(hedgeAfter), time.NewTimer(againAfter)
	defer hedge.Stop()
	defer again.Stop()
	pause := againAfter
	for {
		missing := r.missing()
		if len(missing) == 0 {
			break
		}
		if r.underWay == 0 {
			return nil, &NoCopyError{q.Of[missing[0]].Partition, cmp.Or(r.why[missing[0]], errNobodyHeard)}
		}
		select {
		case x := <-r.replies:
			r.underWay--
			r.send(ctx, r.take(x))
		case <-hedge.C:
			r.send(ctx, missing)
			hedge.Reset(hedgeAfter)
		case <-again.C:
			r.forget()
			r.send(ctx, missing)
			pause *= 2
			again.Reset(pause)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	all := make([]Answer, len(r.got))
	for i, x := range r.got {
		all[i] = *x
	}
	return all, nil
}

var (
	errNobodyHeard = errors.New("none is heard of that has one")
	errNoAnswer    = errors.New("the answer is to something else")
)

// inquiry is a question under way. Its slices have an element for each partition of the question,
// in its order.
type inquiry struct {
	a        *Asker
	q        *Question
	got      []*Answer         // nil for what is missing
	asked    []map[string]bool // the nodes that were asked
	underWay int
	replies  chan reply
	why      []error // the last reason why one did not answer; nil if none was asked
}

// reply is what one node answered, or why it did not.
type reply struct {
	of      []int
	answers []Answer
	err     error
}

func (r *inquiry) missing() (list []int) {
	for i, x := range r.got {
		if x == nil {
			list = append(list, i)
		}
	}
	return list
}

// forget has all nodes asked again.
func (r *inquiry) forget() {
	for i := range r.asked {
		r.asked[i] = map[string]bool{}
	}
}

// send asks nodes that were not asked yet for some partitions.
func (r *inquiry) send(ctx context.Context, list []int) {
	for node, some := r.next(list); node != ""; node, some = r.next(list) {
		part := *r.q
		part.Of = make([]eventlog.Position, len(some))
		for j, i := range some {
			part.Of[j] = r.q.Of[i]
			r.asked[i][node] = true
		}
		if end, ok := ctx.Deadline(); ok {
			part.Wait = time.Until(end).Milliseconds()
		}
		list = slices.DeleteFunc(slices.Clone(list), func(i int) bool { return slices.Contains(some, i) })
		text, err := json.Marshal(part)
		r.underWay++
		go func() {
			x := reply{of: some, err: err}
			if err == nil {
				x.answers, x.err = r.ask(ctx, node, text)
			}
			select {
			case r.replies <- x:
			case <-ctx.Done():
			}
		}()
	}
}

func (r *inquiry) ask(ctx context.Context, node string, question []byte) (list []Answer, err error) {
	text, err := r.a.Bus.Ask(ctx, node, question)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("cluster: the answer of %s: %w", node, err)
	}
	return list, nil
}

// next is the node that was not asked yet and has most of some partitions, and which these are. Of
// several it is the one that the first of the partitions prefers. The name is empty when there is
// none.
func (r *inquiry) next(list []int) (node string, of []int) {
	has := map[string][]int{}
	var order []string
	for _, others := range []bool{false, true} {
		for _, i := range list {
			names, more := r.a.Copies(r.q.Of[i].Partition)
			if others {
				names = more
			}
			for _, name := range names {
				if r.asked[i][name] {
					continue
				}
				if has[name] == nil {
					order = append(order, name)
				}
				has[name] = append(has[name], i)
			}
		}
		if len(order) > 0 {
			break // those that are not preferred are for what has no other
		}
	}
	for _, name := range order {
		if len(has[name]) > len(of) {
			node, of = name, has[name]
		}
	}
	return node, of
}

// take keeps the answers of a reply and returns the partitions that it leaves without one.
func (r *inquiry) take(x reply) (failed []int) {
	for j, i := range x.of {
		if r.got[i] != nil {
			continue
		}
		err := x.err
		if err == nil {
			err = errNoAnswer
			if j < len(x.answers) {
				err = x.answers[j].lacks(r.q.Of[i])
			}
		}
		if err == nil {
			r.got[i] = &x.answers[j]
			continue
		}
		if !errors.Is(r.why[i], context.DeadlineExceeded) { // else a copy is known of
			r.why[i] = err
		}
		failed = append(failed, i)
	}
	return failed
}

// lacks is why it is no answer to what was asked; nil if it is one.
func (x *Answer) lacks(asked eventlog.Position) error {
	p := x.Problem
	switch elsewhere := p != nil && p.Code == Unavailable; {
	case x.Partition != asked.Partition:
		return errNoAnswer
	case elsewhere && p.Behind:
		return behindError(p.Text)
	case elsewhere:
		return errors.New(p.Text)
	case x.Sequence < asked.Sequence:
		return behindError(fmt.Sprintf("the answer has entry %d in it, asked for was %d", x.Sequence, asked.Sequence))
	}
	return nil
}

// Serve answers the questions of other nodes until the context ends: f is asked for one partition
// after the other, with a context that ends when whoever asks is gone.
func (n *Node) Serve(ctx context.Context, f func(ctx context.Context, q *Question, of eventlog.Position) Answer) error {
	stop, err := answer(n.o.Bus, n.o.Name, f)
	if err != nil {
		return err
	}
	<-ctx.Done()
	stop()
	return nil
}

// maxWait bounds how long a question of another node is answered.
const maxWait = time.Minute

func answer(bus Bus, node string, f func(ctx context.Context, q *Question, of eventlog.Position) Answer) (stop func(), err error) {
	all, cancelAll := context.WithCancel(context.Background())
	unsubscribe, err := bus.Answer(node, func(text []byte) []byte {
		var q Question
		list := []Answer{}
		if json.Unmarshal(text, &q) == nil {
			wait := maxWait
			if q.Wait > 0 {
				wait = time.Duration(min(q.Wait, wait.Milliseconds())) * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(all, wait)
			defer cancel()
			for _, of := range q.Of {
				list = append(list, f(ctx, &q, of))
			}
		}
		text, err := json.Marshal(list)
		if err != nil {
			text = []byte("[]") // no answers: another copy is asked
		}
		return text
	})
	if err != nil {
		cancelAll()
		return nil, err
	}
	return func() {
		cancelAll()
		unsubscribe()
	}, nil
}
