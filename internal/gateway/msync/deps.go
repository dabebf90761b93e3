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
	gateway.Settings
	gateway.Outcomer
	gateway.Members

	// Group returns a group and its members, or [projections.ErrNotFound].
	Group(app, group string) (projections.Group, error)
	// MessageIn returns a message of a conversation, or [projections.ErrNotFound].
	MessageIn(c events.Conversation, id, user string) (projections.Found, error)
}

// Inbox keeps messages for devices. [inbox.Inbox] is one.
type Inbox interface {
	// Append begins to store a message in the inboxes of its users; the ticket knows when it is
	// durable.
	Append(message inbox.Message) (*inbox.Ticket, error)
	// Open opens the mailbox of a user's device.
	Open(ctx context.Context, app, user, device string) (*inbox.Mailbox, error)
	// Online reports whether a device of the user is connected.
	Online(app, user string) bool
}
