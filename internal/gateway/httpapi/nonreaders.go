package httpapi

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// Bounds of one request for the nonreaders of many messages.
const (
	maxNonReaderIDs = 100
	// maxNonReaders are all that may be listed: the messages times the limit.
	maxNonReaders = 10_000
)

// nonReadersRequest names messages as a countsRequest does, and how many nonreaders of each are
// listed.
type nonReadersRequest struct {
	countsRequest
	Limit *int `json:"limit"`
}

type nonReadersOfMany struct {
	Messages []nonReadersEntry `json:"messages"`
}

type nonReadersEntry struct {
	ID string `json:"id"`
	conversationBody
	Total      int      `json:"total"`
	CountsOnly bool     `json:"counts_only,omitempty"`
	NonReaders []string `json:"nonreaders"`
	Left       []string `json:"left,omitempty"`
}

// postNonReaders answers for many messages at once. What the caller may not see is left out, as
// what does not exist.
func (a *API) postNonReaders(c *call) error {
	var body nonReadersRequest
	if err := c.readJSON(maxCountBytes, &body); err != nil {
		return err
	}
	named, err := c.readCounts(&body.countsRequest)
	if err != nil {
		return err
	}
	n, limit := len(body.IDs)+len(named), defaultLimit
	if n > maxNonReaderIDs {
		return invalid("ids", fmt.Sprintf("%d messages, at most %d", n, maxNonReaderIDs))
	}
	if body.Limit != nil {
		limit = *body.Limit
	}
	if limit < 1 || limit*n > maxNonReaders {
		return invalid("limit", fmt.Sprintf("not a number from 1 to %d, the most that are listed, by the messages", maxNonReaders))
	}
	in, err := c.named(body.Group, body.Users, body.Peer)
	if err != nil {
		return err
	}
	answer := nonReadersOfMany{Messages: make([]nonReadersEntry, 0, n)}
	for i, id := range body.IDs {
		if err := a.addNonReaders(c, &answer, in, id, limit); err != nil {
			return atField(err, "ids", i)
		}
	}
	for i, in := range named {
		if err := a.addNonReaders(c, &answer, in, body.Messages[i].ID, limit); err != nil {
			return atField(err, "messages", i)
		}
	}
	gateway.WriteJSON(c.w, http.StatusOK, answer)
	return nil
}

// addNonReaders adds a message to an answer, if the caller may see who has read it.
func (a *API) addNonReaders(c *call, answer *nonReadersOfMany, in events.Conversation, id string, limit int) error {
	m, err := c.Find(a.cfg.State, in, id, &c.settings)
	if errors.Is(err, projections.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if sees, err := a.seesReads(c, &m); err != nil || !sees {
		return err
	}
	of := m.Conversation(c.app)
	page := projections.NonReaderPage{Total: m.Eligible - m.Read}
	if !m.CountsOnly { // else nobody has a name
		if page, err = a.cfg.State.NonReaders(of, m.ID, 0, limit); err != nil {
			return err
		}
	}
	if page.Users == nil {
		page.Users = []string{}
	}
	answer.Messages = append(answer.Messages, nonReadersEntry{m.ID, newConversationBody(of), page.Total, m.CountsOnly, page.Users, page.Left})
	return nil
}
