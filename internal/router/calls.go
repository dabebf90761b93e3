package router

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/receiptd/receiptd/events/eventlog"
)

// Call is what a node does for another one with a partition that it has, beside answering from the
// state.
type Call func(ctx context.Context, partition int, args json.RawMessage) (any, error)

// Handle has this node do something for others, by a name that no question has. It is called before
// [Router.Answer] is. An error that says something of what was asked goes over, and any other one
// has another node asked.
func (r *Router) Handle(name string, f Call) { r.calls[name] = f }

// CallOther has another node do what Handle names, with a copy of a partition that has an entry in
// it, and decodes what it answers. If no node can, the error says why; see [projector.ErrNoCopy].
func (r *Router) CallOther(ctx context.Context, name string, partition int, upto uint64, with, result any) error {
	text, err := json.Marshal(with)
	if err != nil {
		return fmt.Errorf("router: %s: %w", name, err)
	}
	answers, err := r.askFor(ctx, name, text, []eventlog.Position{{Partition: partition, Sequence: upto}})
	if err != nil {
		return err
	}
	if p := answers[0].Problem; p != nil {
		return cause(p)
	}
	if err := json.Unmarshal(answers[0].Result, result); err != nil {
		return fmt.Errorf("router: the answer of another node: %w", err)
	}
	return nil
}
