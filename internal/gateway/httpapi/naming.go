package httpapi

import (
	"errors"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/receiptd/receiptd/events"
)

// How requests and answers name the conversation of a message.

// conversationBody names a conversation in an answer.
type conversationBody struct {
	Group string   `json:"group,omitempty"`
	Users []string `json:"users,omitempty"`
}

func newConversationBody(c events.Conversation) conversationBody {
	if c.Group != "" {
		return conversationBody{Group: c.Group}
	}
	return conversationBody{Users: []string{c.A, c.B}}
}

// userPair are the two users of a single chat: a list of two or, if there is no comma in the ids,
// both with a comma between them.
type userPair []string

// UnmarshalJSONFrom takes a list or a string.
func (u *userPair) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '"' {
		var list []string
		err := json.UnmarshalDecode(dec, &list)
		*u = list
		if err == nil && list == nil {
			err = errors.New("null")
		}
		return err
	}
	var both string
	err := json.UnmarshalDecode(dec, &both)
	*u = strings.Split(both, ",")
	return err
}

// conversation is the conversation that the query names by group, users or peer; it has only its
// App set if there is none of these.
func (c *call) conversation() (events.Conversation, error) {
	if c.r.URL.RawQuery == "" {
		return events.Conversation{App: c.app}, nil
	}
	query := c.r.URL.Query()
	group, err := once(query, "group")
	if err != nil {
		return events.Conversation{}, err
	}
	peer, err := once(query, "peer")
	if err != nil {
		return events.Conversation{}, err
	}
	users := userPair(query["users"])
	if len(users) == 1 {
		users = strings.Split(users[0], ",")
	}
	return c.named(group, users, peer)
}

// once returns the value of a parameter that is given once, or nil.
func once(query url.Values, name string) (*string, error) {
	switch values := query[name]; len(values) {
	case 0:
		return nil, nil
	case 1:
		return &values[0], nil
	}
	return nil, invalid(name, "repeated")
}

// named is the conversation of a group, of two users, or of the caller and a peer.
func (c *call) named(group *string, users userPair, peer *string) (in events.Conversation, err error) {
	in.App = c.app
	given := 0
	for _, is := range []bool{group != nil, users != nil, peer != nil} {
		if is {
			given++
		}
	}
	switch {
	case given > 1:
		return in, invalid("group", "one of group, users and peer names a conversation")
	case group != nil:
		in.Group = *group
		return in, idError("group", in.Group)
	case users != nil:
		if len(users) != 2 {
			return in, invalid("users", "not two users, with a comma between them or, if there is one in an id, given one by one")
		}
		for _, user := range users {
			if err := idError("users", user); err != nil {
				return in, err
			}
		}
		if users[0] == users[1] {
			return in, invalid("users", "twice the same user")
		}
		return events.SingleChat(c.app, users[0], users[1]), nil
	case peer != nil:
		switch {
		case c.Admin:
			return in, invalid("peer", "only with the token of a user; name both users instead")
		case *peer == c.User:
			return in, invalid("peer", "the user themselves")
		}
		return events.SingleChat(c.app, c.User, *peer), idError("peer", *peer)
	}
	return in, nil
}

// device is the user's device that the request names; empty if it names none.
func (c *call) device() (string, error) {
	query := c.r.URL.Query()
	if !query.Has("device") {
		return "", nil
	}
	device := query.Get("device")
	return device, idError("device", device)
}

// idError is nil for a valid id.
func idError(field, id string) error {
	if problem := events.IDProblem(id); problem != "" {
		return invalid(field, problem)
	}
	return nil
}
