package gateway

import (
	"context"
	"errors"
	"fmt"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
)

// Decided waits until the events of a ticket are durable and folded, and returns what was decided
// about each, in their order.
func Decided(ctx context.Context, t *eventlog.Ticket, state Outcomer) ([]events.Outcome, error) {
	if err := t.Wait(ctx); err != nil {
		return nil, err
	}
	var decided []events.Outcome
	d := Decisions{State: state}
	for at := range t.Locations() {
		outcome, err := d.Of(ctx, at)
		if err != nil {
			return nil, err
		}
		decided = append(decided, outcome)
	}
	return decided, nil
}

// Decisions finds the outcomes of events, asked for one after the other in the order of a ticket.
// It asks the state for an entry's outcomes once.
type Decisions struct {
	// State knows the outcomes.
	State Outcomer

	entry    eventlog.Position
	outcomes []events.Outcome // of the entry; nil before the first event
	// known has all entries so far, if there is more than one: the events of several partitions
	// alternate.
	known map[eventlog.Position][]events.Outcome
}

// ErrFewOutcomes is wrapped by the error for an entry whose state knows fewer outcomes than the
// entry has events, which is a defect.
var ErrFewOutcomes = errors.New("an entry has fewer outcomes than events")

// Of waits until the event's entry is folded, and returns its outcome. Errors are those of the
// state, or wrap [ErrFewOutcomes].
func (d *Decisions) Of(ctx context.Context, at eventlog.Location) (events.Outcome, error) {
	entry := eventlog.Position{Partition: at.Partition, Sequence: at.Sequence}
	if d.outcomes == nil || entry != d.entry {
		outcomes, err := d.find(ctx, entry)
		if err != nil {
			return 0, err
		}
		d.entry, d.outcomes = entry, outcomes
	}
	if at.Index >= len(d.outcomes) {
		return 0, fmt.Errorf("%w: entry %d of partition %d has %d outcomes, event %d is asked for",
			ErrFewOutcomes, at.Sequence, at.Partition, len(d.outcomes), at.Index)
	}
	return d.outcomes[at.Index], nil
}

func (d *Decisions) find(ctx context.Context, entry eventlog.Position) ([]events.Outcome, error) {
	if outcomes, known := d.known[entry]; known {
		return outcomes, nil
	}
	outcomes, err := d.State.Outcomes(ctx, entry.Partition, entry.Sequence)
	if err != nil || d.outcomes == nil {
		return outcomes, err
	}
	if d.known == nil {
		d.known = map[eventlog.Position][]events.Outcome{d.entry: d.outcomes}
	}
	d.known[entry] = outcomes
	return outcomes, nil
}
