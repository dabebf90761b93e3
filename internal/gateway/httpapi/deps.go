package httpapi

import (
	"context"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// State answers questions from the projections, as far as the log is folded. All methods are safe
// for concurrent use, and what they return belongs to the caller. Methods with an error return
// [projections.ErrNotFound] for a message that the app does not have.
type State interface {
	notify.State
	gateway.Settings
	gateway.Outcomer

	// Apps are the keys of the apps that have settings, in order.
	Apps() []string
	gateway.Messages
	Readers(c events.Conversation, id string, offset, limit int) (projections.ReaderPage, error)
	NonReaders(c events.Conversation, id string, after, limit int) (projections.NonReaderPage, error)
	// These leave out those who have left the group.
	Remaining(c events.Conversation, id string) (projections.Message, error)
	RemainingReaders(c events.Conversation, id string, offset, limit int) (projections.ReaderPage, error)
	RemainingNonReaders(c events.Conversation, id string, after, limit int) (projections.NonReaderPage, error)
	// Counts leaves out the ids that the app does not have. The error is a
	// [*projections.AmbiguousError] for an id of several conversations.
	Counts(app string, ids []string) (map[string]projections.Counts, error)
	gateway.Members
	// Members of a group, in the order in which they joined; [projections.ErrNotFound] for a group
	// that is unknown or dissolved.
	Members(app, group string, after, limit int) (projections.MemberPage, error)
	Conversations(app, user string) ([]projections.ConversationView, error)
	// Knows reports whether a user is, or ever was, in a conversation.
	Knows(app, user string) (bool, error)
	// A conversation of a user is a group or the chat with a peer, whichever is not empty. If they
	// are not in it, these return [projections.ErrNotFound].
	UnreadMessages(app, group, peer, user string, after uint64, limit int) (projections.UnreadPage, error)
	Reads(app, group, peer, user string, before uint64, limit int) (projections.ReadPage, error)
	// UserMessages are those to which a user stands in a relation.
	UserMessages(app, group, peer, user string, q projections.RelatedQuery) (projections.UserMessagePage, error)
	UserSettingsIn(app, group, peer, user string) (projections.UserSettings, error)
	// UserSettings is what a user has set for all of their conversations, as each partition has it.
	UserSettings(app, user string) ([]projections.UserSettings, error)
	gateway.Reciprocity
	// GroupMessages are the messages of a group, newest first; [projections.ErrNotFound] for a
	// group that is unknown or dissolved.
	GroupMessages(app, group string, before uint64, limit int) (projections.MessagePage, error)
	// Positions says how far the members of a group have read.
	Positions(app, group string, after, limit int) (projections.PositionPage, error)
	// Rejections are the latest, newest first.
	Rejections(app string, limit int) ([]projections.Rejection, error)
	// Alerts lists the app's alerts that are kept, oldest first, and the hour until whose beginning
	// all are decided.
	Alerts(app string) (list []projections.Alert, upto int64, err error)
	// Ready returns nil once the folds have caught up with the log, or what is still missing.
	Ready() error
}

// Commands change what belongs to no single conversation. They append to the log, and return after
// every partition concerned has folded it.
type Commands interface {
	gateway.Acknowledger

	// Configure puts settings in force and returns them. It is called for one change at a time.
	Configure(ctx context.Context, app string, s events.Settings) (events.Settings, error)
	// ConfigureUser changes what a user has set for all of their conversations and returns it;
	// ConfigureUserIn does so for one. An error may leave the change in force in some partitions
	// only: it is for the caller to make it again.
	ConfigureUser(ctx context.Context, app, user string, change gateway.UserSettingsChange) (projections.UserSettings, error)
	ConfigureUserIn(ctx context.Context, app, group, peer, user string, change gateway.UserSettingsChange) (projections.UserSettings, error)
}

// Notary makes what others can check of the log. An error is [merkle.ErrOutside] for what is not in
// a tree, [projections.ErrNotFound] for a message that is unknown or not read, and
// [eventlog.ErrTrimmed] for an entry that has left the log.
type Notary interface {
	// Key is the public key of what is signed.
	Key() string
	// Checkpoint is the signed head of a partition's tree at a size; 0 = the latest.
	Checkpoint(partition int, size uint64) (string, error)
	// Consistency proves that the head of a later size, 0 = the latest, rewrote nothing.
	Consistency(partition int, from, to uint64) (merkle.Consistency, error)
	// Inclusion proves that an entry is under the head of a size; 0 = the latest.
	Inclusion(partition int, sequence, size uint64) (merkle.Inclusion, error)
	// Evidence is a file that shows that a user has read a message.
	Evidence(ctx context.Context, c events.Conversation, message, user string, wholeEntry bool) ([]byte, error)
}

// Names keeps the names of users. [accounts.Accounts] is one.
type Names interface {
	// Reserve keeps a name from being registered by strangers.
	Reserve(ctx context.Context, app, user string) error
}

// Invitations are those that wait for the consent of users. [easemob.REST] keeps them. Errors are
// [gateway.ErrTooOften] and those of the log and the state.
type Invitations interface {
	// InvitationsOf lists a user's invitations, for whoever may act for them; AnswerInvitation
	// answers one. The errors of the latter are [gateway.ErrNotInvited] and [gateway.ErrGroupFull],
	// too.
	InvitationsOf(ctx context.Context, caller gateway.Caller, app, user, after string, limit int) (gateway.InvitationPage, error)
	AnswerInvitation(ctx context.Context, caller gateway.Caller, app, group, user string, agrees bool) error
	// InvitationsInto are those into a group, for its owner and admins; WithdrawInvitation takes
	// one back. Errors for others are those of [gateway.Caller.MayActIn], and
	// [projections.ErrNotFound] where there is no such group.
	InvitationsInto(ctx context.Context, caller gateway.Caller, app, group, after string, limit int) (gateway.InvitationPage, error)
	WithdrawInvitation(ctx context.Context, caller gateway.Caller, app, group, user string) error
}

// Analytics answers questions about many messages at once.
type Analytics = gateway.RateSource
