package msync

import (
	"encoding/json"
	"slices"

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

// breaksTheSDK reports whether a body has what the SDK fails on: it parses what claims to be JSON,
// and a page on which it fails is never acknowledged, so that it comes again for ever and nothing
// after it does.
func breaksTheSDK(body *msyncpb.Body) bool {
	return slices.ContainsFunc(body.GetExt(), noJSON) || slices.ContainsFunc(body.GetContents(), func(c *msyncpb.Body_Content) bool {
		return slices.ContainsFunc(c.GetParams(), noJSON) || slices.ContainsFunc(c.GetCustomExts(), noJSON)
	})
}

// noJSON reports whether a value claims to be JSON and is not.
func noJSON(kv *msyncpb.KeyValue) bool {
	return kv.GetType() == int32(msyncpb.KeyValue_JSON) && !json.Valid([]byte(kv.GetStringValue()))
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
