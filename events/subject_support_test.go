package events

import (
	"fmt"
	"strings"
)

// The other direction of what subject.go parses and builds: nothing but tests needs it, since the
// server makes the subjects of single events.

// singleSubject is the subject in the log of one event that is not in a batch. app is a valid app
// key. Internal kinds have no such subject; the error wraps [ErrBadSubject].
func singleSubject(partition int, kind Kind, app string) (string, error) {
	if !kind.namesConversation() {
		return "", fmt.Errorf("%w: %s events have no subject of their own", ErrBadSubject, kind)
	}
	b := append([]byte(partitionPrefix(partition)), kindTokens[kind]...)
	b, err := appendAppTokens(append(b, '.'), app)
	return string(b), err
}

// parseIngressSubject parses what [IngressSubject] builds and nothing else. The error wraps
// [ErrBadSubject].
func parseIngressSubject(subject string) (Conversation, Kind, error) {
	rest, ok := strings.CutPrefix(subject, ingressPrefix)
	if !ok {
		return Conversation{}, 0, subjectError(subject, "does not begin with "+ingressPrefix)
	}
	tokens := strings.Split(rest, ".")
	if len(tokens) != 4 {
		return Conversation{}, 0, subjectError(subject, "not receipts.in.<org>.<app>.<conversation>.<kind>")
	}
	kind, ok := kindsByToken[tokens[3]]
	if !ok {
		return Conversation{}, 0, subjectError(subject, "unknown kind")
	}
	app, problem := parseAppTokens(tokens[0] + "." + tokens[1])
	if problem != "" {
		return Conversation{}, 0, subjectError(subject, problem)
	}
	c, err := parseConversationToken(tokens[2])
	if err != nil {
		return Conversation{}, 0, err
	}
	c.App = app
	return c, kind, nil
}

// parseConversationToken parses what [appendConversationToken] builds and nothing else; App stays
// empty. The error wraps [ErrBadSubject].
func parseConversationToken(token string) (Conversation, error) {
	if id, ok := strings.CutPrefix(token, groupToken); ok {
		group, problem := parseIDToken(id)
		if problem != "" {
			return Conversation{}, subjectError(token, "group: "+problem)
		}
		return Conversation{Group: group}, nil
	}
	users, ok := strings.CutPrefix(token, singleToken)
	if !ok {
		return Conversation{}, subjectError(token, "a conversation begins with g~ or s~")
	}
	first, second, ok := strings.Cut(users, "~")
	if !ok {
		return Conversation{}, subjectError(token, "a single chat has two users")
	}
	a, problem := parseIDToken(first)
	if problem != "" {
		return Conversation{}, subjectError(token, "first user: "+problem)
	}
	b, problem := parseIDToken(second)
	if problem != "" {
		return Conversation{}, subjectError(token, "second user: "+problem)
	}
	if a >= b {
		return Conversation{}, subjectError(token, "the users are not in order")
	}
	return Conversation{A: a, B: b}, nil
}

// parseIDToken unescapes and checks an id.
func parseIDToken(token string) (id, problem string) {
	id, ok := unescape(token)
	if !ok {
		return "", escapeProblem
	}
	return id, IDProblem(id)
}

func conversationToken(e *Event) (string, error) {
	b, err := appendConversationToken(nil, e)
	return string(b), err
}
