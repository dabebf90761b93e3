package router

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/projections"
)

// args are what a question is about; each uses some of them.
type args struct {
	In               events.Conversation
	App, Group, Peer string `json:",omitempty"`
	User, ID         string `json:",omitempty"`
	Device           string `json:",omitempty"`
	IDs              []string
	Offset, Limit    int                  `json:",omitempty"`
	Before, After    uint64               `json:",omitempty"`
	To               projections.Relation `json:",omitempty"`
}

// readArgs reads what another node asks about. What no node asks is refused: pages of less than
// nothing.
func readArgs(text []byte) (*args, error) {
	var a args
	if err := json.Unmarshal(text, &a); err != nil {
		return nil, fmt.Errorf("router: a question: %w", err)
	}
	if a.Offset < 0 || a.Limit < 0 {
		return nil, fmt.Errorf("router: a question for %d from %d on", a.Limit, a.Offset)
	}
	return &a, nil
}

// question is one that a partition's state answers. Its name and its answer go from node to node,
// as JSON.
type question[R any] struct {
	name string
	ask  func(*projections.Partition, *args) (R, error)
}

// questions has all of them by name.
var questions = map[string]func(*projections.Partition, *args) (any, error){}

func define[R any](name string, ask func(*projections.Partition, *args) (R, error)) question[R] {
	questions[name] = func(part *projections.Partition, a *args) (any, error) { return ask(part, a) }
	return question[R]{name, ask}
}

// position is the name of the question that is answered by the entry alone, and outcomes that of
// the one for what was decided at it.
const (
	position = "position"
	outcomes = "outcomes"
)

var (
	message = define("message", func(p *projections.Partition, a *args) (projections.Message, error) {
		return p.Message(a.App, a.ID)
	})
	holders = define("holders", func(p *projections.Partition, a *args) ([]events.Conversation, error) {
		return p.Holders(a.App, a.ID, a.User, a.Limit)
	})
	messageIn = define("message in", func(p *projections.Partition, a *args) (projections.Found, error) {
		return p.MessageIn(a.In, a.ID, a.User)
	})
	readers = define("readers", func(p *projections.Partition, a *args) (projections.ReaderPage, error) {
		return p.Readers(a.In, a.ID, a.Offset, a.Limit)
	})
	nonReaders = define("nonreaders", func(p *projections.Partition, a *args) (projections.NonReaderPage, error) {
		return p.NonReaders(a.In, a.ID, a.Offset, a.Limit)
	})
	remaining = define("remaining", func(p *projections.Partition, a *args) (projections.Message, error) {
		return p.Remaining(a.In, a.ID)
	})
	remainingReaders = define("remaining readers", func(p *projections.Partition, a *args) (projections.ReaderPage, error) {
		return p.RemainingReaders(a.In, a.ID, a.Offset, a.Limit)
	})
	remainingNonReaders = define("remaining nonreaders", func(p *projections.Partition, a *args) (projections.NonReaderPage, error) {
		return p.RemainingNonReaders(a.In, a.ID, a.Offset, a.Limit)
	})
	counts = define("counts", func(p *projections.Partition, a *args) (map[string]projections.Counts, error) {
		return p.Counts(a.App, a.IDs)
	})
	rejections = define("rejections", func(p *projections.Partition, a *args) ([]projections.Rejection, error) {
		return p.Rejections(a.App, a.Limit), nil
	})
	isMember = define("is member", func(p *projections.Partition, a *args) (bool, error) {
		return p.IsMember(a.App, a.Group, a.User)
	})
	wasMember = define("was member", func(p *projections.Partition, a *args) (bool, error) {
		return p.WasMember(a.App, a.Group, a.User)
	})
	members = define("members", func(p *projections.Partition, a *args) (projections.MemberPage, error) {
		return p.Members(a.App, a.Group, a.Offset, a.Limit)
	})
	group = define("group", func(p *projections.Partition, a *args) (projections.Group, error) {
		return p.Group(a.App, a.Group)
	})
	unreadMessages = define("unread messages", func(p *projections.Partition, a *args) (projections.UnreadPage, error) {
		return p.UnreadMessages(a.App, a.Group, a.Peer, a.User, a.Before, a.Limit)
	})
	groupMessages = define("group messages", func(p *projections.Partition, a *args) (projections.MessagePage, error) {
		return p.GroupMessages(a.App, a.Group, a.Before, a.Limit)
	})
	reads = define("reads", func(p *projections.Partition, a *args) (projections.ReadPage, error) {
		return p.Reads(a.App, a.Group, a.Peer, a.User, a.Before, a.Limit)
	})
	userMessages = define("user messages", func(p *projections.Partition, a *args) (projections.UserMessagePage, error) {
		return p.UserMessages(a.App, a.Group, a.Peer, a.User, projections.RelatedQuery{To: a.To, Before: a.Before, Limit: a.Limit})
	})
	positions = define("positions", func(p *projections.Partition, a *args) (projections.PositionPage, error) {
		return p.Positions(a.App, a.Group, a.Offset, a.Limit)
	})
	seesNobody = define("sees nobody", func(p *projections.Partition, a *args) (bool, error) {
		return p.SeesNobody(a.App, a.Group, a.Peer, a.User)
	})
	userSettingsIn = define("wishes in", func(p *projections.Partition, a *args) (projections.UserSettings, error) {
		return p.UserSettingsIn(a.App, a.Group, a.Peer, a.User)
	})
	userSettings = define("wishes", func(p *projections.Partition, a *args) (projections.UserSettings, error) {
		return p.UserSettings(a.App, a.User)
	})
	knows = define("knows", func(p *projections.Partition, a *args) (bool, error) {
		return p.Knows(a.App, a.User)
	})
	summary = define("summary", func(p *projections.Partition, a *args) (x partSummary, err error) {
		x.Summary, x.Upto, err = p.SummaryAfter(a.App, a.User, a.Device, a.After)
		return x, err
	})
	knowsDevice = define("knows device", func(p *projections.Partition, a *args) (bool, error) {
		return p.KnowsDevice(a.App, a.User, a.Device)
	})
	settings = define("settings", func(p *projections.Partition, a *args) (x configuredAs, err error) {
		x.Settings, x.Revision, x.OK = p.Settings(a.App)
		return x, nil
	})
	apps = define("apps", func(p *projections.Partition, _ *args) (map[string]uint64, error) {
		return p.Apps(), nil
	})
	partAlerts = define("alerts", func(p *projections.Partition, a *args) (projections.PartAlerts, error) {
		return p.Alerts(a.App), nil
	})
	conversations = define("conversations", func(p *projections.Partition, a *args) ([]projections.ConversationView, error) {
		return p.Conversations(a.App, a.User)
	})
)

// partSummary is a partition's part of an author's summary, and the last entry that is in it.
type partSummary struct {
	projections.Summary
	Upto uint64
}

// Codes of the errors that are answers. Any other one is a reason to ask another copy.
const (
	codeNotFound  = "not_found"
	codeNoNames   = "no_names"
	codeAmbiguous = "ambiguous"
	codeGone      = "outcome_gone"
	codeOutside   = "outside"
	codeTrimmed   = "trimmed"
	codeTooMany   = "too_many_cohorts"
)

// problem makes of an error what goes to the node that asked.
func problem(err error) *cluster.Problem {
	p := &cluster.Problem{Code: cluster.Unavailable, Text: err.Error()}
	several, ambiguous := errors.AsType[*projections.AmbiguousError](err)
	switch {
	case errors.Is(err, projector.ErrFoldingAgain): // may wrap others
	case errors.Is(err, context.DeadlineExceeded):
		p.Behind = true
	case ambiguous:
		p.Code = codeAmbiguous
		p.Details, _ = json.Marshal(several) // strings and a bool
	case errors.Is(err, projections.ErrNotFound):
		p.Code = codeNotFound
	case errors.Is(err, projections.ErrNoNames):
		p.Code = codeNoNames
	case errors.Is(err, projector.ErrOutcomeGone):
		p.Code = codeGone
	case errors.Is(err, merkle.ErrOutside):
		p.Code = codeOutside
	case errors.Is(err, eventlog.ErrTrimmed):
		p.Code = codeTrimmed
	case errors.Is(err, projections.ErrTooManyCohorts):
		p.Code = codeTooMany
	}
	return p
}

// remoteError is an error of another node, in its words.
type remoteError struct {
	text string
	is   error
}

// Error implements error.
func (e remoteError) Error() string { return e.text }

// Unwrap is which error it is.
func (e remoteError) Unwrap() error { return e.is }

// cause makes the error again.
func cause(p *cluster.Problem) error {
	switch p.Code {
	case codeNotFound:
		return projections.ErrNotFound
	case codeNoNames:
		return projections.ErrNoNames
	case codeGone:
		return projector.ErrOutcomeGone
	case codeOutside:
		return remoteError{p.Text, merkle.ErrOutside}
	case codeTooMany:
		return projections.ErrTooManyCohorts
	case codeTrimmed:
		return remoteError{p.Text, eventlog.ErrTrimmed}
	case codeAmbiguous:
		var several projections.AmbiguousError
		if err := json.Unmarshal(p.Details, &several); err != nil {
			return err
		}
		return &several
	}
	return errors.New(p.Text)
}
