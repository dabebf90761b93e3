package msync_test

import (
	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

// sendBody sends a Meta and returns its id, without waiting.
func (c *client) sendBody(to string, group bool, b *msyncpb.Body) uint64 {
	domain := "easemob.com"
	if group {
		domain = "conference.easemob.com"
	}
	b.From, b.To = &msyncpb.Name{Name: proto.String("somebody else")}, &msyncpb.Name{Name: &to}
	return c.sendMeta(&msyncpb.Meta{
		To: &msyncpb.Name{AppKey: proto.String(app), Name: &to, Domain: &domain}, Ns: proto.Int32(1), Payload: encode(b),
	})
}

func (c *client) sendMeta(m *msyncpb.Meta) uint64 {
	c.mu.Lock()
	c.nextID++
	id := c.nextID
	c.mu.Unlock()
	m.Id = &id
	c.sync(&msyncpb.SyncUp{Meta: m})
	return id
}

// answer waits for the answer to a send.
func (c *client) answer(id uint64) *msyncpb.SyncDown {
	c.t.Helper()
	var a *msyncpb.SyncDown
	c.await("the answer to a send", func() bool { a = c.answers[id]; return a != nil })
	if a.GetServerId() == 0 {
		c.t.Error("an answer without a server id")
	}
	return a
}

// ok waits for an answer that says OK and returns the server's id.
func (c *client) ok(id uint64) uint64 {
	c.t.Helper()
	a := c.answer(id)
	if a.Status.GetCode() != msyncpb.Status_OK {
		c.t.Fatalf("%s: %v %s", c.user, a.Status.GetCode(), a.Status.GetReason())
	}
	return a.GetServerId()
}

// refused waits for an answer that says FAIL and checks the reason.
func (c *client) refused(id uint64, reason string) {
	c.t.Helper()
	a := c.answer(id)
	if a.Status.GetCode() != msyncpb.Status_FAIL || a.Status.GetReason() != reason {
		c.t.Errorf("answer %v %q, want FAIL %q", a.Status.GetCode(), a.Status.GetReason(), reason)
	}
}

func text(s string) *msyncpb.Body {
	return &msyncpb.Body{Type: proto.Int32(int32(msyncpb.Body_CHAT)), Contents: []*msyncpb.Body_Content{{Text: &s}}}
}

func groupText(s string, receipt bool) *msyncpb.Body {
	b := text(s)
	b.Type = proto.Int32(int32(msyncpb.Body_GROUPCHAT))
	if receipt {
		b.Config = &msyncpb.Body_Config{AllowGroupAck: proto.Bool(true)}
	}
	return b
}

func receipt(t msyncpb.Body_Type, message uint64) *msyncpb.Body {
	b := &msyncpb.Body{Type: proto.Int32(int32(t)), Contents: []*msyncpb.Body_Content{{}}}
	if message != 0 {
		b.AckMessageId = &message
	}
	return b
}

func readReceipt(message uint64) *msyncpb.Body { return receipt(msyncpb.Body_READ_ACK, message) }

func groupRead(message uint64, content string) *msyncpb.Body {
	b := readReceipt(message)
	b.Config = &msyncpb.Body_Config{AllowGroupAck: proto.Bool(true)}
	if content != "" {
		b.AckContent = &content
	}
	return b
}

func conversationRead() *msyncpb.Body { return receipt(msyncpb.Body_CHANNEL_ACK, 0) }
