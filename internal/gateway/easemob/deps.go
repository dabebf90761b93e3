package easemob

import (
	"context"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/accounts"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// State answers questions from the folds. [projector.Projector] is one.
type State interface {
	gateway.Settings
	gateway.Outcomer

	Group(app, group string) (projections.Group, error)
	gateway.Memberships
	// Members is asked only whether there is such a group.
	Members(app, group string, after, limit int) (projections.MemberPage, error)
	MessageIn(c events.Conversation, id, user string) (projections.Found, error)
	Readers(c events.Conversation, id string, offset, limit int) (projections.ReaderPage, error)
	Conversations(app, user string) ([]projections.ConversationView, error)
	gateway.Reciprocity
	// Knows reports whether a user is, or ever was, in a conversation.
	Knows(app, user string) (bool, error)
}

// Accounts keeps users, and what there is to know of groups besides their members.
// [accounts.Accounts] is one.
type Accounts interface {
	Register(ctx context.Context, app, user, password, nickname string) error
	RegisterReserved(ctx context.Context, app, user, password, nickname string) error
	Has(ctx context.Context, app, user string) (bool, error)
	Check(ctx context.Context, app, user, password string) error
	Group(ctx context.Context, app, group string) (accounts.GroupProfile, error)
	ClaimGroup(ctx context.Context, app, user, group string, p accounts.GroupProfile) error
	DropGroup(ctx context.Context, app, owner, group string) error
	Ban(ctx context.Context, app, group, user string) error
	Banned(ctx context.Context, app, group, user string) (bool, error)
	Invite(ctx context.Context, app string, x accounts.Invitation, valid time.Duration) error
	Invitation(ctx context.Context, app, group, user string, valid time.Duration) (accounts.Invitation, error)
	InvitationsOf(ctx context.Context, app, user, after string, limit int, valid time.Duration) ([]accounts.Invitation, string, error)
	InvitationsInto(ctx context.Context, app, group, after string, limit int, valid time.Duration) ([]accounts.Invitation, string, error)
	DropInvitation(ctx context.Context, app, group, user string) error
	Unban(ctx context.Context, app, group, user string) error
}

// Sessions are the open connections of users.
type Sessions interface {
	// Renew has a user's sessions go on until a later time than their tokens said.
	Renew(ctx context.Context, app, user string, expires time.Time)
}
