package runtime

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// Whoever opens connections without end leaves files for the log, and connections for others.
func TestConnectionsLeaveFilesForTheLog(t *testing.T) {
	t.Parallel()
	const most = 16
	s, err := Build(testContext(t), testConfig(t), natstest.Logger(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	door := s.listener.(*connections)
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
		time.Sleep(idlersLook)
	}
	if status != http.StatusOK {
		t.Error("idle connections keep others out")
	}
}

// Idle connections of the address that has most give way; those on which something is asked stay,
// and so do those of others.
func TestConnectionsGoToThoseWhoHaveFew(t *testing.T) {
	t.Parallel()
	p := limitConnections(nil, 8, prometheus.NewRegistry())
	enter := func(address string, state http.ConnState) (*connection, bool) {
		p.looked = time.Time{}
		a, b := net.Pipe()
		t.Cleanup(func() { _ = b.Close() })
		k := &connection{Conn: a, of: p, address: address, idle: true}
		ok := p.enter(k)
		if ok {
			p.changed(k, state)
		}
		return k, ok
	}
	must := func(want bool, address string, state http.ConnState) *connection {
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

func TestConnectionsByTheFilesThatMayBeOpen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		files      uint64
		partitions int
		want       int
	}{
		{1024, 2, 512}, {20_000, 2, 20_000 - 4096}, {1 << 20, 16, 1<<20 - 2048 - 16*1024}, {1 << 62, 1, 1 << 30},
	} {
		if got := connectionsFor(c.files, c.partitions); got != c.want {
			t.Errorf("%d files, %d partitions: %d connections, want %d", c.files, c.partitions, got, c.want)
		}
	}
}

// Before anything is opened: with too few files a start is refused, with few it warns, and NATS
// clients count.
func TestFilesAreCountedBeforeTheyAreOpened(t *testing.T) {
	t.Parallel()
	listening := config.Log{NATSListen: "127.0.0.1:0"}
	for _, c := range []struct {
		cfg     config.Log
		files   uint64
		refused bool
		warns   bool
		clients int
	}{
		{config.Log{}, 24, true, false, 0},
		{config.Log{}, 255, true, false, 0},
		{config.Log{}, 256, false, true, 0},
		{config.Log{}, 4095, false, true, 0},
		{config.Log{}, 4096, false, false, 0},
		{listening, 256, false, true, 32},
		{listening, 5119, false, true, 639},
		{listening, 5120, false, false, 640},
		{listening, 1 << 20, false, false, 1024},
	} {
		var said bytes.Buffer
		err := checkFiles(&c.cfg, c.files, slog.New(slog.NewTextHandler(&said, nil)))
		if errors.Is(err, errTooFewFiles) != c.refused || strings.Contains(said.String(), "level=WARN") != c.warns {
			t.Errorf("%d files: %v, %s", c.files, err, &said)
		}
		if got := ingressConnections(&c.cfg, c.files); got != c.clients {
			t.Errorf("%d files: %d NATS clients, want %d", c.files, got, c.clients)
		}
	}
}
