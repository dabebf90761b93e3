package easemob_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// startNodes starts nodes a and b on one NATS server.
func startNodes(t *testing.T) (a, b *server) {
	nats := natstest.StartServer(t)
	start := func(name string) *server {
		return startServer(t, func(c *config.Config) {
			c.Log.NATS, c.Cluster.Node = config.ServerURLs(nats.URL()), name
		})
	}
	return start("a"), start("b")
}

// TestCallsTellAndTakePositions: what was done at one node is in the answer of another one that is
// asked with the position of the first one's answer, as with the API's own calls.
func TestCallsTellAndTakePositions(t *testing.T) {
	a, b := startNodes(t)
	const groups = "/acme/chat/chatgroups"
	ann := a.login("ann")
	for i := range 10 {
		made := a.want(200, "", "POST", groups, ann, fmt.Sprintf(`{"groupname":"g%d","desc":"","public":true,"approval":false,"allowinvites":false,"maxusers":10,"members":[]}`, i))
		at, log := made.header.Get("Receiptd-Position"), made.header.Get("Receiptd-Log")
		if at == "" || log == "" || made.header.Get("Receiptd-Node") != "a" {
			t.Fatalf("the answer says it stands at %q of log %q, and is from node %q", at, log, made.header.Get("Receiptd-Node"))
		}
		path := groups + "/" + made.field("data", "groupid").(string)
		for _, fresh := range []string{"?at_least=" + at + "@" + log, "?consistency=strong"} {
			if got := b.want(200, "", "GET", path+fresh, ann, ""); got.header.Get("Receiptd-Node") != "b" {
				t.Errorf("the answer is from node %q", got.header.Get("Receiptd-Node"))
			}
		}
	}
	for _, wrong := range []string{"at_least=0:1@0000000000000001", "at_least=0:1@x", "at_least=x", "at_least=9:1", "consistency=some"} {
		b.want(400, "", "GET", groups+"/1?"+wrong, ann, "")
	}
	const later = "?at_least=0:1000000"
	if got := b.want(503, "", "GET", groups+"/1"+later, ann, ""); got.header.Get("Retry-After") == "" {
		t.Error("it does not say when to ask again")
	}
	// Who has no token has nothing waited for.
	began := time.Now()
	b.want(400, "", "POST", "/acme/chat/token"+later, "", `{"grant_type":"password","username":"ann","password":"no"}`)
	b.want(401, "", "GET", groups+"/1"+later, "no token", "")
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("strangers were answered after %v", took)
	}
}
