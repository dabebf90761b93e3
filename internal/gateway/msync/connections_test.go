package msync_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

func TestLoginsAreRefusedForAReason(t *testing.T) {
	s := startServer(t, open)
	other := s.token("bob")
	expired := expiredToken(t, s)
	for _, test := range []struct {
		name, app, user, device, token string
		code                           msyncpb.Status_Code
		reason                         string
	}{
		{"no token", app, "ann", "web", "", msyncpb.Status_FAIL, "Sorry, token or password does not match login info"},
		{"another's token", app, "ann", "web", other, msyncpb.Status_FAIL, "Sorry, token or password does not match login info"},
		{"another app", "acme#other", "bob", "web", other, msyncpb.Status_FAIL, "Sorry, token or password does not match login info"},
		{"expired", app, "ann", "web", expired, msyncpb.Status_FAIL, "Sorry, token expired"},
		{"no device", app, "bob", "", other, msyncpb.Status_WRONG_PARAMETER, "resource is not an id"},
		{"a long device", app, "bob", strings.Repeat("x", 129), other, msyncpb.Status_WRONG_PARAMETER, "resource is not an id"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, answer := dial(t, s.url(), identity{app: test.app, user: test.user, device: test.device, token: test.token})
			if answer.Status.GetCode() != test.code || answer.Status.GetReason() != test.reason {
				t.Errorf("answered with %v", answer.Status)
			}
			go c.read()
			c.closes(websocket.StatusPolicyViolation, "login_refused")
		})
	}
	if n := s.metric(`receiptd_sdk_refused_total{reason="login"}`); n != 6 {
		t.Errorf("%v refusals are counted", n)
	}
}

// expiredToken is a token of a server's key that has expired.
func expiredToken(t *testing.T, s *server) string {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(s.cfg.Data, "token.key"))
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := gateway.NewTokens(bytes.TrimSpace(key), func() time.Time { return time.Now().Add(-time.Hour) })
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := tokens.Mint(app, "ann", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// Sockets that say nothing take the room of those from their own address only, and not for long.
func TestIdleSocketsAreBoundedByAddress(t *testing.T) {
	s := startServer(t, open, func(c *config.Config) {
		c.SDK.MaxConnections, c.SDK.PendingPerAddress, c.SDK.ProvisionTimeout = 100, 3, 2*time.Second
		c.HTTP.TrustedProxies = "127.0.0.1/32"
	})
	from := func(address string) error {
		conn, _, err := websocket.Dial(context.Background(), s.url(), &websocket.DialOptions{HTTPHeader: http.Header{"X-Forwarded-For": {address}}})
		if err == nil {
			t.Cleanup(func() { _ = conn.CloseNow() })
		}
		return err
	}
	for range 3 {
		if err := from("203.0.113.5"); err != nil {
			t.Fatal(err)
		}
	}
	if from("203.0.113.5") == nil {
		t.Error("a fourth silent connection from one address")
	}
	if err := from("203.0.113.6"); err != nil {
		t.Errorf("from another address: %v", err)
	}
	if n := s.metric(`receiptd_sdk_refused_total{reason="too_many_without_login_from_address"}`); n != 1 {
		t.Errorf("%v refusals are counted", n)
	}
	eventually(t, "the silent ones to be dropped", func() bool { return s.metric("receiptd_sdk_connections") == 0 })
	for i := range 5 { // who has logged in does not count
		s.login("ann", fmt.Sprint(i))
	}
	if err := from("203.0.113.5"); err != nil {
		t.Errorf("after they were dropped: %v", err)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	s := startServer(t, open, func(c *config.Config) { c.SDK.MaxConnections, c.SDK.MaxConnectionsPerUser = 3, 2 })
	one, two := s.login("ann", "1"), s.login("ann", "2")
	third, answer := dial(t, s.url(), identity{app, "ann", "3", s.token("ann"), nil})
	if answer.Status.GetCode() != msyncpb.Status_TOO_MANY_DEVICES {
		t.Errorf("a third connection of a user is answered with %v", answer.Status)
	}
	go third.read()
	third.closes(websocket.StatusPolicyViolation, "login_refused")

	// The client knows of the end a little before it is counted.
	eventually(t, "room for bob", func() bool { return s.metric("receiptd_sdk_connections") == 2 })
	bob := s.login("bob", "1")
	s.crowded(app, "cleo")
	for _, reason := range []string{"too_many_connections", "too_many_connections_of_user"} {
		if n := s.metric(fmt.Sprintf("receiptd_sdk_refused_total{reason=%q}", reason)); n != 1 {
			t.Errorf("%s is counted %v times", reason, n)
		}
	}
	for _, c := range []*client{one, two, bob} {
		c.logout()
	}
	eventually(t, "room for others", func() bool { return s.metric("receiptd_sdk_connections") == 0 })
	s.login("ann", "3").settle()
}

// crowded checks that there is no slot for a login.
func (s *server) crowded(app, user string) {
	s.t.Helper()
	conn, _, err := websocket.Dial(context.Background(), s.url(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	c := &client{t: s.t, user: user, conn: conn, changed: make(chan struct{}), done: make(chan struct{})}
	s.t.Cleanup(c.cut)
	device := "web"
	c.write(&msyncpb.Frame{
		Command: msyncpb.Frame_PROVISION.Enum(), Auth: proto.String("$t$" + s.tokenOf(app, user)),
		Guid:    &msyncpb.Name{AppKey: &app, Name: &user, Domain: proto.String("easemob.com"), Resource: &device},
		Payload: encode(&msyncpb.Provision{Resource: &device, SessionId: proto.String("1:")}),
	})
	go c.read()
	c.closes(websocket.StatusTryAgainLater, "too_many_connections")
}

// tokenOf is a token of a user of any app.
func (s *server) tokenOf(app, user string) string {
	s.t.Helper()
	token, _ := s.api("POST", "/v1/apps/"+strings.Replace(app, "#", "/", 1)+"/users/"+user+"/tokens", "{}").field("token").(string)
	return token
}

// An app with very many users holds all slots only until another app asks for some: connections
// that came last end, and the app that was quiet gets as many as the other one, not more.
func TestConnectionsAreSharedByApps(t *testing.T) {
	s := startServer(t, open, func(c *config.Config) { c.SDK.MaxConnections = 4 })
	const quiet = "acme#mail"
	if a := s.api("PUT", "/v1/apps/acme/mail", open); a.status != http.StatusOK {
		t.Fatalf("configure: %d %s", a.status, a.body)
	}
	var greedy []*client
	for i := range 4 {
		greedy = append(greedy, s.login(fmt.Sprint("user", i), "web"))
	}
	for i := range 2 {
		c, answer := dial(t, s.url(), identity{quiet, fmt.Sprint("zoe", i), "web", s.tokenOf(quiet, fmt.Sprint("zoe", i)), nil})
		if answer.GetStatus().GetCode() != msyncpb.Status_OK {
			t.Fatalf("login %d of the quiet app: %v", i, answer)
		}
		c.start()
	}
	for _, i := range []int{3, 2} {
		greedy[i].closes(websocket.StatusTryAgainLater, "too_many_connections")
	}
	s.crowded(quiet, "zoe3")
	s.crowded(app, "user3")
	greedy[0].settle()
	if n := s.metric("receiptd_sdk_sessions"); n != 4 {
		t.Errorf("%v sessions are counted", n)
	}
}

// Addresses that hold all slots of connections without a login give some to those who hold few.
func TestSlotsBeforeTheLoginAreSharedByAddresses(t *testing.T) {
	s := startServer(t, open, func(c *config.Config) {
		c.SDK.MaxConnections, c.SDK.PendingPerAddress, c.SDK.ProvisionTimeout = 16, 4, patience
		c.HTTP.TrustedProxies = "127.0.0.1/32"
	})
	silent := func(address string) *client {
		conn, _, err := websocket.Dial(context.Background(), s.url(), &websocket.DialOptions{HTTPHeader: http.Header{"X-Forwarded-For": {address}}})
		if err != nil {
			t.Fatalf("%s: %v", address, err)
		}
		c := &client{t: t, conn: conn, changed: make(chan struct{}), done: make(chan struct{})}
		t.Cleanup(c.cut)
		go c.read()
		return c
	}
	var last *client
	for range 4 {
		last = silent("203.0.113.5")
	}
	silent("203.0.113.6")
	<-last.done
	s.login("ann", "web").settle() // from an address of its own
	if n := s.metric(`receiptd_sdk_closed_total{reason="too_many_connections"}`); n != 2 {
		t.Errorf("%v are counted", n)
	}
}

// TestTokensOfTheGatewayOpenBothEdges: there is one kind of token.
func TestTokensOfTheGatewayOpenBothEdges(t *testing.T) {
	s := startServer(t, open)
	if a := s.call("POST", "/acme/chat/users", "", `{"username":"ann","password":"secret"}`); a.status != http.StatusOK {
		t.Fatalf("register: %d %s", a.status, a.body)
	}
	token, _ := s.call("POST", "/acme/chat/token", "", `{"grant_type":"password","username":"ann","password":"secret"}`).field("access_token").(string)
	if a := s.call("GET", appPath+"/users/ann/statistics", token, ""); a.status != http.StatusOK {
		t.Errorf("the HTTP API answers %d", a.status)
	}
	if _, answer := dial(t, s.url(), identity{app, "ann", "web", token, nil}); answer.Status.GetCode() != msyncpb.Status_OK {
		t.Errorf("MSYNC answers %v", answer.Status)
	}
	if _, err := gateway.NewTokens(nil, time.Now); err == nil {
		t.Error("a token key of no length is accepted")
	}
}
