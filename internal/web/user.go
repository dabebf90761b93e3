package web

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// relation is a list of a user's messages.
type relation struct {
	// Name is how it stands in the address, Label what people read.
	Name, Label string
	to          projections.Relation
	// Note says what the list has, None that there is nothing in it.
	Note, None string
}

var relations = []relation{
	{"unread", "Not read", projections.RelationNotRead, "Messages that they could read, and have not read one by one.", "Nothing that collects receipts is unread."},
	{"read", "Read", projections.RelationRead, "Messages that they have read one by one.", "Nothing was read one by one."},
	{"sent", "Sent", projections.RelationSent, "Messages that they have sent.", "Nothing was sent."},
}

// userView is a user: their conversations, and what they have read, not read or sent there.
type userView struct {
	ID        string
	Relation  relation
	Relations []relation
	// Group or Peer is the one conversation that the list is of; neither is all of them.
	Group, Peer string
	Messages    []userRow
	// First says that the list begins with its first page; Next is where the next one begins.
	First bool
	Next  string
	// Conversations are those on this page, Total how many there are, Unread what is unread in all.
	Conversations              []projections.ConversationView
	ConversationsAt, Following int
	Total, Unread              int
}

// userRow is a message of a user's.
type userRow struct {
	messageRow
	ReadAt  int64
	Content string
	// Took is how long it took them to read.
	Took string
	// Peer is the other side of a single chat.
	Peer string
}

func (p *Page) user(rq *request) (any, error) {
	v := &userView{ID: rq.query.Get("user"), Relations: relations, Relation: relations[0], Group: rq.query.Get("group"), Peer: rq.query.Get("peer"), ConversationsAt: rq.offset("conversations")}
	for _, r := range relations {
		if r.Name == rq.query.Get("list") {
			v.Relation = r
		}
	}
	all, err := p.conversations(rq)
	if err != nil {
		return nil, err
	}
	v.Total = len(all)
	for i := range all {
		v.Unread += all[i].Unread
	}
	from := min(v.ConversationsAt, len(all))
	v.Conversations = all[from:min(len(all), from+listed)]
	if from+listed < len(all) {
		v.Following = from + listed
	}
	place := rq.query.Get("at")
	v.First = place == ""
	v.Next, err = p.walk(rq, all, v.Relation.to, place, listed, func(c *projections.ConversationView, m *projections.UserMessage) {
		row := userRow{messageRow: newMessageRow(m.Message), ReadAt: m.ReadAt, Content: m.ReadContent, Peer: c.Peer}
		if m.ReadAt != 0 {
			row.Took = millis(float64(max(0, m.ReadAt-m.SentAt)))
		}
		v.Messages = append(v.Messages, row)
	})
	return v, err
}

// conversations lists what the user of a request talks in.
func (p *Page) conversations(rq *request) ([]projections.ConversationView, error) {
	user := rq.query.Get("user")
	if events.IDProblem(user) != "" {
		return nil, errNoUser
	}
	all, err := p.cfg.State.Conversations(rq.key, user)
	if err != nil {
		return nil, fmt.Errorf("conversations: %w", err)
	}
	if len(all) == 0 {
		known, err := p.cfg.State.Knows(rq.key, user)
		if err != nil {
			return nil, fmt.Errorf("user: %w", err)
		}
		if !known {
			return nil, errNoUser
		}
	}
	return all, nil
}

var errNoUser = &problem{http.StatusNotFound, "No such user", "Nobody of this id is or was in a conversation of the app."}

// walk calls add with a page of a user's messages, of the conversation that the request names or of
// all, from a place on, and returns the place of the next page.
func (p *Page) walk(
	rq *request, all []projections.ConversationView, to projections.Relation, place string, limit int,
	add func(*projections.ConversationView, *projections.UserMessage),
) (next string, err error) {
	if one := (projections.ConversationView{Group: rq.query.Get("group"), Peer: rq.query.Get("peer")}); (one.Group == "") != (one.Peer == "") {
		all = []projections.ConversationView{one}
	}
	at, err := base64.RawURLEncoding.DecodeString(place)
	if err != nil {
		at = nil // from the beginning, as for anything malformed
	}
	user := rq.query.Get("user")
	found, _, err := gateway.Walk(all, string(at), limit, func(c *projections.ConversationView, before uint64, limit int) (int, int, uint64, error) {
		page, err := p.cfg.State.UserMessages(rq.key, c.Group, c.Peer, user, projections.RelatedQuery{To: to, Before: before, Limit: limit})
		if errors.Is(err, projections.ErrNotFound) { // left meanwhile
			err = nil
		}
		if err != nil {
			return 0, 0, 0, fmt.Errorf("messages of a user: %w", err)
		}
		for i := range page.Messages {
			add(c, &page.Messages[i])
		}
		return len(page.Messages), page.Looked, page.Next, nil
	})
	return base64.RawURLEncoding.EncodeToString([]byte(found)), err
}

// userTable is all of a list of a user's messages.
func (p *Page) userTable(rq *request) (t gateway.Table, err error) {
	all, err := p.conversations(rq)
	if err != nil {
		return t, err
	}
	r := relations[0]
	for _, x := range relations {
		if x.Name == rq.query.Get("list") {
			r = x
		}
	}
	for place, more := "", true; more && len(t.Rows) < maxLines; more = place != "" {
		place, err = p.walk(rq, all, r.to, place, maxLinesOnce, func(c *projections.ConversationView, m *projections.UserMessage) {
			if r.to == projections.RelationSent {
				t.AddMessage(&m.Message)
				return
			}
			t.AddRead(gateway.ReadLine{
				Message: m.ID, Group: c.Group, Peer: c.Peer, From: m.From,
				SentAt: gateway.Timestamp(m.SentAt), ReadAt: gateway.Timestamp(m.ReadAt), Content: m.ReadContent,
			})
		})
		if err == nil {
			err = rq.Context().Err()
		}
		if err != nil {
			return t, err
		}
	}
	return t, nil
}
