package msync

import (
	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

// The SDK's decoder and ours do not agree about every byte: it goes by a field's number and takes
// the last copy, whatever its wire type, where ours takes a field of another wire type for one it
// does not know. A client that is passed such bytes on would see what the server never decided:
// another sender, another kind, a receipt. So what others get is made anew from what was
// understood, each field once, in its own wire type.

// parseBody reads a chat message or a receipt, and forgets at every depth what it does not know.
func parseBody(payload []byte) (*msyncpb.Body, error) {
	body := new(msyncpb.Body)
	return body, proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(payload, body)
}

// relayedMessage is a chat message as its recipients get it, but for sender and recipient. Its type
// is that of the conversation it goes to.
func relayedMessage(body *msyncpb.Body, group bool) *msyncpb.Body {
	m := &msyncpb.Body{Type: bodyType(msyncpb.Body_CHAT), Contents: body.GetContents(), Ext: body.GetExt()}
	if group {
		m.Type, m.Config = bodyType(msyncpb.Body_GROUPCHAT), body.GetConfig()
	}
	return m
}

// relayedRecall is a recall as its recipients get it, but for sender and recipient.
func relayedRecall(body *msyncpb.Body) *msyncpb.Body {
	return &msyncpb.Body{
		Type: bodyType(msyncpb.Body_RECALL), AckMessageId: body.AckMessageId,
		Contents: []*msyncpb.Body_Content{{}}, Ext: body.GetExt(),
	}
}
