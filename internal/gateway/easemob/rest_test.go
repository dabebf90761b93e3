package easemob_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/internal/runtime"
)

const adminKey = "admin-key"

// server is a whole receiptd in this process.
type server struct {
	t    testing.TB
	base string
}

func startServer(t testing.TB, change ...func(*config.Config)) *server {
	t.Helper()
	cfg := config.Default()
	cfg.Data, cfg.HTTP.Listen, cfg.HTTP.AdminKey, cfg.Log.Partitions = t.TempDir(), "127.0.0.1:0", adminKey, 2
	cfg.Log.Fsync = config.FsyncInterval
	for _, f := range change {
		f(&cfg)
	}
	built, err := runtime.Build(context.Background(), cfg, natstest.Logger(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- built.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, built.Close(context.Background())); err != nil {
			t.Error(err)
		}
	})
	s := &server{t, "http://" + built.Addr().String()}
	for s.call("GET", "/readyz", "", "").status != http.StatusOK {
	}
	s.configure("acme/chat", `{"group_receipts":{"enabled":true},"open_registration":true}`)
	return s
}

func (s *server) configure(app, settings string) {
	s.t.Helper()
	s.want(200, "", "PUT", "/v1/apps/"+app, adminKey, settings)
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) field(path ...any) any {
	var v any
	_ = json.Unmarshal(a.body, &v)
	for _, step := range path {
		switch step := step.(type) {
		case string:
			object, _ := v.(map[string]any)
			v = object[step]
		case int:
			list, _ := v.([]any)
			if step >= len(list) {
				return nil
			}
			v = list[step]
		}
	}
	return v
}

func (s *server) call(method, path, token, body string) answer {
	s.t.Helper()
	r, err := http.NewRequest(method, s.base+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	a := answer{status: res.StatusCode, header: res.Header}
	if a.body, err = io.ReadAll(res.Body); err != nil {
		s.t.Fatal(err)
	}
	return a
}

// want calls and checks the status, and the description of an error if it is not empty.
func (s *server) want(status int, description, method, path, token, body string) answer {
	s.t.Helper()
	a := s.call(method, path, token, body)
	got, _ := a.field("error_description").(string)
	if a.status != status || description != "" && got != description {
		s.t.Fatalf("%s %s: %d %s, want %d %q", method, path, a.status, a.body, status, description)
	}
	return a
}

// login registers a user and returns their token.
func (s *server) login(user string) string {
	s.t.Helper()
	s.want(200, "", "POST", "/acme/chat/users", "", fmt.Sprintf(`{"username":%q,"password":"pw","nickname":""}`, user))
	a := s.want(200, "", "POST", "/acme/chat/token", "", fmt.Sprintf(`{"grant_type":"password","username":%q,"password":"pw","timestamp":1}`, user))
	token, _ := a.field("access_token").(string)
	if a.field("expires_in").(float64) < 3600 || a.field("user", "username") != user {
		s.t.Errorf("token: %s", a.body)
	}
	return token
}

func TestRegistrationAndLogin(t *testing.T) {
	s := startServer(t, func(c *config.Config) { c.SDK.MaxUsers = 3 })
	s.configure("acme/closed", `{}`)
	const users, token = "/acme/chat/users", "/acme/chat/token"
	ann := s.login("ann")
	s.want(400, "the username is already used", "POST", users, "", `{"username":"ann","password":"other"}`)
	s.want(400, "username: empty", "POST", users, "", `{"username":"","password":"x"}`)
	s.want(400, "", "POST", users, "", `{"username":"x","password":""}`)
	s.want(400, "", "POST", users, "", `[{"username":"x","password":"x"}]`)
	s.want(413, "", "POST", users, "", strings.Repeat(" ", 2<<20))
	s.want(400, "invalid username or password", "POST", token, "", `{"grant_type":"password","username":"ann","password":"wrong"}`)
	s.want(400, "invalid username or password", "POST", token, "", `{"grant_type":"password","username":"nobody","password":"pw"}`)
	s.want(400, "invalid username or password", "POST", token, "", `{"grant_type":"password","username":"","password":"pw"}`)
	s.want(400, "", "POST", token, "", `{"grant_type":"inherit"}`)
	s.want(400, "invalid username or password", "POST", "/acme/none/token", "", `{"grant_type":"password","username":"ann","password":"pw"}`)
	s.want(401, "registration is not open", "POST", "/acme/none/users", "", `{"username":"x","password":"x"}`)

	// Where registration is not open, it takes the admin key. Users are those of one app.
	s.want(401, "registration is not open", "POST", "/acme/closed/users", "", `{"username":"ann","password":"pw2"}`)
	s.want(401, "registration is not open", "POST", "/acme/closed/users", ann, `{"username":"ann","password":"pw2"}`)
	s.want(200, "", "POST", "/acme/closed/users", adminKey, `{"username":"ann","password":"pw2"}`)
	s.want(400, "", "POST", "/acme/closed/token", "", `{"grant_type":"password","username":"ann","password":"pw"}`)

	s.login("ben")
	s.login("cleo")
	s.want(403, "the app has the most users it may have", "POST", users, "", `{"username":"dan","password":"pw"}`)

	if a := s.want(200, "", "GET", "/acme/chat/sdk/users/ann/token/expires", ann, ""); a.field("expire_timestamp").(float64) < 1e12 {
		t.Errorf("renew: %s", a.body)
	}
	s.want(403, "permission denied", "GET", "/acme/chat/sdk/users/ben/token/expires", ann, "")
}

// A user of the backend has conversations and no password. Nobody who sets one gets in: neither of
// a user whom the state knows, in whatever role, nor of one who was given a token.
func TestUsersOfTheBackendCannotBeRegistered(t *testing.T) {
	s := startServer(t)
	const users, token = "/acme/chat/users", "/acme/chat/token"
	s.want(200, "", "POST", "/v1/apps/acme/chat/events?wait=applied", adminKey, `[
		{"type":"group.created","group":"g","owner":"owner","members":["member","left"]},
		{"type":"group.left","group":"g","user":"left"},
		{"type":"message.sent","id":"1","from":"author","peer":"recipient"}]`)
	s.want(200, "", "POST", "/v1/apps/acme/chat/users/minted/tokens", adminKey, `{}`)
	for _, user := range []string{"owner", "member", "left", "author", "recipient", "minted"} {
		body := fmt.Sprintf(`{"username":%q,"password":"pw"}`, user)
		login := fmt.Sprintf(`{"grant_type":"password","username":%q,"password":"pw"}`, user)
		s.want(400, "the username is already used", "POST", users, "", body)
		s.want(400, "invalid username or password", "POST", token, "", login)
		// The backend may give them a password.
		s.want(200, "", "POST", users, adminKey, body)
		s.want(400, "the username is already used", "POST", users, adminKey, body)
		s.want(200, "", "POST", token, "", login)
	}
	// A token for somebody who registered changes nothing.
	s.login("ann")
	s.want(200, "", "POST", "/v1/apps/acme/chat/users/ann/tokens", adminKey, `{}`)
	s.want(200, "", "POST", token, "", `{"grant_type":"password","username":"ann","password":"pw"}`)
}

func TestGroupsOverREST(t *testing.T) {
	s := startServer(t)
	ann, ben, cleo, dan := s.login("ann"), s.login("ben"), s.login("cleo"), s.login("dan")
	const groups = "/acme/chat/chatgroups"
	create := func(token, body string) string {
		t.Helper()
		id, _ := s.want(200, "", "POST", groups+"?resource=webim", token, body).field("data", "groupid").(string)
		return groups + "/" + id
	}
	members := func(g string) string {
		t.Helper()
		return fmt.Sprint(s.want(200, "", "GET", g+"/users?version=v3&pagenum=1&pagesize=50", ann, "").field("data"))
	}
	g := create(ann, `{"owner":"somebody","groupname":"team","desc":"d","members":["ben"],"public":false,"approval":true,"allowinvites":false,"maxusers":200}`)
	// The caller owns it, whatever the body says.
	if got := members(g); got != "[map[owner:ann] map[member:ben]]" {
		t.Fatalf("members %s", got)
	}
	s.want(401, "", "GET", g+"/users", "", "")
	s.want(401, "", "GET", g+"/users", "nonsense", "")
	s.want(404, "do not find this group", "GET", g+"/users", cleo, "")
	s.want(404, "do not find this group", "GET", groups+"/123/users", ann, "")

	s.want(403, "", "POST", g+"/invite", ben, `{"usernames":["cleo"]}`)
	s.want(200, "", "POST", g+"/invite", ann, `{"usernames":["cleo","dan"]}`)
	s.want(403, "", "POST", g+"/admin", ben, `{"newadmin":"ben"}`)
	s.want(200, "", "POST", g+"/admin", ann, `{"newadmin":"ben"}`)
	s.want(404, "", "POST", g+"/admin", ann, `{"newadmin":"stranger"}`)
	if got := fmt.Sprint(s.want(200, "", "GET", g+"/admin?version=v3", cleo, "").field("data")); got != "[ben]" {
		t.Errorf("admins %s", got)
	}
	s.want(403, "", "DELETE", g+"/users/cleo", dan, "")
	s.want(403, "", "DELETE", g+"/users/ann", ben, "")
	// An admin cannot remove an admin, nor then the others of the same call.
	s.want(403, "", "DELETE", g+"/users/cleo,ben", ben, "")
	if a := s.want(200, "", "DELETE", g+"/users/cleo", ben, ""); a.field("data", "result") != true || a.field("data", "user") != "cleo" {
		t.Errorf("removed: %s", a.body)
	}
	s.want(200, "", "DELETE", g+"/admin/ben", ann, "")
	s.want(200, "", "DELETE", g+"/quit", dan, "")
	s.want(403, "", "DELETE", g+"/quit", ann, "")
	if got := members(g); got != "[map[owner:ann] map[member:ben]]" {
		t.Errorf("members %s", got)
	}
	s.want(404, "do not find this group", "POST", g+"/apply", cleo, `{"message":""}`) // not public

	public := create(ben, `{"groupname":"open","members":[],"public":true,"approval":false,"allowinvites":true,"maxusers":3}`)
	s.want(200, "", "POST", public+"/apply", cleo, `{"message":""}`)
	s.want(200, "", "POST", public+"/invite", cleo, `{"usernames":["dan"]}`)
	s.want(403, "group is full", "POST", public+"/apply", ann, `{"message":""}`)
	if a := s.want(200, "", "GET", public, ann, ""); a.field("data", 0, "name") != "open" || a.field("data", 0, "owner") != "ben" {
		t.Errorf("group: %s", a.body)
	}
	s.want(404, "", "GET", g, cleo, "") // only public ones are shown to all
	joined := s.want(200, "", "GET", "/acme/chat/users/ben/joined_chatgroups?pagenum=1&pagesize=20", ben, "")
	if joined.field("count") != 2.0 {
		t.Errorf("joined: %s", joined.body)
	}
	s.want(403, "", "GET", "/acme/chat/users/ben/joined_chatgroups", ann, "")

	s.want(404, "", "DELETE", public, ann, "")
	s.want(403, "", "DELETE", public, cleo, "")
	s.want(200, "", "DELETE", public, ben, "")
	s.want(404, "do not find this group", "GET", public, ben, "")
}

func TestReadersOverREST(t *testing.T) {
	s := startServer(t)
	ann, ben := s.login("ann"), s.login("ben")
	s.want(200, "", "POST", "/v1/apps/acme/chat/events?wait=applied", adminKey, `[
		{"type":"group.created","group":"g","owner":"ann","members":["ben","cleo"]},
		{"type":"message.sent","id":"7","from":"ann","group":"g","receipt":true},
		{"type":"message.sent","id":"8","from":"ann","group":"g"},
		{"type":"message.read","message":"7","user":"ben","group":"g"},{"type":"message.read","message":"7","user":"cleo","group":"g"}]`)
	const acks = "/acme/chat/chatgroups/g/acks/"
	a := s.want(200, "", "GET", acks+"7?limit=500&key=undefined&limit=500&_v=1", ann, "")
	if got := fmt.Sprintf("%v %v %v %v", a.field("data", "userlist"), a.field("data", "total"), a.field("data", "is_last"), a.field("data", "ackmid")); got != "[ben cleo] 2 true 7" {
		t.Errorf("readers: %s", a.body)
	}
	a = s.want(200, "", "GET", acks+"7?limit=1", ann, "")
	next, _ := a.field("data", "next_key").(string)
	a2 := s.want(200, "", "GET", acks+"7?limit=1&key="+next, ann, "")
	if got := fmt.Sprintf("%v %v %v %v", a.field("data", "userlist"), a.field("data", "is_last"), a2.field("data", "userlist"), a2.field("data", "is_last")); got != "[ben] false [cleo] true" {
		t.Errorf("pages: %s %s", a.body, a2.body)
	}
	s.want(400, "", "GET", acks+"7?key=x", ann, "")
	s.want(400, "message not found", "GET", acks+"9", ann, "")
	s.want(400, "message not found", "GET", acks+"8", ann, "") // asked for no receipts
	s.want(403, "permission denied", "GET", "/acme/chat/chatgroups/other/acks/7", ann, "")
	if a := s.want(403, "permission denied", "GET", acks+"7", ben, ""); a.field("error_code") != 60002.0 {
		t.Errorf("not the sender: %s", a.body)
	}
	s.configure("acme/chat", `{"group_receipts":{"visibility":"members"}}`)
	s.want(200, "", "GET", acks+"7", ben, "")
	s.want(403, "permission denied", "GET", acks+"7", s.login("dan"), "")
	s.configure("acme/chat", `{"reciprocal_read_receipts":true}`)
	s.want(200, "", "GET", acks+"7", ben, "")
	s.want(200, "", "PUT", "/v1/apps/acme/chat/users/ben/settings", adminKey, `{"send_read_receipts":false}`)
	s.want(403, "permission denied", "GET", acks+"7", ben, "") // who hides their own reads
	s.want(200, "", "GET", acks+"7", ann, "")
	s.configure("acme/chat", `{"group_receipts":{"enabled":false}}`)
	if a := s.want(403, "service not open!", "GET", acks+"7", ann, ""); a.field("error_code") != 60004.0 {
		t.Errorf("feature off: %s", a.body)
	}
}

func TestBrowsersMayCallFromAnywhere(t *testing.T) {
	s := startServer(t)
	for _, test := range []struct{ method, path string }{
		{"OPTIONS", "/acme/chat/token"}, {"POST", "/acme/chat/token"}, {"GET", "/acme/chat/nothing"}, {"GET", "/acme/chat/chatgroups/1"},
	} {
		a := s.call(test.method, test.path, "", "")
		if a.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s %s: %d without the header", test.method, test.path, a.status)
		}
		if test.method == "OPTIONS" && (a.status != 204 || !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "authorization")) {
			t.Errorf("preflight: %d %v", a.status, a.header)
		}
	}
	// The API's own paths are not the SDK's.
	if a := s.call("POST", "/v1/chat/token", "", "{}"); a.status != 404 || a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("org v1: %d %s", a.status, a.body)
	}
}
