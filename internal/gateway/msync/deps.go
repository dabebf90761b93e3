package msync

import (
	"context"
	"time"

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
}

// OtherNodes has the connections of users to other processes. [presence.OtherNodes] is one.
type OtherNodes interface {
	// Online returns those of an app's users who are connected to one of them.
	Online(ctx context.Context, app string, users []string) []string
	// Renew lets a user's connections there last until a later time.
	Renew(ctx context.Context, app, user string, expires time.Time)
}
