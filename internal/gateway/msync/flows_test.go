package msync_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

func TestSingleChat(t *testing.T) {
	s := startServer(t, open)
	alice, bob, phone := s.login("alice", "web"), s.login("bob", "web"), s.login("bob", "phone")
	bob.deliver, phone.deliver = true, true

	m := alice.ok(alice.sendBody("bob", false, text("hello")))
	bob.hears("text hello from alice")
	phone.hears("text hello from alice")
	delivered := fmt.Sprintf("delivered %d to bob", m)
	alice.hears(delivered)
	bob.ok(bob.sendBody("alice", false, readReceipt(m)))
	read := fmt.Sprintf("read %d by bob", m)
	alice.hears(read)
	// A repeat is a success that nobody is told of.
	bob.ok(bob.sendBody("alice", false, readReceipt(m)))

	m2 := alice.ok(alice.sendBody("bob", false, text("and")))
	delivered2 := fmt.Sprintf("delivered %d to bob", m2)
	alice.hears(delivered2)
	bob.ok(bob.sendBody("alice", false, conversationRead()))
	alice.hears("conversation read by bob")
	bob.heardOnly("text hello from alice", "text and from alice")
	// What bob has read on one device he has read on the other.
	phone.hears("conversation read by bob")
	phone.heardOnly("text hello from alice", "text and from alice", "conversation read by bob")
	// Two devices of bob have sent a delivery receipt each.
	alice.heardOnly(delivered, read, delivered2, "conversation read by bob")

	for _, id := range []uint64{m, m2} {
		if a := s.api("GET", fmt.Sprintf("%s/messages/%d", appPath, id), ""); a.field("read") != 1.0 || a.field("delivered") != 1.0 {
			t.Errorf("the HTTP API shows %s", a.body)
		}
	}
}

// A conversation read means what was sent before it. Its frame that is sent again, because an
// answer was lost, reads nothing that came in between.
func TestFrameSentAgainIsTheSameEvent(t *testing.T) {
	s := startServer(t, open)
	alice, bob := s.login("alice", "web"), s.login("bob", "web")
	first := alice.ok(alice.sendBody("bob", false, text("one")))
	frame := bob.sendBody("alice", false, conversationRead())
	bob.ok(frame)
	second := alice.ok(alice.sendBody("bob", false, text("two")))
	bob.logout()
	bob = s.login("bob", "web")
	bob.nextID = frame - 1
	bob.ok(bob.sendBody("alice", false, conversationRead()))
	for id, want := range map[uint64]any{first: 1.0, second: 0.0} {
		if a := s.api("GET", fmt.Sprintf("%s/messages/%d", appPath, id), ""); a.field("read") != want {
			t.Errorf("the HTTP API shows %s", a.body)
		}
	}
	bob.ok(bob.sendBody("alice", false, conversationRead()))
	if a := s.api("GET", fmt.Sprintf("%s/messages/%d", appPath, second), ""); a.field("read") != 1.0 {
		t.Errorf("the HTTP API shows %s", a.body)
	}
}

func TestGroupChat(t *testing.T) {
	s := startServer(t, open)
	s.group("g1", "ann", "ben", "cleo", "dan")
	ann, ben, cleo := s.login("ann", "web"), s.login("ben", "web"), s.login("cleo", "web")

	m := ann.ok(ann.sendBody("g1", true, groupText("meeting", true)))
	ben.hears("text meeting from ann")
	cleo.hears("text meeting from ann")
	ben.ok(ben.sendBody("g1", true, groupRead(m, `{"seen":true}`)))
	one := fmt.Sprintf(`group read %d=1 by ben: {"seen":true}`, m)
	ann.hears(one)
	ben.ok(ben.sendBody("g1", true, groupRead(m, "again")))
	ann.ok(ann.sendBody("g1", true, groupRead(m, ""))) // the sender's own read does not count
	cleo.ok(cleo.sendBody("g1", true, groupRead(m, "")))
	two := fmt.Sprintf(`group read %d=2 by cleo: `, m)
	ann.hears(two)
	ben.ok(ben.sendBody("g1", true, conversationRead())) // tells nobody
	ann.heardOnly(one, two)

	readers := s.call("GET", fmt.Sprintf("/acme/chat/chatgroups/g1/acks/%d?limit=500&key=undefined", m), s.token("ann"), "")
	if got := fmt.Sprint(readers.field("data", "userlist"), readers.field("data", "total"), readers.field("data", "is_last")); got != "[ben cleo] 2 true" {
		t.Errorf("readers over REST: %s, %s", got, readers.body)
	}

	cleo.refused(cleo.sendBody("g1", true, receipt(msyncpb.Body_RECALL, m)), "permission denied")
	ann.ok(ann.sendBody("g1", true, receipt(msyncpb.Body_RECALL, m)))
	recalled := fmt.Sprintf("recall %d by ann", m)
	ben.hears(recalled)
	cleo.hears(recalled)
	ann.ok(ann.sendBody("g1", true, receipt(msyncpb.Body_RECALL, m))) // again: nobody is told twice
	cleo.heardOnly("text meeting from ann", recalled)
}

func TestErrorTexts(t *testing.T) {
	s := startServer(t, `{"group_receipts":{"enabled":false}}`)
	s.group("g1", "ann", "ben")
	s.group("others", "cleo", "dan")
	ann, ben := s.login("ann", "web"), s.login("ben", "web")
	plain := ann.ok(ann.sendBody("g1", true, groupText("x", false)))

	ann.refused(ann.sendBody("g1", true, groupText("x", true)), "group ack not open")
	ben.refused(ben.sendBody("g1", true, groupRead(plain, "")), "group ack not open")
	s.configure(`{"group_receipts":{"enabled":true,"who_may_request":"admins"}}`)
	ben.refused(ben.sendBody("g1", true, groupText("x", true)), "group ack msg permission denied")
	asked := ann.ok(ann.sendBody("g1", true, groupText("x", true)))
	s.configure(`{"group_receipts":{"validity":"1ms"}}`)
	// The read comes later than that by the log's clock, which has ms.
	time.Sleep(10 * time.Millisecond)
	ben.refused(ben.sendBody("g1", true, groupRead(asked, "")), "group ack msg not found")

	ben.refused(ben.sendBody("g1", true, groupRead(plain, "")), "group ack msg not found")
	ben.refused(ben.sendBody("g1", true, groupRead(12345, "")), "group ack msg not found")
	ben.refused(ben.sendBody("ann", false, readReceipt(12345)), "message not found")
	ben.refused(ben.sendBody("ann", false, readReceipt(0)), "message not found")
	ben.refused(ben.sendBody("nowhere", true, groupText("x", false)), "not in group or chatroom")
	ben.refused(ben.sendBody("others", true, groupText("x", false)), "not in group or chatroom")
	ben.refused(ben.sendBody("", false, text("x")), "group: missing: name a group or a peer")
	ben.refused(ben.sendBody("ann", false, &msyncpb.Body{Type: proto.Int32(1)}), "malformed message")
	ben.refused(ben.sendBody("ann", false, &msyncpb.Body{Type: proto.Int32(8)}), "not supported")
	ben.refused(ben.sendMeta(&msyncpb.Meta{Ns: proto.Int32(3)}), "not supported")
	ben.refused(ben.sendMeta(&msyncpb.Meta{Ns: proto.Int32(1), Payload: []byte{0xff}}), "malformed message")

	// A delivery receipt is never refused: the SDK sends it unasked.
	ben.ok(ben.sendBody("ann", false, receipt(msyncpb.Body_DELIVER_ACK, 12345)))

	// With PERMISSION_DENIED the SDK knows two reasons only.
	a := ben.answer(ben.sendBody("ann", false, text(string(make([]byte, 70<<10)))))
	if a.Status.GetCode() != msyncpb.Status_PERMISSION_DENIED || a.Status.GetReason() != "Sorry, data is too large" {
		t.Errorf("a large message is answered with %v", a.Status)
	}
	a = ben.answer(ben.sendBody("g1", true, groupRead(asked, string(make([]byte, 5000)))))
	if a.Status.GetCode() != msyncpb.Status_PERMISSION_DENIED {
		t.Errorf("a large content is answered with %v", a.Status)
	}
}

// TestEdgesAgree: what comes in by one edge is seen at the others.
func TestEdgesAgree(t *testing.T) {
	s := startServer(t, open)
	s.group("g1", "ann", "ben", "cleo")
	ann := s.login("ann", "web")
	m := ann.ok(ann.sendBody("g1", true, groupText("x", true)))
	s.applied(fmt.Sprintf(`{"type":"message.read","message":"%d","user":"ben","group":"g1","content":"by HTTP"}`, m))
	ann.hears(fmt.Sprintf("group read %d=1 by ben: by HTTP", m))

	// A backend's own ids have no room in a receipt, but in a statistic.
	s.applied(`[{"type":"message.sent","id":"m-7","from":"ann","group":"g1","receipt":true},
		{"type":"message.read","message":"m-7","user":"ben","group":"g1"}]`)
	ann.hears("statistic m-7=1")

	s.applied(fmt.Sprintf(`[{"type":"message.sent","id":"77","from":"ann","peer":"cleo"},
		{"type":"message.delivered","message":"77","user":"cleo","peer":"ann"},{"type":"message.read","message":"77","user":"cleo","peer":"ann"},
		{"type":"message.read","message":"%d","user":"cleo","group":"g1"}]`, m))
	ann.hears("delivered 77 to cleo", "read 77 by cleo", fmt.Sprintf("group read %d=2 by cleo: ", m))

	readers := s.api("GET", fmt.Sprintf("%s/messages/%d/readers", appPath, m), "")
	if readers.field("total") != 2.0 {
		t.Errorf("readers over HTTP: %s", readers.body)
	}
}

func TestCommandsArePassedOnAndNotRecorded(t *testing.T) {
	s := startServer(t, open)
	s.group("g1", "ann", "ben")
	ann, ben, cleo := s.login("ann", "web"), s.login("ben", "web"), s.login("cleo", "web")
	command := groupText("typing", false)
	command.Contents[0].Type = proto.Int32(int32(msyncpb.Body_Content_COMMAND))
	id := ann.ok(ann.sendBody("g1", true, proto.Clone(command).(*msyncpb.Body)))
	ben.hears("text typing from ann")
	if a := s.api("GET", fmt.Sprintf("%s/messages/%d", appPath, id), ""); a.status != 404 {
		t.Errorf("a command is recorded: %s", a.body)
	}
	cleo.refused(cleo.sendBody("g1", true, proto.Clone(command).(*msyncpb.Body)), "not in group or chatroom")
	cleo.refused(cleo.sendBody("g2", true, command), "not in group or chatroom")
}

func TestRoutes(t *testing.T) {
	s := startServer(t, open)
	s.group("g1", "ann", "ben", "cleo")
	ann, ben, cleo := s.login("ann", "web"), s.login("ben", "web"), s.login("cleo", "web")
	group := &msyncpb.Name{Name: proto.String("g1"), Domain: proto.String("conference.easemob.com")}
	ann.ok(ann.sendMeta(&msyncpb.Meta{
		To: group, Ns: proto.Int32(1), Payload: encode(groupText("for ben", false)),
		Route: msyncpb.Meta_DIRECTED.Enum(), DirectedUsers: []string{"ben", "stranger"},
	}))
	ben.hears("text for ben from ann")
	cleo.logout()
	ann.ok(ann.sendMeta(&msyncpb.Meta{
		To: group, Ns: proto.Int32(1), Payload: encode(groupText("who is here", false)), Route: msyncpb.Meta_ONLINE.Enum(),
	}))
	ben.hears("text who is here from ann")
	s.login("cleo", "web").heardOnly()
}

// TestReplayAfterSDKTraffic: what the SDK did is in the log, all of it.
func TestReplayAfterSDKTraffic(t *testing.T) {
	s := startServer(t, open)
	s.group("g1", "ann", "ben", "cleo")
	ann, ben := s.login("ann", "web"), s.login("ben", "web")
	ben.deliver = true
	for i := range 20 {
		m := ann.ok(ann.sendBody("g1", true, groupText(fmt.Sprint(i), true)))
		ben.ok(ben.sendBody("g1", true, groupRead(m, "")))
		d := ann.ok(ann.sendBody("ben", false, text(fmt.Sprint(i))))
		ben.ok(ben.sendBody("ann", false, readReceipt(d)))
	}
	ben.ok(ben.sendBody("ann", false, conversationRead()))
	ann.settle()
	result, err := s.Projector.Rebuild(t.Context(), projector.RebuildOptions{Switch: true})
	if err != nil || !result.Equal {
		t.Fatalf("replay: %+v, %v", result, err)
	}
	m := ann.ok(ann.sendBody("g1", true, groupText("after", true)))
	ben.ok(ben.sendBody("g1", true, groupRead(m, "")))
	ann.hears(fmt.Sprintf("group read %d=1 by ben: ", m))
}

// TestOutsideNATS: with a server of its own, receiptd keeps log, inboxes and accounts there.
func TestOutsideNATS(t *testing.T) {
	nats := natstest.StartServer(t)
	s := startServer(t, open, func(c *config.Config) { c.Log.NATS = config.ServerURLs(nats.URL()) })
	s.call("POST", "/acme/chat/users", "", `{"username":"ann","password":"secret"}`)
	ann, ben := s.login("ann", "web"), s.login("ben", "web")
	m := ann.ok(ann.sendBody("ben", false, text("x")))
	ben.hears("text x from ann")
	ann.logout()
	ben.ok(ben.sendBody("ann", false, readReceipt(m)))
	ben.ok(ben.sendBody("ann", false, text("y")))
	s.restart()
	s.login("ann", "web").hears("text y from ben", fmt.Sprintf("read %d by ben", m))
	if a := s.call("POST", "/acme/chat/token", "", `{"grant_type":"password","username":"ann","password":"secret"}`); a.status != 200 {
		t.Errorf("login after a restart: %d %s", a.status, a.body)
	}
}
