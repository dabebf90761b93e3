package gateway

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/receiptd/receiptd/consumers"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

const (
	// smallBody bounds the bodies that hold one value.
	smallBody = 16 << 10

	defaultTokenTTL = 24 * time.Hour
	// maxTokenTTL bounds how long a token that got into wrong hands is of use.
	maxTokenTTL = 90 * 24 * time.Hour
)

type conversationBody struct {
	Group      string    `json:"group,omitempty"`
	Peer       string    `json:"peer,omitempty"`
	Unread     int       `json:"unread"`
	LastReadAt timestamp `json:"last_read_at"`
}

func (g *Gateway) getConversations(c *call) error {
	views, err := g.cfg.State.Conversations(c.app, c.r.PathValue("user"))
	if err != nil {
		return err
	}
	list := make([]conversationBody, 0, len(views))
	for _, v := range views {
		list = append(list, conversationBody{v.Group, v.Peer, v.Unread, timestamp(v.LastReadAt)})
	}
	writeJSON(c.w, http.StatusOK, map[string]any{"conversations": list})
	return nil
}

// summaryBody is the statistic of the requirement document: the field names of group_ack are those the SDK
// hands to onStatisticMessage. It is always there; what single chats add is left out when there is nothing.
type summaryBody struct {
	GroupAck        []groupAck        `json:"group_ack"`
	SingleAck       []singleAck       `json:"single_ack,omitempty"`
	ConversationAck []conversationAck `json:"conversation_ack,omitempty"`
	Cursor          string            `json:"cursor,omitempty"`
}

type groupAck struct {
	MID         string    `json:"mid"`
	GID         string    `json:"gid"`
	Count       int       `json:"count"`
	LastReader  string    `json:"last_reader"`
	FirstReadAt timestamp `json:"first_read_at"`
	LastReadAt  timestamp `json:"last_read_at"`
}

type singleAck struct {
	MID         string    `json:"mid"`
	Peer        string    `json:"peer"`
	DeliveredAt timestamp `json:"delivered_at,omitempty"`
	ReadAt      timestamp `json:"read_at,omitempty"`
}

type conversationAck struct {
	Peer   string    `json:"peer"`
	ReadAt timestamp `json:"read_at"`
}

func newSummaryBody(s consumers.Summary) summaryBody {
	body := summaryBody{GroupAck: []groupAck{}, Cursor: s.Cursor}
	for _, item := range s.Items {
		switch item.Kind {
		case projections.StatisticGroupRead:
			body.GroupAck = append(body.GroupAck, groupAck{
				MID: item.Message, GID: item.Group, Count: item.Count, LastReader: item.LastReader,
				FirstReadAt: timestamp(item.FirstReadAt), LastReadAt: timestamp(item.LastReadAt),
			})
		case projections.StatisticDelivered, projections.StatisticRead:
			body.SingleAck = append(body.SingleAck, singleAck{
				MID: item.Message, Peer: item.Peer, DeliveredAt: timestamp(item.DeliveredAt), ReadAt: timestamp(item.LastReadAt),
			})
		case projections.StatisticConversationRead:
			body.ConversationAck = append(body.ConversationAck, conversationAck{item.Peer, timestamp(item.LastReadAt)})
		}
	}
	return body
}

// SummaryJSON is the group reads of a summary as every client sees them: {"group_ack":[…]}.
func SummaryJSON(items []projections.StatisticItem) []byte {
	text, err := json.Marshal(newSummaryBody(consumers.Summary{Items: items}))
	if err != nil {
		panic(err) // a type of ours that cannot be JSON
	}
	return text
}

func (g *Gateway) getStatistics(c *call) error {
	summary, err := g.statistic.Pending(c.app, c.r.PathValue("user"))
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, newSummaryBody(summary))
	return nil
}

func (g *Gateway) postStatisticsAck(c *call) error {
	var body struct {
		Cursor string `json:"cursor"`
	}
	if err := c.readJSON(smallBody, &body); err != nil {
		return err
	}
	user := c.r.PathValue("user")
	upto, err := g.statistic.Upto(c.app, user, body.Cursor)
	if err != nil {
		return err
	}
	if err := g.cfg.Commands.Seen(c.r.Context(), c.app, user, upto); err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, struct{}{})
	return nil
}

func (g *Gateway) postToken(c *call) error {
	ttl := events.Duration(defaultTokenTTL)
	body := struct {
		TTL *events.Duration `json:"ttl"`
	}{&ttl}
	if err := c.readJSON(smallBody, &body); err != nil {
		return err
	}
	if d := time.Duration(ttl); body.TTL == nil || d < time.Second || d > maxTokenTTL {
		return invalid("ttl", "not a duration from 1s to "+maxTokenTTL.String())
	}
	token, expires, err := g.cfg.Tokens.Mint(c.app, c.r.PathValue("user"), time.Duration(ttl))
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, struct {
		Token     string    `json:"token"`
		ExpiresAt timestamp `json:"expires_at"`
	}{token, timestamp(expires.UnixMilli())})
	return nil
}
