package httpapi

import (
	"encoding/binary"
	"errors"
	"net/http"
	"slices"

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
		body.Messages = append(body.Messages, newMessageBody(&page.Messages[i]))
	}
	gateway.WriteJSON(c.w, http.StatusOK, body)
	return nil
}

type readsBody struct {
	Reads      []readRow `json:"reads"`
	NextCursor string    `json:"next_cursor"`
}

type readRow struct {
	Message string    `json:"message"`
	Group   string    `json:"group,omitempty"`
	Peer    string    `json:"peer,omitempty"`
	From    string    `json:"from"`
	SentAt  timestamp `json:"sent_at"`
	ReadAt  timestamp `json:"read_at"`
	Content string    `json:"content,omitempty"`
}

// A page of reads is found in so many conversations, and ends once so many messages of them were
// looked at, since who is in many groups may have read nothing there.
const (
	maxReadConversations = 100
	maxReadLook          = 2000
)

// getReads lists what a user has read one by one: conversation by conversation, newest messages
// first.
func (a *API) getReads(c *call) error {
	place, limit, err := a.placeOf(c, listReads)
	if err != nil {
		return err
	}
	last, before, ok := readAt(place)
	if !ok {
		return invalidCursor("cursor")
	}
	user := c.r.PathValue("user")
	list, one, err := a.readIn(c, user)
	if err != nil {
		return err
	}
	from := 0
	if place != "" {
		if from, ok = slices.BinarySearchFunc(list, last, func(x, y projections.ConversationView) int { return x.Compare(&y) }); !ok {
			before = 0
		}
	}
	body := readsBody{Reads: []readRow{}}
	looked := 0
	for i := from; i < len(list); i++ {
		v := &list[i]
		if len(body.Reads) == limit || i == from+maxReadConversations || looked >= maxReadLook {
			body.NextCursor = a.placeCursor(listReads, placeOfRead(v, before))
			break
		}
		page, err := a.cfg.State.Reads(c.app, v.Group, v.Peer, user, before, limit-len(body.Reads))
		if errors.Is(err, projections.ErrNotFound) && !one { // left meanwhile
			err = nil
		}
		if err != nil {
			return noConversation(err)
		}
		for _, r := range page.Reads {
			body.Reads = append(body.Reads, readRow{r.ID, v.Group, v.Peer, r.From, timestamp(r.SentAt), timestamp(r.ReadAt), r.Content})
		}
		looked += page.Looked
		if before = page.Next; before != 0 {
			body.NextCursor = a.placeCursor(listReads, placeOfRead(v, before))
			break
		}
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

// placeOfRead is the place in the list of reads before a message of a conversation.
func placeOfRead(v *projections.ConversationView, before uint64) string {
	return string(binary.AppendUvarint(nil, before)) + placeOfConversation(v.Group, v.Peer)
}

// readAt is the conversation, and the message in it, whose place it is; ok is false if it is no
// place.
func readAt(place string) (v projections.ConversationView, before uint64, ok bool) {
	if place == "" {
		return v, 0, true
	}
	before, n := binary.Uvarint([]byte(place))
	if n <= 0 || n == len(place) {
		return v, 0, false
	}
	v, ok = conversationAt(place[n:])
	return v, before, ok
}
