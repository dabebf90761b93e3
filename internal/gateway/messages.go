package gateway

import (
	"errors"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// Messages is what finding a message takes. [projector.Projector] is one.
type Messages interface {
	// MessageIn returns the message of a conversation, and what a user is to it.
	MessageIn(c events.Conversation, id, user string) (projections.Found, error)
	// Message returns the only message with an id. The error is a [*projections.AmbiguousError] if
	// several conversations have one.
	Message(app, id string) (projections.Message, error)
	// Holders returns conversations with such a message that the user is or was in, at most limit.
	Holders(app, id, user string, limit int) ([]events.Conversation, error)
}

// Find returns the message of a conversation or, if that has only its App set, the only one with
// the id that the caller may see. The error is a [*projections.AmbiguousError] if there are several
// of these, and [projections.ErrNotFound] if there is none, be it that the caller may not see it:
// nobody learns from the answer whether a message exists that is not for them.
func (c Caller) Find(state Messages, in events.Conversation, id string, s *events.Settings) (projections.Message, error) {
	switch named := in.Group != "" || in.A != ""; {
	case named:
		return c.findIn(state, in, id, s)
	case c.Admin:
		return state.Message(in.App, id)
	}
	holders, err := state.Holders(in.App, id, c.User, projections.MaxHolders+1)
	if err != nil {
		return projections.Message{}, err
	}
	var found projections.Message
	var visible []events.Conversation
	for _, holder := range holders {
		m, err := c.findIn(state, holder, id, s)
		switch {
		case err == nil:
			found, visible = m, append(visible, holder)
		case !errors.Is(err, projections.ErrNotFound):
			return projections.Message{}, err
		}
	}
	switch len(visible) {
	case 0:
		return found, projections.ErrNotFound
	case 1:
		return found, nil
	}
	return projections.Message{}, projections.NewAmbiguousError(id, visible)
}

func (c Caller) findIn(state Messages, in events.Conversation, id string, s *events.Settings) (projections.Message, error) {
	m, err := state.MessageIn(in, id, c.User)
	if err == nil && c.MaySee(&m, s) != nil {
		err = projections.ErrNotFound
	}
	if err != nil {
		return projections.Message{}, err
	}
	return m.Message, nil
}
