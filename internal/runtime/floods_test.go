package runtime

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// While users of one app flood every door, another app's events are taken and decided, and its
// users log in. How long they wait is told, and depends on the machine; that they are answered
// does not.
func TestFloodsOfOneAppLeaveOthersServed(t *testing.T) {
	cfg := testConfig(t)
	cfg.HTTP.TrustedProxies = "127.0.0.1/32"
	cfg.SDK.MaxConnections, cfg.SDK.PendingPerAddress = 50, 20
	r := start(t, cfg)
	eventually(t, "the server is ready", func() bool { status, _ := r.get("/readyz", ""); return status == 200 })
	admin := "Bearer " + r.AdminKey()
	call := func(method, path, bearer, address, body string) int {
		rq, err := http.NewRequest(method, fmt.Sprintf("http://%s%s", r.Addr(), path), strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return 0
		}
		rq.Header.Set("Content-Type", "application/json")
		rq.Header.Set("X-Forwarded-For", address)
		if bearer != "" {
			rq.Header.Set("Authorization", bearer)
		}
		res, err := http.DefaultClient.Do(rq)
		if err != nil {
			return 0
		}
		res.Body.Close()
		return res.StatusCode
	}
	for _, name := range []string{"loud", "quiet"} {
		if status := call("PUT", "/v1/apps/acme/"+name, admin, "10.0.0.1", `{"open_registration":true}`); status != 200 {
			t.Fatalf("%s: %d", name, status)
		}
	}
	if status := call("POST", "/acme/quiet/users", "", "10.0.0.1", `{"username":"ann","password":"pw"}`); status != 200 {
		t.Fatalf("register: %d", status)
	}
	quiet := func(i int) {
		t.Helper()
		event := fmt.Sprintf(`{"type":"message.sent","id":"q%d","from":"ann","peer":"ben"}`, i)
		if status := call("POST", "/v1/apps/acme/quiet/events?wait=applied", admin, "10.0.0.1", event); status != 200 {
			t.Errorf("an event of the quiet app: %d", status)
		}
		login := `{"grant_type":"password","username":"ann","password":"pw"}`
		if status := call("POST", "/acme/quiet/token", "", "10.0.0.1", login); status != 200 {
			t.Errorf("a login at the quiet app: %d", status)
		}
	}
	members := make([]string, 4990)
	for i := range members {
		members[i] = fmt.Sprintf("%q", fmt.Sprint("invented", i))
	}
	group := `{"owner":"mallory","groupname":"x","members":[` + strings.Join(members, ",") + `]}`
	_, answer := r.try(operation{method: "POST", path: "/v1/apps/acme/loud/users/mallory/tokens"}, strings.NewReplacer(), imposter{bearer: admin}, 0)
	var minted struct{ Token string }
	if err := json.Unmarshal([]byte(answer), &minted); err != nil || minted.Token == "" {
		t.Fatalf("mint: %s", answer)
	}
	mallory := minted.Token
	floods := map[string]func(n int){
		// No flood: what the others take is compared with it.
		"nothing": func(int) { time.Sleep(time.Millisecond) },
		"groups":  func(int) { call("POST", "/acme/loud/chatgroups", "Bearer "+mallory, "10.6.6.6", group) },
		"calls": func(int) {
			call("GET", "/acme/loud/users/mallory/joined_chatgroups", "Bearer "+mallory, "10.6.6.6", "")
		},
		"logins": func(n int) {
			call("POST", "/acme/loud/token", "", fmt.Sprint("10.7.", n>>8&255, ".", n&255), fmt.Sprintf(`{"grant_type":"password","username":"u%d","password":"guess"}`, n))
		},
		"sockets": func(int) {
			conn, _, err := websocket.Dial(context.Background(), fmt.Sprintf("ws://%s/websocket", r.Addr()),
				&websocket.DialOptions{HTTPHeader: http.Header{"X-Forwarded-For": {"10.6.6.6"}}})
			if err == nil {
				t.Cleanup(func() { _ = conn.CloseNow() })
			}
		},
	}
	for name, flood := range floods {
		over := make(chan struct{})
		var flooding sync.WaitGroup
		for k := range 4 {
			flooding.Go(func() {
				for n := k << 12; ; n++ {
					select {
					case <-over:
						return
					default:
						flood(n)
					}
				}
			})
		}
		var took []time.Duration
		for i := range 20 {
			began := time.Now()
			quiet(i)
			took = append(took, time.Since(began))
		}
		if name == "sockets" { // there is a place left
			conn, _, err := websocket.Dial(context.Background(), fmt.Sprintf("ws://%s/websocket", r.Addr()),
				&websocket.DialOptions{HTTPHeader: http.Header{"X-Forwarded-For": {"10.0.0.1"}}})
			if err != nil {
				t.Errorf("a connection of the quiet app: %v", err)
			} else {
				_ = conn.CloseNow()
			}
		}
		close(over)
		flooding.Wait()
		slices.Sort(took)
		t.Logf("%s: an event and a login of the quiet app take p50 %s, most %s", name, took[len(took)/2], took[len(took)-1])
	}
}
