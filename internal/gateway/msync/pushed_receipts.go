package msync

import (
	"hash/fnv"
	"io"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
	"github.com/receiptd/receiptd/projections"
)

// receiptID is the id of a receipt. It is made of what the receipt says, so that the same receipt
// told twice has the same id. The highest bit sets it apart from the ids of messages.
func receiptID(parts ...string) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		_, _ = io.WriteString(h, p)
		_, _ = h.Write([]byte{0}) // ids have no control characters
	}
	return h.Sum64() | 1<<63
}

// appendReceipt appends the Meta that tells the author of a receipt.
func (c *session) appendReceipt(dst []*msyncpb.Meta, n *notify.Notification) []*msyncpb.Meta {
	message, numbered := number(n.Message)
	switch {
	case n.Own:
		return c.appendOwn(dst, n)
	case n.Kind == events.ConversationRead:
		return append(dst, c.conversationRead(n.Reader, n.At))
	case n.Group != "" && !numbered:
		// A message of a backend with ids of its own, which only the summary has room for.
		return append(dst, c.summaryMeta(projections.Summary{Items: []projections.SummaryItem{{
			Message: n.Message, Group: n.Group, Count: n.Count, LastReader: n.Reader, LastReadAt: n.At,
		}}}, n.At))
	case n.Group != "":
		return append(dst, c.groupRead(message, n))
	case !numbered:
		return dst // the SDK has no way to name it
	case n.Kind == events.MessageDelivered:
		return append(dst, c.delivered(message, n.Reader, n.At))
	default:
		return append(dst, c.singleRead(message, n.Reader, n.At))
	}
}

func (c *session) delivered(message uint64, reader string, at int64) *msyncpb.Meta {
	c.srv.metrics.pushed.WithLabelValues("delivered").Inc()
	return c.receipt(receiptID("delivered", decimal(message), reader), reader, c.user, at,
		&msyncpb.Body{Type: bodyType(msyncpb.Body_DELIVER_ACK), AckMessageId: &message})
}

func (c *session) singleRead(message uint64, reader string, at int64) *msyncpb.Meta {
	c.srv.metrics.pushed.WithLabelValues("read").Inc()
	return c.receipt(receiptID("read", decimal(message), reader), reader, c.user, at,
		&msyncpb.Body{Type: bodyType(msyncpb.Body_READ_ACK), AckMessageId: &message})
}

func (c *session) conversationRead(reader string, at int64) *msyncpb.Meta {
	c.srv.metrics.pushed.WithLabelValues("conversation_read").Inc()
	return c.receipt(receiptID("conversation", reader, strconv.FormatInt(at, 10)), reader, c.user, at,
		&msyncpb.Body{Type: bodyType(msyncpb.Body_CHANNEL_ACK)})
}

// appendOwn appends the Meta that tells a user's other devices that one of them has read a
// conversation. The SDK knows nothing else that they could be told of their own reads.
func (c *session) appendOwn(dst []*msyncpb.Meta, n *notify.Notification) []*msyncpb.Meta {
	if n.Kind != events.ConversationRead || c.ownReads.has(n.EventID) {
		return dst
	}
	c.srv.metrics.pushed.WithLabelValues("own_conversation_read").Inc()
	to, domain := n.Peer, domainUser
	if n.Group != "" {
		to, domain = n.Group, domainGroup
	}
	m := c.receipt(receiptID("own conversation", n.Group, n.Peer, strconv.FormatInt(n.At, 10)), c.user, to, n.At,
		&msyncpb.Body{Type: bodyType(msyncpb.Body_CHANNEL_ACK)})
	m.To.Domain = &domain
	return append(dst, m)
}

// groupRead has the count in the first ext, where the SDK looks for it.
func (c *session) groupRead(message uint64, n *notify.Notification) *msyncpb.Meta {
	c.srv.metrics.pushed.WithLabelValues("group_read").Inc()
	count := strconv.Itoa(n.Count)
	m := c.receipt(receiptID("group", n.Group, n.Message, count), n.Reader, n.Group, n.At, &msyncpb.Body{
		Type: bodyType(msyncpb.Body_READ_ACK), AckMessageId: &message,
		Config:     &msyncpb.Body_Config{AllowGroupAck: proto.Bool(true)},
		AckContent: &n.Content,
		Ext: []*msyncpb.KeyValue{{
			Key: proto.String("group_read_count"), Type: proto.Int32(int32(msyncpb.KeyValue_JSON)),
			Value: &msyncpb.KeyValue_StringValue{StringValue: `{"` + n.Message + `":` + count + `}`},
		}},
	})
	m.To.Domain = proto.String(domainGroup)
	return m
}

// receipt completes a receipt's body and wraps it.
func (c *session) receipt(id uint64, reader, to string, at int64, body *msyncpb.Body) *msyncpb.Meta {
	body.From, body.To = &msyncpb.Name{Name: &reader}, &msyncpb.Name{Name: &to}
	body.Contents = []*msyncpb.Body_Content{{}} // without one the SDK fails on a repeated receipt
	return &msyncpb.Meta{
		Id: &id, From: c.name(reader, domainUser), To: c.name(to, domainUser), Timestamp: proto.Uint64(uint64(at)),
		Ns: proto.Int32(int32(msyncpb.Meta_CHAT)), Payload: marshal(body),
	}
}

func (c *session) name(name, domain string) *msyncpb.Name {
	return &msyncpb.Name{AppKey: &c.app, Name: &name, Domain: &domain}
}

// appendSummary appends what tells authors what they missed: all group reads in one Meta, and of
// single chats what they would have been told live.
func (c *session) appendSummary(dst []*msyncpb.Meta, s *notify.Summary) []*msyncpb.Meta {
	groups, at := projections.Summary{Dropped: s.Dropped}, int64(0)
	for i := range s.Items {
		switch item := &s.Items[i]; item.Kind {
		case projections.SummaryGroupRead:
			groups.Items, at = append(groups.Items, *item), item.LastReadAt
		case projections.SummaryConversationRead:
			dst = append(dst, c.conversationRead(item.Peer, item.LastReadAt))
		default:
			dst = c.appendSingle(dst, item)
		}
	}
	if len(groups.Items) > 0 || groups.Dropped > 0 {
		dst = append(dst, c.summaryMeta(groups, at))
	}
	return dst
}

// appendSingle appends the receipts of a single-chat message, as far as they are known.
func (c *session) appendSingle(dst []*msyncpb.Meta, item *projections.SummaryItem) []*msyncpb.Meta {
	message, ok := number(item.Message)
	if !ok {
		return dst
	}
	if item.DeliveredAt != 0 {
		dst = append(dst, c.delivered(message, item.Peer, item.DeliveredAt))
	}
	if item.Kind == projections.SummaryRead {
		dst = append(dst, c.singleRead(message, item.Peer, item.LastReadAt))
	}
	return dst
}

// number is a message's id as the SDK knows it: a decimal number without leading zeros.
func number(id string) (n uint64, ok bool) {
	n, err := strconv.ParseUint(id, 10, 64)
	return n, err == nil && n != 0 && decimal(n) == id
}

func (c *session) summaryMeta(s projections.Summary, at int64) *msyncpb.Meta {
	c.srv.metrics.pushed.WithLabelValues("statistic").Inc()
	location := string(gateway.SummaryJSON(s))
	id := receiptID("statistic", location)
	return &msyncpb.Meta{
		// The SDK named agora-chat fails without From.
		Id: &id, From: c.name("", domainUser), To: c.name(c.user, domainUser),
		Ns: proto.Int32(int32(msyncpb.Meta_STATISTIC)), Timestamp: proto.Uint64(uint64(at)),
		Payload: marshal(&msyncpb.Statistics{Operation: msyncpb.Statistics_INFORMATION.Enum(), Location: &location}),
	}
}

func bodyType(t msyncpb.Body_Type) *int32 { return proto.Int32(int32(t)) }

// marshal encodes a message of ours, which always works.
func marshal(m proto.Message) []byte {
	data, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return data
}
