package httpapi

import (
	"errors"
	"net/http"

	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

type groupMessagesBody struct {
	Messages   []messageBody `json:"messages"`
	NextCursor string        `json:"next_cursor"`
}

// getGroupMessages lists the messages of a group, newest first.
func (a *API) getGroupMessages(c *call) error {
	before, limit, err := a.pageOf(c, listMessages)
	if err != nil {
		return err
	}
	page, err := a.cfg.State.GroupMessages(c.app, c.r.PathValue("group"), uint64(before), limit)
	if errors.Is(err, projections.ErrNotFound) {
		return errNoGroup
	}
	if err != nil {
		return err
	}
	body := groupMessagesBody{Messages: make([]messageBody, 0, len(page.Messages)), NextCursor: a.pageCursor(listMessages, int(page.Next))}
	for i := range page.Messages {
		body.Messages = append(body.Messages, gateway.NewMessageLine(&page.Messages[i]))
	}
	gateway.WriteJSON(c.w, http.StatusOK, body)
	return nil
}

type readsBody struct {
	Reads      []readRow `json:"reads"`
	NextCursor string    `json:"next_cursor"`
}

type readRow = gateway.ReadLine

// getReads lists what a user has read one by one: conversation by conversation, newest messages
// first.
func (a *API) getReads(c *call) error {
	place, limit, err := a.placeOf(c, listReads)
	if err != nil {
		return err
	}
	user := c.r.PathValue("user")
	list, one, err := a.readIn(c, user)
	if err != nil {
		return err
	}
	body := readsBody{Reads: []readRow{}}
	next, ok, err := gateway.Walk(list, place, limit, func(v *projections.ConversationView, before uint64, limit int) (int, int, uint64, error) {
		page, err := a.cfg.State.Reads(c.app, v.Group, v.Peer, user, before, limit)
		if errors.Is(err, projections.ErrNotFound) && !one { // left meanwhile
			err = nil
		}
		for _, r := range page.Reads {
			body.Reads = append(body.Reads, readRow{
				Message: r.ID, Group: v.Group, Peer: v.Peer, From: r.From, SentAt: timestamp(r.SentAt), ReadAt: timestamp(r.ReadAt), Content: r.Content,
			})
		}
		return len(page.Reads), page.Looked, page.Next, err
	})
	switch {
	case err != nil:
		return noConversation(err)
	case !ok:
		return invalidCursor("cursor")
	case next != "":
		body.NextCursor = a.placeCursor(listReads, next)
	}
	gateway.WriteJSON(c.w, http.StatusOK, body)
	return nil
}

// readIn are the conversations in which reads are asked for: the one that the query names by group
// or peer, or all of the user's.
func (a *API) readIn(c *call, user string) (list []projections.ConversationView, one bool, err error) {
	query := c.r.URL.Query()
	v := projections.ConversationView{Group: query.Get("group"), Peer: query.Get("peer")}
	given := 0
	for name, id := range map[string]string{"group": v.Group, "peer": v.Peer} {
		if query.Has(name) {
			given++
			if err := idError(name, id); err != nil {
				return nil, true, err
			}
		}
	}
	switch given {
	case 0:
		list, err = a.cfg.State.Conversations(c.app, user)
		return list, false, err
	case 1:
		return []projections.ConversationView{v}, true, nil
	}
	return nil, true, invalid("group", "one of group and peer names a conversation")
}
