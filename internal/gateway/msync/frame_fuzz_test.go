package msync

import (
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

// FuzzFrame: whatever bytes come, a frame is refused, or becomes a request whose event is valid or
// refused.
func FuzzFrame(f *testing.F) {
	text := "hello"
	meta := func(b *msyncpb.Body) []byte {
		return encode(msyncpb.Frame_SYNC, &msyncpb.SyncUp{Meta: &msyncpb.Meta{
			Id: proto.Uint64(1), To: &msyncpb.Name{Name: proto.String("bob"), Domain: proto.String(domainGroup)}, Ns: proto.Int32(1), Payload: marshal(b),
		}})
	}
	for t := range int32(10) {
		f.Add(meta(&msyncpb.Body{Type: &t, Contents: []*msyncpb.Body_Content{{Text: &text}}, AckMessageId: proto.Uint64(7), AckContent: &text}))
	}
	f.Add(encode(msyncpb.Frame_PROVISION, &msyncpb.Provision{Resource: &text}))
	f.Add(encode(msyncpb.Frame_UNREAD, &msyncpb.SyncUp{}))
	f.Add(encode(msyncpb.Frame_SYNC, &msyncpb.SyncUp{Queue: &msyncpb.Name{}, Key: proto.Uint64(1 << 63)}))
	f.Add([]byte{0xff})
	f.Add(protowire.AppendVarint(nil, 1<<63))
	c := &session{srv: &Server{cfg: Config{Limits: Limits{}.withDefaults()}}, app: "acme#chat", user: "ann", device: "web"}
	f.Fuzz(func(t *testing.T, data []byte) {
		rq, err := decode(data)
		if err != nil {
			return
		}
		_ = commandName(rq)
		if rq.meta == nil {
			return
		}
		x := &pendingSend{id: 42, at: time.Now()}
		if refused := c.classify(x, rq.meta); refused != nil {
			if refused.code == msyncpb.Status_OK || refused.reason == "" {
				t.Errorf("refused with %v", refused)
			}
			return
		}
		if x.event.User != "ann" || x.event.App != "acme#chat" {
			t.Errorf("an event of somebody else: %+v", x.event)
		}
		if x.event.Kind == events.KindUnknown {
			return // a command
		}
		if x.event.Kind.Internal() || x.event.Validate() == nil && x.event.Kind == events.MessageSent && x.event.Message != "42" {
			t.Errorf("event %+v", x.event)
		}
	})
}
