package gateway

import (
	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/projections"
)

// SummaryBody is a summary as clients see it: the statistic of the requirement document. The fields
// of group_ack have the names that the SDK hands to onStatisticMessage. group_ack is always there;
// what single chats add is left out when there is nothing.
type SummaryBody struct {
	GroupAck        []groupAck        `json:"group_ack"`
	SingleAck       []singleAck       `json:"single_ack,omitempty"`
	ConversationAck []conversationAck `json:"conversation_ack,omitempty"`
	// Truncated says that older items were pushed out, Dropped how many since the last
	// acknowledgement.
	Truncated bool   `json:"truncated,omitempty"`
	Dropped   int    `json:"dropped,omitempty"`
	Cursor    string `json:"cursor,omitempty"`
}

type groupAck struct {
	MID         string    `json:"mid"`
	GID         string    `json:"gid"`
	Count       int       `json:"count"`
	LastReader  string    `json:"last_reader,omitempty"`
	FirstReadAt Timestamp `json:"first_read_at"`
	LastReadAt  Timestamp `json:"last_read_at"`
}

type singleAck struct {
	MID         string    `json:"mid"`
	Peer        string    `json:"peer"`
	DeliveredAt Timestamp `json:"delivered_at,omitempty"`
	ReadAt      Timestamp `json:"read_at,omitempty"`
}

type conversationAck struct {
	Peer   string    `json:"peer"`
	ReadAt Timestamp `json:"read_at"`
}

// NewSummaryBody makes what clients see of a summary.
func NewSummaryBody(s notify.Summary) SummaryBody {
	body := SummaryBody{GroupAck: []groupAck{}, Truncated: s.Dropped > 0, Dropped: s.Dropped, Cursor: s.Cursor}
	for _, item := range s.Items {
		switch item.Kind {
		case projections.SummaryGroupRead:
			body.GroupAck = append(body.GroupAck, groupAck{
				MID: item.Message, GID: item.Group, Count: item.Count, LastReader: item.LastReader,
				FirstReadAt: Timestamp(item.FirstReadAt), LastReadAt: Timestamp(item.LastReadAt),
			})
		case projections.SummaryDelivered, projections.SummaryRead:
			body.SingleAck = append(body.SingleAck, singleAck{
				MID: item.Message, Peer: item.Peer, DeliveredAt: Timestamp(item.DeliveredAt), ReadAt: Timestamp(item.LastReadAt),
			})
		case projections.SummaryConversationRead:
			body.ConversationAck = append(body.ConversationAck, conversationAck{item.Peer, Timestamp(item.LastReadAt)})
		}
	}
	return body
}

// SummaryJSON is the text of a summary without a cursor.
func SummaryJSON(s projections.Summary) []byte {
	return mustJSON(NewSummaryBody(notify.Summary{Summary: s}))
}
