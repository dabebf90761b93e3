package gateway

import (
	"context"
	"fmt"

	"github.com/receiptd/receiptd/events"
)

// Outcomer knows what the folds decided.
type Outcomer interface {
	// Outcomes waits until the entry is folded and returns the outcome of each of its events.
	Outcomes(ctx context.Context, partition int, sequence uint64) ([]events.Outcome, error)
}

// Decided waits until the events of a ticket are durable and folded, and returns what was decided about each, in their order.
func Decided(ctx context.Context, t Ticket, state Outcomer) ([]events.Outcome, error) {
	if err := t.Wait(ctx); err != nil {
		return nil, err
	}
	var decided []events.Outcome
	entries := make(map[Position][]events.Outcome, 1)
	for at := range t.Locations() {
		entry := Position{Partition: at.Partition, Sequence: at.Sequence}
		outcomes, known := entries[entry]
		if !known {
			var err error
			if outcomes, err = state.Outcomes(ctx, at.Partition, at.Sequence); err != nil {
				return nil, err
			}
			entries[entry] = outcomes
		}
		if at.Index >= len(outcomes) {
			return nil, fmt.Errorf("entry %d of partition %d has %d outcomes, event %d is asked for", at.Sequence, at.Partition, len(outcomes), at.Index)
		}
		decided = append(decided, outcomes[at.Index])
	}
	return decided, nil
}
