package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

const (
	maxCountIDs = 1000
	// maxCountBytes has room for as many messages with the longest ids, every byte escaped.
	maxCountBytes = 4 << 20
)

type countsBody struct {
	Eligible  int `json:"eligible"`
	Delivered int `json:"delivered"`
	Read      int `json:"read"`
}

func newCountsBody(n projections.Counts) countsBody {
	return countsBody{n.Eligible, n.Delivered, n.Read}
}

// countsRequest asks for messages by their ids, all of one conversation if it names one, and for
// messages each with its conversation.
type countsRequest struct {
	IDs      []string             `json:"ids"`
	Group    *string              `json:"group"`
	Users    userPair             `json:"users"`
	Peer     *string              `json:"peer"`
	Messages []countsRequestEntry `json:"messages"`
}

type countsRequestEntry struct {
	ID    string   `json:"id"`
	Group *string  `json:"group"`
	Users userPair `json:"users"`
	Peer  *string  `json:"peer"`
}

// countsAnswer has the counts by message id, without those of an id that was asked for in several
// conversations, and, for a request that named messages one by one, these in its order.
type countsAnswer struct {
	Counts   map[string]countsBody `json:"counts"`
	Messages []countsAnswerEntry   `json:"messages,omitempty"`
}

type countsAnswerEntry struct {
	ID string `json:"id"`
	conversationBody
	countsBody
}

// postCounts answers for many messages at once. What the caller may not see is left out, as what
// does not exist.
func (a *API) postCounts(c *call) error {
	var body countsRequest
	if err := c.readJSON(maxCountBytes, &body); err != nil {
		return err
	}
	named, err := c.readCounts(&body)
	if err != nil {
		return err
	}
	answer := countsAnswer{Counts: make(map[string]countsBody, len(body.IDs)+len(named))}
	in, err := c.named(body.Group, body.Users, body.Peer)
	if err != nil {
		return err
	}
	if err := a.countIDs(c, in, body.IDs, answer.Counts); err != nil {
		return err
	}
	several := map[string]bool{}
	for i, x := range named {
		m, err := c.Find(a.cfg.State, x, body.Messages[i].ID, &c.settings)
		if errors.Is(err, projections.ErrNotFound) {
			continue
		}
		if err != nil {
			return atField(err, "messages", i)
		}
		if m, err = a.counted(c, m); err != nil {
			return err
		}
		n := newCountsBody(m.Counts)
		answer.Messages = append(answer.Messages, countsAnswerEntry{m.ID, newConversationBody(m.Conversation(c.app)), n})
		_, known := answer.Counts[m.ID]
		several[m.ID] = several[m.ID] || known
		answer.Counts[m.ID] = n
	}
	for id, yes := range several {
		if yes {
			delete(answer.Counts, id)
		}
	}
	gateway.WriteJSON(c.w, http.StatusOK, answer)
	return nil
}

// readCounts checks a request and returns the conversations of the messages that it names.
func (c *call) readCounts(body *countsRequest) ([]events.Conversation, error) {
	if body.IDs == nil && body.Messages == nil {
		return nil, invalid("ids", "missing")
	}
	if n := len(body.IDs) + len(body.Messages); n > maxCountIDs {
		return nil, invalid("ids", fmt.Sprintf("%d messages, at most %d", n, maxCountIDs))
	}
	for i, id := range body.IDs {
		if problem := events.IDProblem(id); problem != "" {
			return nil, invalid("ids["+strconv.Itoa(i)+"]", problem)
		}
	}
	named := make([]events.Conversation, len(body.Messages))
	for i := range body.Messages {
		x := &body.Messages[i]
		if problem := events.IDProblem(x.ID); problem != "" {
			return nil, invalid("messages["+strconv.Itoa(i)+"].id", problem)
		}
		var err error
		if named[i], err = c.named(x.Group, x.Users, x.Peer); err != nil {
			return nil, atField(err, "messages", i)
		}
	}
	return named, nil
}

// countIDs counts the messages with the ids, of a conversation if that is named.
func (a *API) countIDs(c *call, in events.Conversation, ids []string, counts map[string]countsBody) error {
	without, err := c.withoutLeft()
	if err != nil {
		return err
	}
	if c.Admin && !without && in == (events.Conversation{App: c.app}) {
		all, err := a.cfg.State.Counts(c.app, ids)
		for id, n := range all {
			counts[id] = newCountsBody(n)
		}
		return err
	}
	for i, id := range ids {
		m, err := c.Find(a.cfg.State, in, id, &c.settings)
		if err == nil {
			m, err = a.counted(c, m)
		}
		switch {
		case err == nil:
			counts[id] = newCountsBody(m.Counts)
		case !errors.Is(err, projections.ErrNotFound):
			return atField(err, "ids", i)
		}
	}
	return nil
}

// atField says of an error which item of a list it is about.
func atField(err error, list string, i int) error {
	e := *asAPIError(err)
	if e.Status >= http.StatusInternalServerError {
		return err
	}
	field := list + "[" + strconv.Itoa(i) + "]"
	if e.Field != "" {
		field += "." + e.Field
	}
	e.Field, e.Message = field, field+": "+e.problem()
	return &e
}
