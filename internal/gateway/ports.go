package gateway

import (
	"context"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
)

// Log stores events. [eventlog.Log] is one.
type Log interface {
	// Submit queues all events for the log, or with an error none of them; the ticket knows when
	// they are durable. It keeps nothing of evs, or of the strings in it, after it has returned.
	// Errors are package eventlog's.
	Submit(ctx context.Context, evs []events.Event) (*eventlog.Ticket, error)
}

// Settings knows how apps are configured.
type Settings interface {
	// FindApp returns the settings in force. The error is [projector.ErrNoApp] for an app that was
	// never configured; any other one says that this cannot be told now, which is no answer that a
	// client may take for good.
	FindApp(app string) (s events.Settings, revision uint64, err error)
}

// Outcomer knows what the folds decided.
type Outcomer interface {
	// Outcomes waits until the entry is folded and returns the outcome of each of its events.
	Outcomes(ctx context.Context, partition int, sequence uint64) ([]events.Outcome, error)
}

// Acknowledger takes from summaries what their authors have seen.
type Acknowledger interface {
	// Seen takes from the user's summary what it held at these sequences, one for each partition,
	// and returns once every partition concerned has folded it. With a device it is taken from that
	// of the device, which is known from then on; sequences of 0 say only that there is such a
	// device.
	Seen(ctx context.Context, app, user, device string, upto []uint64) error
}

// Subscriber makes users online. [notify.Hub] is one.
type Subscriber interface {
	Subscribe(app, user string, own ...events.Kind) *notify.Subscription
}

// IDs makes the ids of messages, receipts and groups.
type IDs interface{ Next() uint64 }
