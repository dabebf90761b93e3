package msync_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

// large is a body of about 60 KiB.
func large() *msyncpb.Body { return text(strings.Repeat("large", 12<<10)) }

// A user who sends large messages as fast as they can is read no faster than so many bytes a
// second, on all connections together, and on one that was opened after the others were closed.
// Others are answered meanwhile, and so is the user in the end.
func TestBytesOfAUserAreBounded(t *testing.T) {
	const size, rate = 60 << 10, 256 << 10 // the least that is allowed
	s := startServer(t, open, func(c *config.Config) { c.SDK.SendsPerSecond = 2 })
	delayed := func() float64 { return s.metric(`receiptd_sdk_reads_delayed_total{by="user"}`) }
	pour := func(devices ...string) {
		var all sync.WaitGroup
		ctx, cancel := context.WithCancel(context.Background())
		most := delayed() + float64(len(devices))
		for _, device := range devices {
			c := s.dial("mallory", device)
			frame := frameTo("ann", large())
			all.Go(func() {
				for { // the answers
					if _, _, err := c.conn.Read(context.Background()); err != nil {
						return
					}
				}
			})
			all.Go(func() {
				for c.conn.Write(ctx, websocket.MessageBinary, frame) == nil {
				}
				c.cut()
			})
		}
		bob := s.login("bob", strings.Join(devices, "-"))
		bob.ok(bob.sendBody("ann", false, text("hello")))
		for end := time.Now().Add(3 * time.Second); delayed() < most && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond)
		}
		cancel()
		all.Wait()
	}
	began := time.Now()
	pour("web", "phone")
	eventually(t, "only bob is there", func() bool { return s.metric("receiptd_sdk_sessions") == 1 })
	pour("web")
	// One is read of each connection before it waits.
	most := 10*rate + rate*time.Since(began).Seconds() + 3*size
	if n := s.metric(`receiptd_sdk_frames_total{command="send"}`); (n-2)*size > most {
		t.Errorf("%v large messages were read in %s, of which %.0f may be", n-2, time.Since(began), most/size)
	} else if n < 10 {
		t.Errorf("%v messages were read, which is no flood", n)
	}
	if n := delayed(); n < 3 {
		t.Errorf("reads were delayed %v times on three connections", n)
	}
	again := s.login("mallory", "tablet")
	again.answer(again.sendBody("ann", false, text("x")))
}

// frameTo is a frame that sends a message to a user, the same each time.
func frameTo(peer string, b *msyncpb.Body) []byte {
	b.To = &msyncpb.Name{Name: &peer}
	to := &msyncpb.Name{AppKey: proto.String(app), Name: &peer, Domain: proto.String("easemob.com")}
	meta := &msyncpb.Meta{Id: proto.Uint64(1), To: to, Ns: proto.Int32(1), Payload: encode(b)}
	return encode(&msyncpb.Frame{Payload: encode(&msyncpb.SyncUp{Meta: meta})})
}

// A user who sends large messages as a client does that was away for long, and on several devices,
// notices nothing of the bounds.
func TestBurstsOfLargeMessagesAreTaken(t *testing.T) {
	s := startServer(t, open)
	var all sync.WaitGroup
	for _, device := range []string{"web", "phone", "tablet"} {
		c := s.login("ann", device)
		all.Go(func() {
			var ids []uint64
			for range 40 {
				ids = append(ids, c.sendBody("ben", false, large()))
			}
			for _, id := range ids {
				c.ok(id)
			}
		})
	}
	all.Wait()
	for _, by := range []string{"user", "share"} {
		if n := s.metric(`receiptd_sdk_reads_delayed_total{by="` + by + `"}`); n != 0 {
			t.Errorf("reads were delayed %v times by %s", n, by)
		}
	}
}
