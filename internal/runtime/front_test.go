package runtime

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/lab/output"
)

// raw sends bytes and returns all that the server answers before it closes the connection.
func (r *running) raw(text string) string {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, text); err != nil {
		r.t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		r.t.Fatalf("the connection stays open after %q", answer)
	}
	return string(answer)
}

// What follows a body whose length two headers tell differently is no request.
func TestSecondRequestInABodyIsNotServed(t *testing.T) {
	r := start(t, testConfig(t))
	answer := r.raw("POST /v1/apps/a/b/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if n := strings.Count(answer, "HTTP/1.1 "); n != 1 {
		t.Errorf("%d answers: %s", n, answer)
	}
}

// A page elsewhere whose name was pointed at this machine reads nothing.
func TestNamesOfOthersReadNothing(t *testing.T) {
	cfg := testConfig(t)
	cfg.HTTP.Hosts = "chat.example"
	r := start(t, cfg)
	for host, want := range map[string]int{"rebound.example": 421, "chat.example": 200, "localhost": 200} {
		rq, _ := http.NewRequest("GET", fmt.Sprintf("http://%s/metrics", r.Addr()), nil)
		rq.Host = host
		res, err := http.DefaultClient.Do(rq)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("as %s: %d, want %d", host, res.StatusCode, want)
		}
	}
}

// What is told without a key may be for those who have it only.
func TestTotalsMayTakeTheKey(t *testing.T) {
	for metrics, want := range map[string]int{config.MetricsAuto: 200, config.MetricsOpen: 200, config.MetricsKey: 401} {
		cfg := testConfig(t)
		cfg.HTTP.Metrics = metrics
		r := start(t, cfg)
		for _, path := range []string{"/metrics", "/v1/status"} {
			for key, want := range map[string]int{"": want, "wrong": want, r.AdminKey(): 200} {
				if got, _ := r.get(path, key); got != want {
					t.Errorf("%s of %s with the key %q: %d, want %d", path, metrics, key, got, want)
				}
			}
		}
		if _, page := r.get("/", ""); strings.Contains(page, "Open streams") != (want == 200) {
			t.Errorf("%s: the page shows totals, or does not", metrics)
		}
		r.stop()
	}
	for _, x := range []struct {
		listen, metrics string
		want            bool
	}{
		{"127.0.0.1:8080", config.MetricsAuto, false}, {"0.0.0.0:8080", config.MetricsAuto, true}, {"0.0.0.0:8080", config.MetricsOpen, false},
	} {
		if got := (config.HTTP{Listen: x.listen, Metrics: x.metrics}).PrivateTotals(); got != x.want {
			t.Errorf("%+v: %v", x, got)
		}
	}
}

func (r *running) get(path, key string) (status int, body string) {
	r.t.Helper()
	rq, _ := http.NewRequest("GET", fmt.Sprintf("http://%s%s", r.Addr(), path), nil)
	if key != "" {
		rq.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := http.DefaultClient.Do(rq)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// A server that others reach without a proxy says that keys travel unencrypted.
func TestUnencryptedKeysAreWarnedOf(t *testing.T) {
	for _, test := range []struct {
		listen  string
		proxies config.CommaList
		warned  bool
	}{
		{"0.0.0.0:0", "", true}, {"0.0.0.0:0", "10.0.0.0/8", false}, {"127.0.0.1:0", "", false},
	} {
		cfg := testConfig(t)
		cfg.HTTP.Listen, cfg.HTTP.TrustedProxies = test.listen, test.proxies
		var said output.Buffer
		s, err := Build(testContext(t), cfg, slog.New(slog.NewTextHandler(&said, nil)), "test")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(testContext(t)); err != nil {
			t.Fatal(err)
		}
		warned := strings.Contains(said.String(), "level=WARN") && strings.Contains(said.String(), "keys and tokens travel unencrypted")
		if warned != test.warned {
			t.Errorf("at %s behind %q: warned %v\n%s", test.listen, test.proxies, warned, said.String())
		}
	}
}
