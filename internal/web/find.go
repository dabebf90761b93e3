package web

import (
	"errors"
	"fmt"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// findView is what has an id: messages, a group, a user.
type findView struct {
	// Query is what was asked for; empty asks for the form alone.
	Query string
	// Refused says why nothing was found.
	Refused string
	// Conversations have a message with the id. More says that there are others.
	Conversations []events.Conversation
	More          bool
	Group, User   bool
}

// find looks an id up. If one thing only has it, the answer leads there.
func (p *Page) find(rq *request) (any, error) {
	v := &findView{Query: rq.query.Get("q")}
	if v.Query == "" {
		return v, nil
	}
	if reason := events.IDProblem(v.Query); reason != "" {
		v.Refused = "This cannot be an id: " + reason + "."
		return v, nil
	}
	m, err := p.cfg.State.Message(rq.key, v.Query)
	several, ambiguous := errors.AsType[*projections.AmbiguousError](err)
	switch {
	case ambiguous:
		v.Conversations, v.More = clipped(several)
	case err == nil:
		v.Conversations = []events.Conversation{m.Conversation(rq.key)}
	case !errors.Is(err, projections.ErrNotFound):
		return nil, fmt.Errorf("message: %w", err)
	}
	_, err = p.cfg.State.Members(rq.key, v.Query, 0, 1)
	if v.Group = err == nil; err != nil && !errors.Is(err, projections.ErrNotFound) {
		return nil, fmt.Errorf("group: %w", err)
	}
	if v.User, err = p.cfg.State.Knows(rq.key, v.Query); err != nil {
		return nil, fmt.Errorf("user: %w", err)
	}
	switch {
	case len(v.Conversations) == 1 && !v.Group && !v.User:
		return nil, moved{"view", "message", "id", v.Query}
	case len(v.Conversations) == 0 && v.Group && !v.User:
		return nil, moved{"view", "group", "group", v.Query}
	case len(v.Conversations) == 0 && !v.Group && v.User:
		return nil, moved{"view", "user", "user", v.Query}
	case len(v.Conversations) == 0 && !v.Group:
		v.Refused = "No message, group or user of the app has this id."
	}
	return v, nil
}

// clipped are conversations that a view has room for, and whether there are more.
func clipped(e *projections.AmbiguousError) ([]events.Conversation, bool) {
	if len(e.Conversations) > listed {
		return e.Conversations[:listed], true
	}
	return e.Conversations, e.More
}

// moved is the answer that what was asked for is at another view: the parameters of its link.
type moved []string

func (moved) Error() string { return "web: at another view" }
