package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

// sdkConn is a socket of the SDK's edge.
type sdkConn struct {
	t    testing.TB
	conn *websocket.Conn
	ctx  context.Context
}

func (r *running) socket() *sdkConn {
	r.t.Helper()
	ctx := testContext(r.t)
	conn, _, err := websocket.Dial(ctx, fmt.Sprintf("ws://%s/websocket", r.Addr()), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	c := &sdkConn{r.t, conn, ctx}
	r.t.Cleanup(func() { _ = conn.CloseNow() })
	return c
}

func (c *sdkConn) write(f *msyncpb.Frame) {
	_ = c.conn.Write(c.ctx, websocket.MessageBinary, encoded(f))
}

// read returns the next frame, nil at the end of the connection.
func (c *sdkConn) read() *msyncpb.Frame {
	_, data, err := c.conn.Read(c.ctx)
	if err != nil {
		if errors.Is(c.ctx.Err(), context.DeadlineExceeded) { // else the test is over
			c.t.Fatal("waited in vain for a frame")
		}
		return nil
	}
	f := new(msyncpb.Frame)
	if err := proto.Unmarshal(data, f); err != nil {
		c.t.Fatal(err)
	}
	return f
}

// login logs in as a user of an app, and returns why not; empty if it worked.
func (c *sdkConn) login(token, app, user string) string {
	c.write(loginFrame(token, app, user))
	f := c.read()
	if f == nil {
		return "closed"
	}
	var answer msyncpb.Provision
	if err := proto.Unmarshal(f.Payload, &answer); err != nil {
		c.t.Fatal(err)
	}
	if reason := answer.GetStatus().GetReason(); reason != "" {
		return reason
	}
	c.read() // the page that ends the pull of an earlier connection
	return ""
}

// answer sends a frame and returns what came back, but for ids and times: the answer to its Meta,
// or the next one.
func (c *sdkConn) answer(f *msyncpb.Frame, id uint64, o sdkOperation) (text string, code msyncpb.Status_Code) {
	c.write(f)
	for {
		f := c.read()
		if f == nil {
			return "closed", -1
		}
		var down msyncpb.SyncDown
		if f.GetCommand() == msyncpb.Frame_SYNC {
			if err := proto.Unmarshal(f.Payload, &down); err != nil {
				c.t.Fatal(err)
			}
			if !o.ask && down.GetMetaId() != id {
				continue
			}
			down.MetaId, down.ServerId, down.Timestamp, down.NextKey = nil, nil, nil, nil
			f.Payload = encoded(&down)
		} else {
			var unread msyncpb.UnreadDown
			if err := proto.Unmarshal(f.Payload, &unread); err != nil {
				c.t.Fatal(err)
			}
			unread.Timestamp = nil
			f.Payload = encoded(&unread)
		}
		return string(encoded(f)), down.GetStatus().GetCode()
	}
}

// listen logs in as a user of acme#chat and notes what they are told, until the test ends.
func (r *running) listen(user, token string) *told {
	r.t.Helper()
	c := r.socket()
	if why := c.login(token, app, user); why != "" {
		r.t.Fatalf("%s: %s", user, why)
	}
	x := new(told)
	c.write(&msyncpb.Frame{Command: msyncpb.Frame_UNREAD.Enum()})
	go func() {
		for f := c.read(); f != nil; f = c.read() {
			var down msyncpb.SyncDown
			if f.GetCommand() != msyncpb.Frame_SYNC || proto.Unmarshal(f.Payload, &down) != nil {
				continue
			}
			x.mu.Lock()
			x.metas = append(x.metas, down.Metas...)
			x.mu.Unlock()
			if !down.GetIsLast() {
				c.write(syncFrame(&msyncpb.SyncUp{Queue: down.Queue, Key: down.NextKey}))
			}
		}
	}()
	return x
}

// told keeps what a user is told.
type told struct {
	mu    sync.Mutex
	metas []*msyncpb.Meta
}

// insider is somebody with a token that is good for an app and a name that are not ann's, and what
// their frames claim.
type insider struct {
	name, token, app, user string
	member                 bool
	claim                  claim
}

func (r *running) insiders() (list []insider) {
	for _, x := range []insider{
		{name: "a stranger", app: app, user: "mallory"}, {name: "a removed member", app: app, user: "dan"}, {name: "a member", app: app, user: "ben", member: true},
		{name: "ann in other letters", app: app, user: "ANN"}, {name: "ann with a space", app: app, user: "ann "},
		{name: "ann with a character that is not seen", app: app, user: "ann\u200b"},
		{name: "ann of another app", app: "acme#other", user: "ann"}, {name: "ann of another org", app: "rival#chat", user: "ann"},
	} {
		x.token = r.mint(x.app, x.user)
		for _, c := range claims() {
			if y := x; c.name == "nothing" || x.user == "mallory" || x.app != app && !c.elsewhere {
				y.claim = c
				y.name += " who claims " + c.name
				list = append(list, y)
			}
		}
	}
	return list
}

// mint has the backend make a token.
func (r *running) mint(app, user string) string {
	r.t.Helper()
	var minted struct{ Token string }
	path := "/v1/apps/" + strings.Replace(app, "#", "/", 1) + "/users/" + url.PathEscape(user) + "/tokens"
	if err := json.Unmarshal([]byte(r.admin("POST", path, "{}")), &minted); err != nil || minted.Token == "" {
		r.t.Fatalf("no token for %s of %s: %v", user, app, err)
	}
	return minted.Token
}

// admin makes a call with the admin key, which must succeed.
func (r *running) admin(method, path, body string) string {
	r.t.Helper()
	status, answer := r.try(operation{method: method, path: path}, strings.NewReplacer("{}", body), imposter{bearer: "Bearer " + r.AdminKey()}, 0)
	if status != 200 {
		r.t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return answer
}

// Nobody gets at what is not theirs by any frame over the WebSocket, whatever it claims: before a
// login, after one that was refused, and as somebody else. What is not theirs is answered byte for
// byte like what is not there, and nothing changes for those whose it is.
func TestIsolationOverTheWebSocket(t *testing.T) {
	cfg := testConfig(t)
	cfg.SDK.SendsPerSecond, cfg.SDK.FramesPerSecond, cfg.SDK.MaxConnectionsPerUser = 100_000, 100_000, 100
	r := start(t, cfg)
	eventually(t, "the server is ready", func() bool { status, _ := r.get("/readyz", ""); return status == 200 })
	const groups = `{"type":"group.created","group":"%[1]s","owner":"ann","members":["ben","dan"]},{"type":"group.left","group":"%[1]s","user":"dan"},
		{"type":"message.sent","id":"%[2]d","from":"ann","group":"%[1]s","receipt":true},{"type":"message.sent","id":"%[3]d","from":"ann","peer":"cleo"}`
	same, only := target{"g1", 1001, 1002}, target{"only", 1005, 1006}
	for _, name := range []string{"acme/chat", "acme/other", "rival/chat"} {
		r.admin("PUT", "/v1/apps/"+name, `{"group_receipts":{"enabled":true}}`)
		r.admin("POST", "/v1/apps/"+name+"/events?wait=applied", "["+fmt.Sprintf(groups, same.group, same.inGroup, same.alone)+"]")
	}
	r.admin("POST", "/v1/apps/acme/chat/events?wait=applied", "["+fmt.Sprintf(groups, only.group, only.inGroup, only.alone)+"]")
	state := func() (all string) {
		for _, path := range []string{
			"messages/1001?group=g1", "messages/1001/readers?group=g1", "messages/1005?group=only", "messages/1002?users=ann,cleo", "messages/1006?users=ann,cleo",
			"groups/g1/members", "groups/only/members", "users/ann/conversations", "users/ben/conversations", "users/cleo/conversations", "users/ann/statistics",
		} {
			status, body := r.get("/v1/apps/acme/chat/"+path, r.AdminKey())
			if status != 200 {
				t.Fatalf("%s: %d %s", path, status, body)
			}
			all += path + ": " + cursors.ReplaceAllString(body, "") + "\n"
		}
		return all
	}
	before := state()
	heard := map[string]*told{}
	for _, user := range []string{"ann", "ben", "cleo", "zoe"} {
		heard[user] = r.listen(user, r.mint(app, user))
	}

	var cells atomic.Int64
	operations := sdkOperations()
	var all errgroup.Group
	all.SetLimit(16)
	strangers := 0
	for _, who := range r.imposters() {
		if who.user != "" || strings.HasPrefix(who.name, "ann of another") {
			continue // can log in as somebody
		}
		strangers++
		token := strings.TrimPrefix(who.bearer, "Bearer ")
		for _, o := range operations {
			all.Go(func() error { // before a login
				cells.Add(1)
				c := r.socket()
				f := o.frame(1, same)
				f.Guid, f.Auth = loginFrame(token, app, "ann").Guid, proto.String("$t$"+token)
				c.write(f)
				if f := c.read(); f != nil && f.GetCommand() != msyncpb.Frame_PROVISION {
					t.Errorf("%s without a login, as %s: %v", o.name, who.name, f)
				}
				return nil
			})
		}
		all.Go(func() error { // after one that was refused
			c := r.socket()
			c.write(loginFrame(token, app, "ann"))
			for _, o := range operations {
				cells.Add(1)
				c.write(o.frame(1, same))
			}
			if c.read(); c.read() != nil {
				t.Errorf("%s goes on after the login was refused", who.name)
			}
			return nil
		})
	}
	insiders := r.insiders()
	for _, who := range insiders {
		all.Go(func() error {
			cells.Add(int64(r.asInsider(who, operations, same, only)))
			return nil
		})
	}
	_ = all.Wait()

	if after := state(); after != before {
		t.Errorf("what was\n%sis now\n%s", before, after)
	}
	for user, x := range heard {
		x.mu.Lock()
		for _, m := range x.metas {
			var body msyncpb.Body
			if err := proto.Unmarshal(m.GetPayload(), &body); err != nil {
				t.Fatal(err)
			}
			from := m.GetFrom().GetName()
			if user != "zoe" || from == "ann" || from != body.GetFrom().GetName() || body.GetType() != int32(msyncpb.Body_CHAT) || body.AckMessageId != nil {
				t.Errorf("%s is told %v: %v", user, m, &body)
			}
		}
		if user == "zoe" && len(x.metas) == 0 {
			t.Error("not even zoe, whom everybody may write to, is told anything: this tests nothing")
		}
		x.mu.Unlock()
	}
	if strangers+len(insiders) < 25 {
		t.Errorf("%d wrong identities", strangers+len(insiders))
	}
	t.Logf("%d cells, %d operations, %d wrong identities", cells.Load(), len(operations), strangers+len(insiders))
}

// cursors differ with the position of the log.
var cursors = regexp.MustCompile(`"cursor":"[^"]*"`)

// asInsider does all operations as somebody, and returns how many there were.
func (r *running) asInsider(who insider, operations []sdkOperation, same, only target) (cells int) {
	login := func() *sdkConn {
		c := r.socket()
		if why := c.login(who.token, who.app, who.user); why != "" {
			r.t.Errorf("%s: %s", who.name, why)
		}
		return c
	}
	c, id := login(), uint64(0)
	defer func() { _ = c.conn.CloseNow() }()
	unread := sdkOperation{ask: true}
	for _, o := range operations {
		if who.member && (o.member || o.anybody && !o.ask) {
			continue
		}
		cells++
		do := func(x target) (string, msyncpb.Status_Code) {
			id++
			f := who.claim.apply(o.frame(id, x))
			if o.mute && !o.over() {
				c.write(f)
				return c.answer(&msyncpb.Frame{Command: msyncpb.Frame_UNREAD.Enum()}, 0, unread)
			}
			return c.answer(f, id, o)
		}
		if o.over() {
			c.write(who.claim.apply(o.frame(1, same)))
			for f := c.read(); f != nil; f = c.read() {
			}
			c = login()
			continue
		}
		want, code := do(target{"nowhere", 9001, 9002})
		if want == "closed" {
			r.t.Errorf("%s as %s: the connection ends", o.name, who.name)
			c = login()
			continue
		}
		refused := !(o.anybody || o.ask || o.quiet || o.mute)
		if refused && code == msyncpb.Status_OK {
			r.t.Errorf("%s as %s: it is allowed where there is nothing", o.name, who.name)
		}
		targets := []target{{only.group, 9001, 9002}, {"nowhere", only.inGroup, only.alone}, only, same}
		for i, x := range targets {
			got, code := do(x)
			there := x == same && who.app != app // it is their own
			if !there && refused && code == msyncpb.Status_OK {
				r.t.Errorf("%s as %s: it is allowed", o.name, who.name)
			}
			if !there && !who.member && got != want {
				r.t.Errorf("%s as %s: what is not theirs (%d) is answered with %q, what is not there with %q", o.name, who.name, i, got, want)
			}
		}
	}
	return cells
}
