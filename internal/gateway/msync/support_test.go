package msync_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
	"github.com/receiptd/receiptd/internal/lab/metrictest"
	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/internal/runtime"
)

const (
	app     = "acme#chat"
	appPath = "/v1/apps/acme/chat"
	// open are the settings of most tests.
	open = `{"group_receipts":{"enabled":true},"open_registration":true}`
)

// server is a whole receiptd in this process, on a socket.
type server struct {
	t   testing.TB
	cfg config.Config
	*runtime.Server
	cancel context.CancelFunc
	done   chan error
}

func startServer(t testing.TB, settings string, change ...func(*config.Config)) *server {
	t.Helper()
	cfg := config.Default()
	cfg.Data = t.TempDir()
	cfg.HTTP.Listen = "127.0.0.1:0"
	cfg.HTTP.AdminKey = "admin-key"
	cfg.Log.Partitions = 2
	cfg.ShutdownTimeout = patience
	for _, f := range change {
		f(&cfg)
	}
	s := &server{t: t, cfg: cfg}
	s.start()
	t.Cleanup(s.stop)
	s.configure(settings)
	return s
}

func (s *server) start() {
	s.t.Helper()
	built, err := runtime.Build(context.Background(), s.cfg, natstest.Logger(s.t), "test")
	if err != nil {
		s.t.Fatal(err)
	}
	s.Server, s.done = built, make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() { s.done <- built.Run(ctx) }()
	for s.api("GET", "/readyz", "").status != http.StatusOK {
		time.Sleep(5 * time.Millisecond)
	}
}

// stop shuts the server down as SIGTERM does.
func (s *server) stop() {
	if s.cancel == nil {
		return
	}
	s.cancel()
	s.cancel = nil
	if err := errors.Join(<-s.done, s.Close(context.Background())); err != nil {
		s.t.Error(err)
	}
}

func (s *server) restart() {
	s.t.Helper()
	s.stop()
	s.start()
}

func (s *server) configure(settings string) {
	s.t.Helper()
	if a := s.api("PUT", appPath, settings); a.status != http.StatusOK {
		s.t.Fatalf("configure: %d %s", a.status, a.body)
	}
}

// reply is an answer of the HTTP API.
type reply struct {
	status int
	body   []byte
}

// field digs a value out of the JSON body.
func (a reply) field(path ...string) any {
	var v any
	_ = json.Unmarshal(a.body, &v)
	for _, name := range path {
		object, _ := v.(map[string]any)
		v = object[name]
	}
	return v
}

// api calls the HTTP API with the admin key.
func (s *server) api(method, path, body string) reply {
	s.t.Helper()
	return s.call(method, path, "admin-key", body)
}

func (s *server) call(method, path, token, body string) reply {
	s.t.Helper()
	r, err := http.NewRequest(method, "http://"+s.Addr().String()+path, strings.NewReader(body))
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
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{res.StatusCode, text}
}

// applied posts events and waits until they are folded.
func (s *server) applied(events string) {
	s.t.Helper()
	a := s.api("POST", appPath+"/events?wait=applied", events)
	if a.status != http.StatusOK || bytes.Contains(a.body, []byte("rejected")) {
		s.t.Fatalf("events: %d %s", a.status, a.body)
	}
}

// ndjson posts events by lines, without waiting for the folds.
func (s *server) ndjson(lines string) {
	s.t.Helper()
	r, err := http.NewRequest("POST", "http://"+s.Addr().String()+appPath+"/events", strings.NewReader(lines))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer admin-key")
	r.Header.Set("Content-Type", "application/x-ndjson")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		s.t.Fatalf("events: %s", res.Status)
	}
}

func (s *server) token(user string) string {
	s.t.Helper()
	token, _ := s.api("POST", appPath+"/users/"+user+"/tokens", "{}").field("token").(string)
	return token
}

func (s *server) url() string { return "ws://" + s.Addr().String() + "/websocket" }

// dial logs in without reading anything further.
func (s *server) dial(user, device string) *client {
	s.t.Helper()
	c, answer := dial(s.t, s.url(), identity{app, user, device, s.token(user), nil})
	if answer.GetStatus().GetCode() != msyncpb.Status_OK || answer.GetResource() != device {
		s.t.Fatalf("login of %s: %v", user, answer)
	}
	return c
}

// login logs in like the SDK.
func (s *server) login(user, device string) *client {
	s.t.Helper()
	c := s.dial(user, device)
	c.start()
	return c
}

// manual logs in a client that takes pages one by one.
func (s *server) manual(user, device string) *client {
	s.t.Helper()
	c := s.dial(user, device)
	c.manual = true
	c.start()
	if p := c.nextPage(); !p.GetIsLast() || len(p.Metas) > 0 {
		s.t.Fatalf("the first page is %v, want an empty last one", p)
	}
	// It may be pushed to from the answer on: what comes before is in that, and is to be pulled.
	c.await("the answer to the first heartbeat", func() bool { return len(c.unread) > 0 })
	return c
}

// group makes a group over HTTP.
func (s *server) group(id, owner string, members ...string) {
	s.t.Helper()
	list, _ := json.Marshal(members)
	s.applied(fmt.Sprintf(`{"type":"group.created","group":%q,"owner":%q,"members":%s}`, id, owner, list))
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// metric is the value of a series, as /metrics shows it; 0 if it is not there.
func (s *server) metric(series string) (value float64) {
	s.t.Helper()
	value, _ = metrictest.Sum(string(s.api("GET", "/metrics", "").body), series)
	return value
}
