package msync_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// startNodes starts nodes a, b, … on one NATS server.
func startNodes(t *testing.T, n int) []*server {
	t.Helper()
	nats := natstest.StartServer(t)
	nodes := make([]*server, n)
	for i := range nodes {
		nodes[i] = startServer(t, open, func(c *config.Config) {
			c.Log.NATS, c.Cluster.Node = config.ServerURLs(nats.URL()), string(rune('a'+i))
		})
	}
	for _, s := range nodes {
		eventually(t, "the node hears of all others", func() bool {
			view, _ := s.api("GET", "/v1/cluster", "").field("nodes").([]any)
			return len(view) == n
		})
	}
	return nodes
}

// TestWhoIsOnlineAtAnotherNode is told what is for those who are online, and not once its node is
// gone, or they have left.
func TestWhoIsOnlineAtAnotherNode(t *testing.T) {
	nodes := startNodes(t, 3)
	a, b, c := nodes[0], nodes[1], nodes[2]
	a.group("g1", "ann", "ben", "cleo", "dan", "eve")
	ann, ben, cleo, dan := a.login("ann", "web"), b.login("ben", "web"), c.login("cleo", "web"), a.login("dan", "web")
	tell := func(what string) {
		t.Helper()
		ann.ok(ann.sendMeta(&msyncpb.Meta{
			To: &msyncpb.Name{Name: proto.String("g1"), Domain: proto.String("conference.easemob.com")}, Ns: proto.Int32(1),
			Payload: encode(groupText(what, false)), Route: msyncpb.Meta_ONLINE.Enum(),
		}))
	}
	tell("who is here")
	for _, who := range []*client{ben, cleo, dan} {
		who.hears("text who is here from ann")
	}
	ann.ok(ann.sendMeta(&msyncpb.Meta{
		To: &msyncpb.Name{Name: proto.String("cleo"), Domain: proto.String("easemob.com")}, Ns: proto.Int32(1),
		Payload: encode(text("you there")), Route: msyncpb.Meta_ONLINE.Enum(),
	}))
	cleo.hears("text you there from ann")

	// What a client has not acknowledged before its node stops it is told again elsewhere.
	ben.settle()
	cleo.settle()
	ben.logout()
	c.stop()
	tell("and who is still here")
	dan.hears("text and who is still here from ann")
	for _, user := range []string{"ben", "cleo", "eve"} {
		a.login(user, "web").heardOnly()
	}
}

// TestSessionAtAnotherNodeIsRenewed when its user presents a new token here.
func TestSessionAtAnotherNodeIsRenewed(t *testing.T) {
	nodes := startNodes(t, 2)
	a, b := nodes[0], nodes[1]
	const ttl = 3 * time.Second
	short, _ := a.api("POST", appPath+"/users/ann/tokens", `{"ttl":"3s"}`).field("token").(string)
	conn, answer := dial(t, b.url(), identity{app, "ann", "web", short, nil})
	if answer.GetStatus().GetCode() != msyncpb.Status_OK {
		t.Fatal(answer)
	}
	conn.start()
	if r := a.call("GET", "/acme/chat/sdk/users/ann/token/expires", a.token("ann"), ""); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	time.Sleep(ttl + time.Second) // beyond the end of the first token
	ben := b.login("ben", "web")
	ben.ok(ben.sendBody("ann", false, text("still there")))
	conn.hears("text still there from ben")
}
