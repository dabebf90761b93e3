package runtime

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/internal/gateway/easemob"
	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
	"github.com/receiptd/receiptd/schema"
)

// imposter is somebody who may not do what they try.
type imposter struct {
	name string
	// bearer is the Authorization header, and prepare what else the request has.
	bearer  string
	prepare func(*http.Request)
	// user is set for a token that is good for that user of acme#chat, member for one of the group.
	user   string
	member bool
}

// imposters are identities other than ann's and the admin's.
func (r *running) imposters() []imposter {
	r.t.Helper()
	secret, err := os.ReadFile(filepath.Join(r.cfg.Data, tokenKeyFile))
	if err != nil {
		r.t.Fatal(err)
	}
	key, admin := []byte(strings.TrimSpace(string(secret))), r.AdminKey()
	later := jwt.NewNumericDate(time.Now().Add(time.Hour))
	sign := func(method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
		text, err := jwt.NewWithClaims(method, claims).SignedString(key)
		if err != nil {
			r.t.Fatal(err)
		}
		return "Bearer " + text
	}
	of := func(app, user string) string {
		return sign(jwt.SigningMethodHS256, key, jwt.MapClaims{"app": app, "sub": user, "exp": later})
	}
	if status, _ := r.get("/v1/apps/acme/chat/users/ann/statistics", strings.TrimPrefix(of(app, "ann"), "Bearer ")); status != 200 {
		r.t.Fatalf("ann herself: %d", status) // else nothing below means anything
	}
	parts, foreign := strings.Split(of(app, "ann"), "."), strings.Split(of(app, "mallory"), ".")
	ann := jwt.MapClaims{"app": app, "sub": "ann", "exp": later}
	with := func(claim string, value any) jwt.MapClaims {
		c := maps.Clone(ann)
		if c[claim] = value; value == nil {
			delete(c, claim)
		}
		return c
	}
	list := []imposter{
		{name: "nobody"},
		{name: "an empty bearer", bearer: "Bearer "},
		{name: "the admin key by another scheme", bearer: "Basic " + admin},
		{name: "the admin key without a scheme", bearer: admin},
		{name: "nonsense", bearer: "Bearer nonsense"},
		{name: "the admin key but for its end", bearer: "Bearer " + admin[:len(admin)-1]},
		{name: "the admin key and more", bearer: "Bearer " + admin + "0"},
		{name: "the admin key in other letters", bearer: "Bearer " + swapCase(admin)},
		{name: "two keys", bearer: "Bearer nonsense " + admin},
		{name: "the admin key in the URL", prepare: func(q *http.Request) { q.URL.RawQuery = "access_token=" + admin }},
		{name: "the admin key in a cookie", prepare: func(q *http.Request) { q.AddCookie(&http.Cookie{Name: "receiptd", Value: admin}) }},
		{name: "who claims to come from within", prepare: func(q *http.Request) { q.Header.Set("X-Forwarded-User", "admin") }},
		{name: "who rewrites the path", prepare: func(q *http.Request) { q.Header.Set("X-Original-URL", "/healthz") }},
		{name: "a token signed with another key", bearer: sign(jwt.SigningMethodHS256, []byte(strings.Repeat("x", 32)), ann)},
		{name: "a token signed with an empty key", bearer: sign(jwt.SigningMethodHS256, []byte{}, ann)},
		{name: "a token with the admin key as its key", bearer: sign(jwt.SigningMethodHS256, []byte(admin), ann)},
		{name: "an unsigned token", bearer: sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, ann)},
		{name: "a token by another method", bearer: sign(jwt.SigningMethodHS384, key, ann)},
		{name: "a token without its signature", bearer: parts[0] + "." + parts[1] + "."},
		{name: "a token with another one's signature", bearer: parts[0] + "." + parts[1] + "." + foreign[2]},
		{name: "a token with another one's claims", bearer: foreign[0] + "." + parts[1] + "." + foreign[2]},
		{name: "an expired token", bearer: sign(jwt.SigningMethodHS256, key, with("exp", jwt.NewNumericDate(time.Now().Add(-time.Hour))))},
		{name: "a token without an end", bearer: sign(jwt.SigningMethodHS256, key, with("exp", nil))},
		{name: "a token that is not valid yet", bearer: sign(jwt.SigningMethodHS256, key, with("nbf", later))},
		{name: "a token without an app", bearer: sign(jwt.SigningMethodHS256, key, with("app", nil))},
		{name: "a token without a user", bearer: sign(jwt.SigningMethodHS256, key, with("sub", nil))},
		{name: "a token of no app's key", bearer: of("acme", "ann")},
		{name: "ann of another app", bearer: of("acme#other", "ann")},
		{name: "ann of another org", bearer: of("rival#chat", "ann")},
		{name: "ann of an app that is not there", bearer: of("acme#nowhere", "ann")},
		{name: "ann of an app with a longer name", bearer: of("acme#chat2", "ann")},
		{name: "a stranger", bearer: of(app, "mallory"), user: "mallory"},
		{name: "a removed member", bearer: of(app, "dan"), user: "dan"},
		{name: "ann in other letters", bearer: of(app, "ANN"), user: "ANN"},
		{name: "ann with a space", bearer: of(app, "ann "), user: "ann "},
		{name: "ann with a character that is not seen", bearer: of(app, "ann\u200b"), user: "ann\u200b"},
		{name: "a member", bearer: of(app, "ben"), user: "ben", member: true},
	}
	for _, detour := range []string{
		"/acme/other/../$1", "/acme/other/%2e%2e/$1", "/acme/other/..%2f$1", "/acme//$1", "/acme/./$1", "/ACME/$1", "/acme%2f$1", "/acme%23$1", "/acme/$1;x",
		"/acme/$1%00", "/acme/$1%20",
	} {
		list = append(list, imposter{name: "ann of another app by way of " + detour, bearer: of("acme#other", "ann"), prepare: func(q *http.Request) {
			// As it is, and not as the package would write it.
			q.URL.Opaque = "//" + q.URL.Host + acmes.ReplaceAllString(q.URL.EscapedPath(), detour)
		}})
	}
	return list
}

// ofTheirOwn are calls that everybody may make about themselves, with something of ann's in them.
var ofTheirOwn = []struct{ method, path, body string }{
	{"POST", mine + "/receipts?wait=applied", `[{"type":"message.read","message":"{id}","group":"{group}"}]`},
	{"POST", mine + "/receipts?wait=applied", `[{"type":"message.read","message":"{id}","group":"{group}","strict":true}]`},
	{"POST", mine + "/receipts?wait=applied", `[{"type":"message.read","messages":["{id}","x"],"group":"{group}"}]`},
	{"POST", mine + "/receipts?wait=applied", `[{"type":"conversation.read","group":"{group}"}]`},
	{"POST", mine + "/receipts?wait=applied", `[{"type":"conversation.read","group":"{group}","upto":"{id}"}]`},
	{"POST", mine + "/receipts?wait=applied", `[{"type":"message.read","message":"{id}","peer":"ann","strict":true}]`},
	{"POST", mine + "/receipts?wait=applied", `[{"type":"message.delivered","message":"{id}","peer":"cleo","strict":true}]`},
	{"POST", mine + "/receipts", `[{"type":"message.read","message":"{id}","group":"{group}","app":"acme#other"}]`},
	{"GET", mine + "/conversations/{group}/settings", ``},
	{"PUT", mine + "/conversations/{group}/settings", `{"send_read_receipts":false}`},
	{"GET", mine + "/conversations/{group}/unread", ``},
	{"GET", mine + "/conversations/{group}/unread?group={group}", ``},
	{"GET", its + "/messages/{id}?group={group}", ``},
	{"GET", its + "/messages/{id}?peer=ann", ``},
	{"GET", its + "/messages/{id}?users=ann,cleo", ``},
	{"GET", its + "/messages/{id}/readers?group={group}", ``},
	{"GET", its + "/messages/{id}/nonreaders?group={group}", ``},
	{"GET", its + "/messages/{id}/readers/{user}/proof?group={group}", ``},
	{"GET", mine + "/invitations", ``},
	{"POST", mine + "/invitations/{group}", `{"accept":true}`},
	{"POST", mine + "/invitations/{group}", `{"accept":false}`},
	{"GET", its + "/groups/{group}/invitations", ``},
	{"DELETE", its + "/groups/{group}/invitations/cleo", ``},
	{"DELETE", its + "/groups/{group}/invitations/{id}", ``},
	{"POST", its + "/messages:counts", `{"ids":["{id}"],"group":"{group}"}`},
	{"POST", its + "/messages:counts", `{"messages":[{"id":"{id}","users":["ann","cleo"]}]}`},
}

const (
	its  = "/v1/apps/acme/chat"
	mine = its + "/users/{user}"
)

func swapCase(s string) string {
	return strings.Map(func(r rune) rune {
		if lower := strings.ToLower(string(r)); lower != string(r) {
			return rune(lower[0])
		}
		return rune(strings.ToUpper(string(r))[0])
	}, s)
}

// operation is a call of the API, or of the SDK.
type operation struct {
	method, path string // with placeholders
	open, sdk    bool
}

func (r *running) operations() (list []operation) {
	r.t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(schema.OpenAPI)
	if err != nil {
		r.t.Fatal(err)
	}
	for path, item := range doc.Paths.Map() {
		for method, o := range item.Operations() {
			list = append(list, operation{method, path, o.Security != nil && len(*o.Security) == 0, false})
		}
	}
	for _, c := range easemob.Calls() {
		method, path, _ := strings.Cut(c.Pattern, " ")
		list = append(list, operation{method, path, c.Open, true})
	}
	slices.SortFunc(list, func(a, b operation) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return list
}

// try makes a call as somebody, each time from another address, so that nobody is throttled.
func (r *running) try(o operation, fill *strings.Replacer, who imposter, from int) (status int, body string) {
	r.t.Helper()
	rq, err := http.NewRequest(o.method, fmt.Sprintf("http://%s%s", r.Addr(), fill.Replace(o.path)), strings.NewReader(fill.Replace(bodyOf(o))))
	if err != nil {
		r.t.Fatal(err)
	}
	rq.Header.Set("Content-Type", "application/json")
	rq.Header.Set("X-Forwarded-For", fmt.Sprintf("10.%d.%d.%d", from>>16&255, from>>8&255, from&255))
	if who.bearer != "" {
		rq.Header.Set("Authorization", who.bearer)
	}
	if who.prepare != nil {
		who.prepare(rq)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	res, err := http.DefaultClient.Do(rq.WithContext(ctx))
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<16)) // an endless answer is a hole anyway
	if err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, string(varying.ReplaceAll(text, nil))
}

// acmes are the apps of acme in a path.
var acmes = regexp.MustCompile(`/acme/(\w+)`)

// varying is what differs from answer to answer whatever was asked.
var varying = regexp.MustCompile(`"timestamp":\d+`)

// bodyOf is what ann would send.
func bodyOf(o operation) string {
	switch {
	case strings.HasSuffix(o.path, "/messages:counts"), strings.HasSuffix(o.path, "/messages:nonreaders"):
		return `{"ids":["{id}"]}`
	case strings.HasSuffix(o.path, "/invite"):
		return `{"usernames":["x"]}`
	case strings.HasSuffix(o.path, "/invitations/{group}"):
		return `{"accept":true}`
	case strings.HasSuffix(o.path, "/invite_verify"):
		return `{"invitee":"{user}","verifyResult":true}`
	case strings.HasSuffix(o.path, "/admin"):
		return `{"newadmin":"x"}`
	}
	return `{}`
}

// own reports whether an answer is what the caller may have all the same: what is their own, or
// nothing.
func own(o operation, who imposter, body string) bool {
	switch {
	case who.user == "":
		return false
	case strings.HasSuffix(o.path, "/messages:counts"):
		return strings.TrimSpace(body) == `{"counts":{}}`
	case strings.HasSuffix(o.path, "/messages:nonreaders"):
		return strings.TrimSpace(body) == `{"messages":[]}`
	case o.sdk && o.method == "POST" && strings.HasSuffix(o.path, "/chatgroups"):
		return true // makes a group of their own
	}
	return false
}

// Nobody but whose it is gets at anything, by any call, and nobody learns from the answer whether
// there is something: what is not theirs is answered byte for byte like what is not there.
func TestIsolation(t *testing.T) {
	cfg := testConfig(t)
	cfg.HTTP.TrustedProxies = "127.0.0.1/32"
	cfg.HTTP.Metrics = "key"
	r := start(t, cfg)
	eventually(t, "the server is ready", func() bool { status, _ := r.get("/readyz", ""); return status == 200 })
	admin := imposter{bearer: "Bearer " + r.AdminKey()}
	for _, name := range []string{"acme/chat", "acme/other", "rival/chat"} {
		seed := operation{method: "PUT", path: "/v1/apps/" + name}
		if status, body := r.try(seed, strings.NewReplacer("{}", `{"group_receipts":{"enabled":true},"invitations":"consent"}`), admin, 0); status != 200 {
			t.Fatalf("%s: %d %s", name, status, body)
		}
		seed = operation{method: "POST", path: "/v1/apps/" + name + "/events?wait=applied"}
		events := `[{"type":"group.created","group":"g1","owner":"ann","members":["ben","dan"]},{"type":"group.left","group":"g1","user":"dan"},
			{"type":"message.sent","id":"m1","from":"ann","group":"g1","receipt":true},{"type":"message.read","message":"m1","user":"ben","group":"g1"},
			{"type":"message.sent","id":"m2","from":"ann","peer":"cleo"},{"type":"group.created","group":"g3","owner":"owen","members":["zoe"]}]`
		if status, body := r.try(seed, strings.NewReplacer("{}", events), admin, 0); status != 200 {
			t.Fatalf("%s: %d %s", name, status, body)
		}
	}
	// Invitations wait: of cleo into ann's group, and of ann into another one.
	for _, x := range []struct{ owner, group, invited string }{{"ann", "g1", "cleo"}, {"owen", "g3", "ann"}} {
		owner, invited := imposter{bearer: "Bearer " + r.mint(app, x.owner)}, imposter{bearer: "Bearer " + r.mint(app, x.invited)}
		invite := operation{method: "POST", path: "/acme/chat/chatgroups/" + x.group + "/invite?resource=web"}
		if status, body := r.try(invite, strings.NewReplacer("{}", `{"usernames":["`+x.invited+`"]}`), owner, 0); status != 200 {
			t.Fatalf("%s invites: %d %s", x.owner, status, body)
		}
		list := operation{method: "GET", path: "/v1/apps/acme/chat/users/" + x.invited + "/invitations"}
		if status, body := r.try(list, strings.NewReplacer(), invited, 0); status != 200 || !strings.Contains(body, x.group) {
			t.Fatalf("%s: %d %s", x.invited, status, body)
		}
	}
	there := []string{"{org}", "acme", "{app}", "chat", "{id}", "m1", "{user}", "ann", "{users}", "ann", "{group}", "g1", "{message}", "m1", "{conversation}", "g1",
		"{partition}", "0", "{size}", "1", "{sequence}", "1", "{file}", "style.css"}
	without := func(name, value string) *strings.Replacer {
		list := slices.Clone(there)
		for i := 0; i < len(list); i += 2 {
			if list[i] == name {
				list[i+1] = value
			}
		}
		return strings.NewReplacer(list...)
	}
	cells, from := 0, 0
	imposters := r.imposters()
	if len(imposters) < 25 {
		t.Fatalf("only %d wrong identities", len(imposters))
	}
	for _, o := range r.operations() {
		if o.open || o.method == "GET" && strings.HasSuffix(o.path, "/stream") && o.sdk {
			continue
		}
		for _, who := range imposters {
			if who.member && (o.sdk || strings.Contains(o.path, "/groups/{group}")) {
				continue // may see and leave the group
			}
			cells++
			from++
			status, body := r.try(o, strings.NewReplacer(there...), who, from)
			if status < 400 && !own(o, who, body) || status == 429 || status >= 500 {
				t.Errorf("%s %s as %s: %d %.200s", o.method, o.path, who.name, status, body)
				continue
			}
			for name, other := range map[string]string{"{id}": "gone", "{message}": "gone", "{group}": "gone", "{user}": "gone", "{app}": "gone"} {
				if !strings.Contains(o.path, name) || name == "{app}" && (who.user != "" || status == 400) || own(o, who, body) && o.sdk {
					continue // who is of the app knows it; a name of none is told as such
				}
				cells++
				from++
				if s, b := r.try(o, without(name, other), who, from); s != status || b != body {
					t.Errorf("%s %s as %s: %d %.200s, and without such a %s %d %.200s", o.method, o.path, who.name, status, body, name, s, b)
				}
			}
		}
	}
	for _, who := range imposters {
		if who.user == "" || who.member {
			continue
		}
		for _, o := range ofTheirOwn {
			want := ""
			for i, x := range [][]string{{"gone", "gone"}, {"g1", "gone"}, {"gone", "m1"}, {"g1", "m1"}, {"gone", "m2"}} {
				cells++
				from++
				fill := strings.NewReplacer("{user}", url.PathEscape(who.user), "{group}", x[0], "{id}", x[1], "{}", o.body)
				// Twice: the body is filled in like the path.
				body := fill.Replace(o.body)
				status, answer := r.try(operation{method: o.method, path: fill.Replace(o.path)}, strings.NewReplacer("{}", body), who, from)
				if got := fmt.Sprint(status, " ", answer); i == 0 {
					want = got
				} else if got != want {
					t.Errorf("%s %s %s as %s: of what is not theirs (%v) %.300s, of what is not there %.300s", o.method, o.path, o.body, who.name, x, got, want)
				}
			}
		}
	}
	for _, who := range imposters {
		cells++
		if why := r.provision(who, "ann"); why == "" {
			t.Errorf("logged in over the WebSocket as ann: %s", who.name)
		} else if other := r.provision(who, "gone"); other != why {
			t.Errorf("%s over the WebSocket: ann is refused with %q, one who is not there with %q", who.name, why, other)
		}
	}
	t.Logf("%d cells, %d operations, %d wrong identities", cells, len(r.operations()), len(imposters))
}

// provision logs in over the WebSocket as a user of acme#chat with somebody's token, and returns
// why it was refused; empty if it was not.
func (r *running) provision(who imposter, user string) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, fmt.Sprintf("ws://%s/websocket", r.Addr()), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.CloseNow()
	payload, _ := proto.Marshal(&msyncpb.Provision{Resource: proto.String("web"), SessionId: proto.String("1:")})
	frame, _ := proto.Marshal(&msyncpb.Frame{
		Command: msyncpb.Frame_PROVISION.Enum(), Auth: proto.String("$t$" + strings.TrimPrefix(who.bearer, "Bearer ")),
		Guid:    &msyncpb.Name{AppKey: proto.String(app), Name: &user, Domain: proto.String("easemob.com"), Resource: proto.String("web")},
		Payload: payload,
	})
	if err := conn.Write(ctx, websocket.MessageBinary, frame); err != nil {
		r.t.Fatal(err)
	}
	_, data, err := conn.Read(ctx)
	if err != nil {
		return err.Error()
	}
	var answer msyncpb.Frame
	var refusal msyncpb.Provision
	if err = proto.Unmarshal(data, &answer); err == nil {
		err = proto.Unmarshal(answer.GetPayload(), &refusal)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return refusal.GetStatus().GetReason()
}
