package msync

import (
	"log/slog"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
	"github.com/receiptd/receiptd/internal/inbox"
)

// FuzzStoredMessage: whatever an inbox holds, it is passed over, or goes onto a page that a client
// can read, as a message of the sender that it names; never as one of the device itself.
func FuzzStoredMessage(f *testing.F) {
	stored := func(m *msyncpb.Meta) []byte { return marshal(m) }
	from := func(user, device string) *msyncpb.Name {
		return &msyncpb.Name{Name: proto.String(user), Resource: proto.String(device)}
	}
	f.Add(stored(&msyncpb.Meta{Id: proto.Uint64(7), From: from("ben", "web"), Payload: []byte("x")}))
	f.Add(stored(&msyncpb.Meta{Id: proto.Uint64(7), From: from("ann", "web")}))
	f.Add(stored(&msyncpb.Meta{Id: proto.Uint64(7)}))
	f.Add([]byte{0x0a, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &Server{cfg: Config{Limits: Limits{}.withDefaults(), Logger: slog.New(slog.DiscardHandler)}, metrics: newMetrics(nil)}
		c := &session{srv: s, app: "acme#chat", user: "ann", device: "web"}
		var p page
		c.addMessage(&p, inbox.Item{Sequence: 9, Data: data})
		if len(p.metas) == 0 {
			return
		}
		m := p.metas[0]
		if m.From == nil || m.From.GetName() == "ann" && m.From.GetResource() == "web" {
			t.Errorf("%x: a message of %v", data, m.From)
		}
		var got msyncpb.Meta
		if err := proto.Unmarshal(marshal(m), &got); err != nil || !proto.Equal(&got, m) {
			t.Errorf("%x: %v is read as %v, %v", data, m, &got, err)
		}
	})
}
