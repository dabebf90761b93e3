package msync

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

// classify finds out which event a Meta stands for, and what its recipients get.
func (c *session) classify(x *pendingSend, meta *msyncpb.Meta) *refusal {
	if meta.GetNs() != int32(msyncpb.Meta_CHAT) {
		return &sendUnsupported
	}
	if len(meta.GetPayload()) > c.srv.cfg.Limits.BodyBytes {
		return &sendTooLarge
	}
	body, err := parseBody(meta.GetPayload())
	if err != nil || breaksTheSDK(body) {
		return &sendMalformed
	}
	e := &x.event
	*e = events.Event{App: c.app, User: c.user, Time: x.at.UnixMilli()}
	group := meta.GetTo().GetDomain() == domainGroup
	if group {
		e.Group = meta.GetTo().GetName()
	} else {
		e.Peer = meta.GetTo().GetName()
	}
	switch t := msyncpb.Body_Type(body.GetType()); t {
	case msyncpb.Body_NORMAL, msyncpb.Body_CHAT, msyncpb.Body_GROUPCHAT:
		if len(body.GetContents()) == 0 {
			return &sendMalformed // the SDK shows no message without one
		}
		x.body, x.route, x.directed = relayedMessage(body, group), meta.GetRoute(), meta.GetDirectedUsers()
		x.id = c.idOf(x, meta)
		if body.Contents[0].GetType() == int32(msyncpb.Body_Content_COMMAND) {
			return c.checkCommand(e)
		}
		e.Kind, e.Message = events.MessageSent, decimal(x.id)
		e.Receipt = group && body.GetConfig().GetAllowGroupAck()
	case msyncpb.Body_READ_ACK:
		e.Kind, e.Strict, e.Content = events.MessageRead, true, body.GetAckContent()
		return about(e, body)
	case msyncpb.Body_DELIVER_ACK:
		e.Kind, e.Strict = events.MessageDelivered, true
		return about(e, body)
	case msyncpb.Body_CHANNEL_ACK:
		e.Kind, e.EventID = events.ConversationRead, c.eventID(x.metaID)
		c.ownReads.add(e.EventID)
	case msyncpb.Body_RECALL:
		e.Kind, e.Strict, e.EventID, x.body = events.MessageRecalled, true, c.eventID(x.metaID), relayedRecall(body)
		x.id = c.idOf(x, meta)
		return about(e, body)
	default:
		return &sendUnsupported
	}
	return nil
}

// idOf is the id of a message, or of the notice of a recall: made of whose it is, of the number
// that the device gives it, and of all that it says. So one that is sent again, since it was
// refused or its answer was lost, is the same message to the log and to those who get it, at
// whichever node and after whatever crash; one that says something else is another one, whatever
// its number.
func (c *session) idOf(x *pendingSend, meta *msyncpb.Meta) uint64 {
	if x.metaID == 0 {
		return x.id
	}
	h := sha256.New()
	var size [8]byte
	for _, part := range [...]string{c.app, c.user, c.device, meta.GetTo().GetDomain(), meta.GetTo().GetName(), decimal(x.metaID)} {
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		h.Write([]byte(part))
	}
	h.Write(meta.GetPayload())
	var sum [sha256.Size]byte
	// 63 bits, as the other ids, and never 0.
	return binary.BigEndian.Uint64(h.Sum(sum[:0]))>>1 | 1
}

// eventID names what a device sends by the number that it gives it, so that a frame that the SDK
// sends again, on another connection, is the same event. What means "up to now" needs that, and a
// recall, so that the same one is told from another one of the same message; a receipt counts once
// anyway, and so does a message by its id.
func (c *session) eventID(metaID uint64) string {
	if metaID == 0 {
		return ""
	}
	return events.EventIDOf("sdk/" + c.device + "/" + decimal(metaID))
}

// about fills in the message that a receipt or a recall is about. The SDK sends 0 for an id that is
// no number.
func about(e *events.Event, body *msyncpb.Body) *refusal {
	if body.GetAckMessageId() == 0 {
		if e.Group == "" {
			return &sendNoMessage
		}
		return &sendNotFound
	}
	e.Message = decimal(body.GetAckMessageId())
	return nil
}

// checkCommand checks what the log does not see, since a command is no event.
func (c *session) checkCommand(e *events.Event) *refusal {
	if to := e.Group + e.Peer; events.IDProblem(to) != "" {
		return &sendMalformed
	}
	return nil
}
