package client

import (
	"cmp"
	"encoding/json"
	"fmt"
)

// Event is something that happened: a [MessageSent], [MessageDelivered], [MessageRead],
// [MessageRecalled], [ConversationRead], [ConversationMarkedUnread], [GroupCreated], [GroupJoined],
// [GroupLeft], [GroupRole] or [GroupDissolved]. The conversation is a Group or, in a single chat, a
// Peer. Type need not be set; EventID is made by the client if it is empty. A client with a
// Config.User sends reads and deliveries of that user only.
type Event interface {
	// ready returns the event with its type, with an id if it has none, and with a user if it is
	// one of a user and names none.
	ready(id, user string) any
}

func (e MessageSent) ready(id, _ string) any {
	e.Type, e.EventID = "message.sent", cmp.Or(e.EventID, id)
	return e
}

func (e MessageDelivered) ready(id, user string) any {
	e.Type, e.EventID, e.User = "message.delivered", cmp.Or(e.EventID, id), cmp.Or(e.User, user)
	return e
}

func (e MessageRead) ready(id, user string) any {
	e.Type, e.EventID, e.User = "message.read", cmp.Or(e.EventID, id), cmp.Or(e.User, user)
	return e
}

func (e ConversationRead) ready(id, user string) any {
	e.Type, e.EventID, e.User = "conversation.read", cmp.Or(e.EventID, id), cmp.Or(e.User, user)
	return e
}

func (e ConversationMarkedUnread) ready(id, user string) any {
	e.Type, e.EventID, e.User = "conversation.marked_unread", cmp.Or(e.EventID, id), cmp.Or(e.User, user)
	return e
}

func (e MessageRecalled) ready(id, user string) any {
	e.Type, e.EventID, e.User = "message.recalled", cmp.Or(e.EventID, id), cmp.Or(e.User, user)
	return e
}

func (e GroupCreated) ready(id, _ string) any {
	e.Type, e.EventID = "group.created", cmp.Or(e.EventID, id)
	if e.Members == nil {
		e.Members = []ID{}
	}
	return e
}

func (e GroupJoined) ready(id, user string) any {
	e.Type, e.EventID, e.User = "group.joined", cmp.Or(e.EventID, id), cmp.Or(e.User, user)
	return e
}

func (e GroupLeft) ready(id, user string) any {
	e.Type, e.EventID, e.User = "group.left", cmp.Or(e.EventID, id), cmp.Or(e.User, user)
	return e
}

func (e GroupRole) ready(id, user string) any {
	e.Type, e.EventID, e.User = "group.role", cmp.Or(e.EventID, id), cmp.Or(e.User, user)
	return e
}

func (e GroupDissolved) ready(id, _ string) any {
	e.Type, e.EventID = "group.dissolved", cmp.Or(e.EventID, id)
	return e
}

// maxLine is the largest event that a server takes.
const maxLine = 1 << 20

// encode returns an event as a line, and how many events the server makes of it.
func (c *Client) encode(e Event) (line []byte, width int, err error) {
	line, err = json.Marshal(e.ready(c.newID(), c.user))
	if err != nil {
		return nil, 0, fmt.Errorf("client: %w", err)
	}
	if len(line) >= maxLine {
		return nil, 0, &Error{Status: 413, Code: CodeTooLarge, Message: fmt.Sprintf("an event of more than %d bytes", maxLine), Index: 0}
	}
	width = 1
	if read, ok := e.(MessageRead); ok {
		width = max(1, len(read.Messages))
	}
	return append(line, '\n'), width, nil
}
