package runtime

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// Whoever opens connections without end leaves files for the log, and places for others.
func TestConnectionsLeaveFilesForTheLog(t *testing.T) {
	t.Parallel()
	const most = 16
	s, err := Build(testContext(t), testConfig(t), natstest.Logger(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	door := s.listener.(*places)
	door.most = most
	r := run(t, s)
	open := func() int {
		door.mu.Lock()
		defer door.mu.Unlock()
		return len(door.open)
	}
	for range 4 * most { // connections that stay, of a client that keeps one
		conn, err := net.Dial("tcp", r.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err == nil {
			_, _ = bufio.NewReader(conn).ReadString('\n') // it may have been refused
		}
		if n := open(); n > most {
			t.Fatalf("%d connections are open, of %d", n, most)
		}
	}
	var status int
	for end := time.Now().Add(patience); status != http.StatusOK && time.Now().Before(end); {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		if res, err := client.Get("http://" + r.Addr().String() + "/healthz"); err == nil {
			status = res.StatusCode
			_ = res.Body.Close()
		}
		time.Sleep(placesLook)
	}
	if status != http.StatusOK {
		t.Error("idle connections keep others out")
	}
}

// Idle connections of the address that has most give way; those on which something is asked stay,
// and so do those of others.
func TestPlacesGoToThoseWhoHaveFew(t *testing.T) {
	t.Parallel()
	p := newPlaces(nil, 8, prometheus.NewRegistry())
	enter := func(address string, state http.ConnState) (*placed, bool) {
		p.looked = time.Time{}
		a, b := net.Pipe()
		t.Cleanup(func() { _ = b.Close() })
		k := &placed{Conn: a, of: p, address: address, idle: true}
		ok := p.enter(k)
		if ok {
			p.changed(k, state)
		}
		return k, ok
	}
	must := func(want bool, address string, state http.ConnState) *placed {
		t.Helper()
		k, ok := enter(address, state)
		if ok != want {
			t.Fatalf("a connection of %s: %v, want %v; there are %v", address, ok, want, p.held)
		}
		return k
	}
	for range 6 { // three quarters
		must(true, "greedy", http.StateActive)
	}
	must(false, "greedy", http.StateActive)
	first := must(true, "quiet", http.StateIdle)
	must(true, "quiet", http.StateActive)
	must(false, "third", http.StateActive) // the greedy one has none that could go
	for k := range p.open {
		if k.address == "greedy" {
			p.changed(k, http.StateIdle)
		}
	}
	must(true, "third", http.StateActive)
	must(true, "third", http.StateActive)
	if p.held["greedy"] >= 6 || p.held["quiet"] != 2 || first.left {
		t.Errorf("held: %v", p.held)
	}
	for k := range p.open {
		_ = k.Close()
		_ = k.Close()
	}
	if len(p.open) != 0 || len(p.held) != 0 {
		t.Errorf("remembered: %v", p.held)
	}
}

func TestPlacesByTheFilesThatMayBeOpen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		files      uint64
		partitions int
		want       int
	}{
		{1024, 2, 512}, {20_000, 2, 20_000 - 4096}, {1 << 20, 16, 1<<20 - 2048 - 16*1024}, {1 << 62, 1, 1 << 30},
	} {
		if got := placesFor(c.files, c.partitions); got != c.want {
			t.Errorf("%d files, %d partitions: %d places, want %d", c.files, c.partitions, got, c.want)
		}
	}
}
