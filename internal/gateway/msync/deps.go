package msync

import (
	"context"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/inbox"
	"github.com/receiptd/receiptd/projections"
)

// State answers what a session has to know of the folds. [projector.Projector] is one.
type State interface {
	notify.State
	gateway.Outcomer

	// Settings returns the settings in force; ok is false for an app that was never configured.
	Settings(app string) (s events.Settings, revision uint64, ok bool)
	// Group returns a group and its members, or [projections.ErrNotFound].
	Group(app, group string) (projections.Group, error)
}

// Log stores events.
type Log interface {
	// Submit queues all events, or none. It keeps nothing of evs or of the strings in it after it has returned.
	Submit(ctx context.Context, evs []events.Event) (gateway.Ticket, error)
}

// Commands are the changes that belong to no conversation.
type Commands interface {
	// Seen takes from the user's summary what it held at these sequences, one for each partition.
	Seen(ctx context.Context, app, user string, upto []uint64) error
}

// Inbox keeps messages for devices. [inbox.Inbox] is one.
type Inbox interface {
	// Append begins to store a message in the inboxes of users; the order knows when it is durable.
	Append(app string, users []string, message []byte) (*inbox.Order, error)
	Open(ctx context.Context, app, user, device string) (*inbox.Mailbox, error)
	Online(app, user string) bool
}

// IDs makes the ids of messages and receipts.
type IDs interface{ Next() uint64 }
