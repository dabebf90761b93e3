package gateway

import (
	"context"
	"errors"
	"fmt"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
)

// AwaitOutcomes waits until the events of a ticket are durable and folded, and returns what was
// decided about each, in their order.
func AwaitOutcomes(ctx context.Context, t *eventlog.Ticket, state Outcomer) ([]events.Outcome, error) {
	if err := t.Wait(ctx); err != nil {
		return nil, err
	}
	var outcomes []events.Outcome
	reader := OutcomeReader{State: state}
	for at := range t.Locations() {
		outcome, err := reader.Await(ctx, at)
		if err != nil {
			return nil, err
		}
		outcomes = append(outcomes, outcome)
	}
	return outcomes, nil
}

// Members knows who is in a group, and who was. [projector.Projector] does.
type Members interface {
	Memberships
	// WasMember reports whether the user is, or ever was, in the group.
	WasMember(app, group, user string) (bool, error)
}

// VisibleOutcome is what a user is told of the outcome of an event of theirs in a group; without a
// group it is the outcome. Whoever is not in the group learns neither what is in it nor whether
// there is one: all that had no effect is answered in one way, but for the repeat of what they did
// when they were in it.
func VisibleOutcome(state Members, app, group, user string, o events.Outcome) (events.Outcome, error) {
	first := o.First()
	if group == "" || first == events.OutcomeApplied || first == events.OutcomeHidden {
		return o, nil
	}
	known, err := state.IsMember(app, group, user)
	if err == nil && !known && first == events.OutcomeDuplicate {
		known, err = state.WasMember(app, group, user)
	}
	if err == nil && !known {
		o = events.RejectedNotMember
	}
	return o, err
}

// OutcomeReader waits for the outcomes of events, asked for one after the other in the order of
// a ticket. It asks the state for an entry's outcomes once.
type OutcomeReader struct {
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

// Await waits until the event's entry is folded, and returns its outcome. Errors come from the
// state, or wrap [ErrFewOutcomes].
func (r *OutcomeReader) Await(ctx context.Context, at eventlog.Location) (events.Outcome, error) {
	entry := eventlog.Position{Partition: at.Partition, Sequence: at.Sequence}
	if r.outcomes == nil || entry != r.entry {
		outcomes, err := r.find(ctx, entry)
		if err != nil {
			return 0, err
		}
		r.entry, r.outcomes = entry, outcomes
	}
	if at.Index >= len(r.outcomes) {
		return 0, fmt.Errorf("%w: entry %d of partition %d has %d outcomes, event %d is asked for",
			ErrFewOutcomes, at.Sequence, at.Partition, len(r.outcomes), at.Index)
	}
	return r.outcomes[at.Index], nil
}

func (r *OutcomeReader) find(ctx context.Context, entry eventlog.Position) ([]events.Outcome, error) {
	if outcomes, known := r.known[entry]; known {
		return outcomes, nil
	}
	outcomes, err := r.State.Outcomes(ctx, entry.Partition, entry.Sequence)
	if err != nil || r.outcomes == nil {
		return outcomes, err
	}
	if r.known == nil {
		r.known = map[eventlog.Position][]events.Outcome{r.entry: r.outcomes}
	}
	r.known[entry] = outcomes
	return outcomes, nil
}
