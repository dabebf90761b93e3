package gateway

import (
	"context"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
)

// EventLog is the [Log] of a running server.
type EventLog struct{ *eventlog.Log }

// Submit is [eventlog.Log.Submit].
func (l EventLog) Submit(ctx context.Context, evs []events.Event) (Ticket, error) {
	t, err := l.Log.Submit(ctx, evs)
	if err != nil {
		return nil, err
	}
	return t, nil
}
