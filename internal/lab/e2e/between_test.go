package e2e

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// TestKilledBetweenLogAndInboxes kills the server where a message is in the log and in no inbox,
// and where its body is stored and no reference to it. Nobody is shown it then; once its sender
// sends it again with its number it is the same message, and reaches its recipient once.
func TestKilledBetweenLogAndInboxes(t *testing.T) {
	const inboxes = "receipts.inbox.v2"
	references := inboxes + "." + base64.RawURLEncoding.EncodeToString([]byte(betweenApp)) + ".u"
	for name, x := range map[string]struct {
		subject string // below which nothing is stored any more
		text    string
	}{
		"a message":                   {inboxes, "text"},
		"a body":                      {inboxes, strings.Repeat("long ", 1000)},
		"the references, with a body": {references, strings.Repeat("long ", 1000)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := natstest.StartProxy(t, natstest.StartServer(t).Addr())
			s := startServer(t, "--nats="+proxy.URL(), "--partitions=1")
			s.must("PUT", appPath(betweenApp), map[string]any{}, nil)
			s.apply(betweenApp, events.Event{Kind: events.GroupCreated, Group: "g", User: "ann", Members: []string{"ben"}})
			ann := dialSDK(s, "ann")
			first := ann.sent(1, "first") // the app has its stream of inboxes

			caught := proxy.Snare(x.subject)
			ann.send(2, x.text)
			select {
			case <-caught:
			case <-time.After(patience):
				t.Fatal("nothing was on its way to the inboxes")
			}
			s.kill()
			proxy.Cut()
			s.start()

			if n := s.inGroup(); n != 2 {
				t.Errorf("%d messages are in the log, want 2: the kill was not between log and inboxes", n)
			}
			ann = dialSDK(s, "ann")
			before, again, last := ann.sent(3, "before"), ann.sent(2, x.text), ann.sent(4, "last")
			if got, want := dialSDK(s, "ben").shown(last), []uint64{first, before, again, last}; !slices.Equal(got, want) {
				t.Errorf("ben is shown %v, want %v", got, want)
			}
			if n := s.inGroup(); n != 4 {
				t.Errorf("%d messages are in the log, want 4", n)
			}
			s.verify()
		})
	}
}

// TestKilledBetweenTheInboxesOfAGroup kills the server where some members of a small group have a
// message in their inboxes and others do not. Sent again with its number, it reaches those, and
// comes to the others under the id that they know.
func TestKilledBetweenTheInboxesOfAGroup(t *testing.T) {
	t.Parallel()
	proxy := natstest.StartProxy(t, natstest.StartServer(t).Addr())
	s := startServer(t, "--nats="+proxy.URL(), "--partitions=1")
	s.must("PUT", appPath(betweenApp), map[string]any{}, nil)
	s.apply(betweenApp, events.Event{Kind: events.GroupCreated, Group: "g", User: "ann", Members: []string{"ben", "cleo"}})
	ann := dialSDK(s, "ann")
	first := ann.sent(1, "first")

	encode := base64.RawURLEncoding.EncodeToString
	caught := proxy.Snare("receipts.inbox.v2." + encode([]byte(betweenApp)) + ".u." + encode([]byte("cleo")))
	ann.send(2, "text")
	select {
	case <-caught:
	case <-time.After(patience):
		t.Fatal("nothing was on its way to cleo's inbox")
	}
	s.kill()
	proxy.Cut()
	s.start()

	ann = dialSDK(s, "ann")
	between := ann.sent(3, "between")
	if got := dialSDK(s, "cleo").shown(between); !slices.Equal(got, []uint64{first, between}) {
		t.Errorf("cleo is shown %v, and should not have what was caught", got)
	}
	if got := dialSDK(s, "ben").shown(between); len(got) != 3 {
		t.Errorf("ben is shown %v, and should have all three", got)
	}
	again, last := ann.sent(2, "text"), ann.sent(4, "last")
	if got, want := dialSDK(s, "cleo").shown(last), []uint64{first, between, again, last}; !slices.Equal(got, want) {
		t.Errorf("cleo is shown %v, want %v", got, want)
	}
	// Ben's client drops what comes again by its id.
	if got, want := dialSDK(s, "ben").shown(last), []uint64{first, again, between, again, last}; !slices.Equal(got, want) {
		t.Errorf("ben is shown %v, want %v", got, want)
	}
	s.verify()
}

const betweenApp = "lab#between"

// inGroup is how many messages of the group are in the log.
func (s *server) inGroup() int {
	s.t.Helper()
	var answer struct{ Messages []any }
	s.must("GET", appPath(betweenApp)+"/groups/g/messages", nil, &answer)
	return len(answer.Messages)
}

// sdkConn is a connection that speaks the SDK's protocol frame by frame, so that what is sent again
// has the number that it had.
type sdkConn struct {
	t    testing.TB
	user string
	conn *websocket.Conn
	ctx  context.Context
}

// dialSDK logs a user in.
func dialSDK(s *server, user string) *sdkConn {
	s.t.Helper()
	var answer struct{ Token string }
	s.must("POST", appPath(betweenApp)+"/users/"+user+"/tokens", map[string]any{}, &answer)
	base, _ := s.address()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	s.t.Cleanup(cancel)
	conn, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(base, "http")+"/websocket", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.CloseNow() })
	c := &sdkConn{s.t, user, conn, ctx}
	app, device := betweenApp, proto.String("web")
	c.write(&msyncpb.Frame{
		Command: msyncpb.Frame_PROVISION.Enum(), Auth: proto.String("$t$" + answer.Token),
		Guid:    &msyncpb.Name{AppKey: &app, Name: &user, Domain: proto.String("easemob.com"), Resource: device},
		Payload: c.encode(&msyncpb.Provision{Resource: device, SessionId: proto.String("1:")}),
	})
	if status := read(c, msyncpb.Frame_PROVISION, new(msyncpb.Provision)).GetStatus(); status.GetCode() != msyncpb.Status_OK {
		s.t.Fatalf("login of %s: %v", user, status)
	}
	return c
}

// send sends a message to the group under a number.
func (c *sdkConn) send(number uint64, text string) {
	group := &msyncpb.Name{Name: proto.String("g"), Domain: proto.String("conference.easemob.com")}
	body := &msyncpb.Body{
		Type: proto.Int32(int32(msyncpb.Body_GROUPCHAT)), From: &msyncpb.Name{Name: &c.user}, To: group,
		Contents: []*msyncpb.Body_Content{{Type: proto.Int32(0), Text: &text}},
	}
	c.write(&msyncpb.Frame{Payload: c.encode(&msyncpb.SyncUp{Meta: &msyncpb.Meta{
		Id: &number, To: group, Ns: proto.Int32(int32(msyncpb.Meta_CHAT)), Payload: c.encode(body),
	}})})
}

// sent sends a message and returns the id that the server gave it.
func (c *sdkConn) sent(number uint64, text string) uint64 {
	c.t.Helper()
	c.send(number, text)
	for {
		down := read(c, msyncpb.Frame_SYNC, new(msyncpb.SyncDown))
		if down.GetMetaId() != number {
			continue
		}
		if status := down.GetStatus(); status.GetCode() != msyncpb.Status_OK {
			c.t.Fatalf("message %d of %s: %v", number, c.user, status)
		}
		return down.GetServerId()
	}
}

// shown takes the inbox up to a message, and returns the ids in it.
func (c *sdkConn) shown(last uint64) (ids []uint64) {
	c.t.Helper()
	queue := &msyncpb.Name{Name: proto.String("inbox:" + c.user)}
	for up := (&msyncpb.SyncUp{Queue: queue}); !slices.Contains(ids, last); {
		c.write(&msyncpb.Frame{Payload: c.encode(up)})
		page := read(c, msyncpb.Frame_SYNC, new(msyncpb.SyncDown))
		for _, meta := range page.Metas {
			ids = append(ids, meta.GetId())
		}
		up = &msyncpb.SyncUp{Queue: queue, Key: page.NextKey}
	}
	return ids
}

func (c *sdkConn) encode(m proto.Message) []byte {
	c.t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		c.t.Fatal(err)
	}
	return data
}

func (c *sdkConn) write(f *msyncpb.Frame) {
	c.t.Helper()
	if err := c.conn.Write(c.ctx, websocket.MessageBinary, c.encode(f)); err != nil {
		c.t.Fatal(fmt.Errorf("write for %s: %w", c.user, err))
	}
}

// read reads the next frame of a command.
func read[M proto.Message](c *sdkConn, command msyncpb.Frame_Command, m M) M {
	c.t.Helper()
	for {
		_, data, err := c.conn.Read(c.ctx)
		if err != nil {
			c.t.Fatal(fmt.Errorf("read for %s: %w", c.user, err))
		}
		var frame msyncpb.Frame
		if err := proto.Unmarshal(data, &frame); err != nil {
			c.t.Fatal(err)
		}
		if frame.GetCommand() != command {
			continue
		}
		if err := proto.Unmarshal(frame.GetPayload(), m); err != nil {
			c.t.Fatal(err)
		}
		return m
	}
}
