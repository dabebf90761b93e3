package runtime

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
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
