package gateway

import (
	"context"
	"errors"
	"fmt"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
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
	d := decisions{state: state}
	for at := range t.Locations() {
		outcome, err := d.of(ctx, at)
		if err != nil {
			return nil, err
		}
		decided = append(decided, outcome)
	}
	return decided, nil
}

// decisions finds the outcomes of events that are asked for one after the other. It asks for those of an entry once.
type decisions struct {
	state Outcomer

	entry    Position
	outcomes []events.Outcome // of the entry; nil before the first event
	// known has all entries so far, if there is more than one: events of several partitions come in turns.
	known map[Position][]events.Outcome
}

var errFewOutcomes = errors.New("an entry has fewer outcomes than events")

// of waits until the event's entry is folded.
func (d *decisions) of(ctx context.Context, at eventlog.Location) (events.Outcome, error) {
	entry := Position{Partition: at.Partition, Sequence: at.Sequence}
	if d.outcomes == nil || entry != d.entry {
		outcomes, err := d.find(ctx, entry)
		if err != nil {
			return 0, err
		}
		d.entry, d.outcomes = entry, outcomes
	}
	if at.Index >= len(d.outcomes) {
		return 0, fmt.Errorf("%w: entry %d of partition %d has %d outcomes, event %d is asked for",
			errFewOutcomes, at.Sequence, at.Partition, len(d.outcomes), at.Index)
	}
	return d.outcomes[at.Index], nil
}

func (d *decisions) find(ctx context.Context, entry Position) ([]events.Outcome, error) {
	if outcomes, known := d.known[entry]; known {
		return outcomes, nil
	}
	outcomes, err := d.state.Outcomes(ctx, entry.Partition, entry.Sequence)
	if err != nil || d.outcomes == nil {
		return outcomes, err
	}
	if d.known == nil {
		d.known = map[Position][]events.Outcome{d.entry: d.outcomes}
	}
	d.known[entry] = outcomes
	return outcomes, nil
}
