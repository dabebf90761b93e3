package httpapi

import (
	"net/http"
	"slices"

	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// conversationsBody is a page of a user's conversations. TotalUnread is over all of them.
type conversationsBody struct {
	Conversations []conversationLine `json:"conversations"`
	TotalUnread   int                `json:"total_unread"`
	NextCursor    string             `json:"next_cursor"`
}

type conversationLine struct {
	Group      string    `json:"group,omitempty"`
	Peer       string    `json:"peer,omitempty"`
	Unread     int       `json:"unread"`
	LastReadAt timestamp `json:"last_read_at"`
	Marked     bool      `json:"marked_unread,omitempty"`
}

// getConversations answers with a page of the list. The list is made whole for each page, since the
// total needs all of it: the lines of some thousand conversations are small.
func (a *API) getConversations(c *call) error {
	place, limit, err := a.placeOf(c, listConversations)
	if err != nil {
		return err
	}
	onlyUnread, err := c.flag("unread")
	if err != nil {
		return err
	}
	last, ok := gateway.ConversationAt(place)
	if !ok {
		return invalidCursor("cursor")
	}
	all, err := a.cfg.State.Conversations(c.app, c.r.PathValue("user"))
	if err != nil {
		return err
	}
	body := conversationsBody{Conversations: make([]conversationLine, 0, min(limit, len(all)))}
	for i := range all {
		body.TotalUnread += all[i].Unread
	}
	from := 0
	if place != "" {
		from, ok = slices.BinarySearchFunc(all, last, func(x, y projections.ConversationView) int { return x.Compare(&y) })
		if ok {
			from++
		}
	}
	for i := from; i < len(all); i++ {
		v := &all[i]
		if onlyUnread && v.Unread == 0 && !v.Marked {
			continue
		}
		if n := len(body.Conversations); n == limit {
			end := body.Conversations[n-1]
			body.NextCursor = a.placeCursor(listConversations, gateway.ConversationPlace(end.Group, end.Peer))
			break
		}
		body.Conversations = append(body.Conversations, conversationLine{v.Group, v.Peer, v.Unread, timestamp(v.LastReadAt), v.Marked})
	}
	gateway.WriteJSON(c.w, http.StatusOK, body)
	return nil
}
