package gateway

import (
	"context"
	"iter"

	"github.com/receiptd/receiptd/consumers"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/web"
	"github.com/receiptd/receiptd/projections"
)

// State answers questions from the projections, as far as the log is folded. All methods are safe for
// concurrent use, and what they return belongs to the caller. Methods with an error return
// [projections.ErrNotFound] for a message that the app does not have.
type State interface {
	consumers.SummaryState

	// Apps are the keys of the apps that have settings, in order.
	Apps() []string
	// Settings returns the settings in force; ok is false for an app that was never configured.
	Settings(app string) (s events.Settings, revision uint64, ok bool)
	Message(app, id string) (projections.Message, error)
	Readers(app, id string, offset, limit int) (projections.ReaderPage, error)
	NonReaders(app, id string, after, limit int) (projections.NonReaderPage, error)
	// Counts leaves out the ids that the app does not have.
	Counts(app string, ids []string) (map[string]projections.Counts, error)
	IsMember(app, group, user string) (bool, error)
	Conversations(app, user string) ([]projections.ConversationView, error)
	// Rejections are the latest, newest first.
	Rejections(app string, limit int) ([]projections.Rejection, error)
	// Outcomes waits until the entry is folded and returns the outcome of each of its events.
	Outcomes(ctx context.Context, partition int, sequence uint64) ([]events.Outcome, error)
	// Ready returns nil once the folds have caught up with the log, or what is still missing.
	Ready() error
}

// Log stores events. Errors are those of package eventlog.
type Log interface {
	// Submit queues all events, or none. It keeps nothing of evs or of the strings in it after it has returned.
	Submit(ctx context.Context, evs []events.Event) (Ticket, error)
}

// Ticket stands for events that were submitted together.
type Ticket interface {
	// Wait returns nil once all of them are durable.
	Wait(ctx context.Context) error
	// Positions has, for each partition that got events, the last entry that holds any; valid after Wait has
	// returned nil, as is Locations.
	Positions() []Position
	// Locations yields where each event is, in the order of the submit.
	Locations() iter.Seq[eventlog.Location]
}

// Position is an entry of the log.
type Position = eventlog.Position

// Commands change what belongs to no single conversation. Both append to the log, and return after every
// partition concerned has folded it.
type Commands interface {
	// Configure puts settings in force and returns them. It is called for one change at a time.
	Configure(ctx context.Context, app string, s events.Settings) (events.Settings, error)
	// Seen takes from the user's summary what it held at these sequences, one for each partition.
	Seen(ctx context.Context, app, user string, upto []uint64) error
}

// Subscriber makes users online. [consumers.Notify] is one.
type Subscriber interface {
	Subscribe(app, user string) *consumers.Subscription
}

// Analytics answers questions about many messages at once. The projector is one; another store may be.
type Analytics interface {
	// ReadRates answers in the order and within the limit of the query. The error is
	// [projections.ErrTooManyCohorts] for one that is too large to answer.
	ReadRates(ctx context.Context, q projections.RateQuery) ([]projections.RateRow, error)
}

// Progress is how far one partition is.
type Progress = web.Partition
