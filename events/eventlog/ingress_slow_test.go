package eventlog_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/internal/lab/unread"
)

// Clients that are slow in TLS are closed as those without it are: in the handshake, between it and
// the login, and when they do not read. Others are served meanwhile.
func TestSlowTLSClientsAreClosed(t *testing.T) {
	t.Parallel()
	outside := httptest.NewTLSServer(nil) // for its certificate
	defer outside.Close()
	l := natstest.OpenLog(t, eventlog.Config{Partitions: 1, Ingress: eventlog.Ingress{
		Listen: "127.0.0.1:0", Password: "let me in", TLS: &tls.Config{Certificates: outside.TLS.Certificates, MinVersion: tls.VersionTLS12},
	}})
	// connect reads what the server says first, which is not encrypted.
	connect := func(t *testing.T) net.Conn {
		raw := unread.Dial(t, l.IngressAddr().String())
		for piece := make([]byte, 1); piece[0] != '\n'; {
			if _, err := raw.Read(piece); err != nil {
				t.Fatal(err)
			}
		}
		return raw
	}
	trust := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
	hello := clientHello(t, trust)
	login := func(t *testing.T) *tls.Conn {
		conn := tls.Client(connect(t), trust)
		fmt.Fprintf(conn, "CONNECT {\"user\":%q,\"pass\":\"let me in\",\"verbose\":false}\r\nPING\r\n", eventlog.DefaultIngressUser)
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "PONG\r\n" {
			t.Fatalf("login: %q, %v", line, err)
		}
		return conn
	}
	for _, test := range []struct {
		name string
		slow func(t *testing.T) net.Conn
	}{
		{"says nothing", connect},
		{"stops in the handshake", func(t *testing.T) net.Conn {
			raw := connect(t)
			_, _ = raw.Write(hello[:len(hello)/2])
			return raw
		}},
		{"a byte at a time", func(t *testing.T) net.Conn {
			raw := connect(t)
			go trickle(raw, hello)
			return raw
		}},
		{"answers no more after the hello", func(t *testing.T) net.Conn {
			raw := connect(t)
			_, _ = raw.Write(hello)
			return raw
		}},
		{"does not log in", func(t *testing.T) net.Conn {
			conn := tls.Client(connect(t), trust)
			if err := conn.Handshake(); err != nil {
				t.Fatal(err)
			}
			return conn
		}},
		{"a login of a byte at a time", func(t *testing.T) net.Conn {
			conn := tls.Client(connect(t), trust)
			go trickle(conn, []byte("CONNECT {"+strings.Repeat(" ", 4000)))
			return conn
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			conn := test.slow(t)
			// Five are allowed for each step.
			_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("it is still connected")
			}
		})
	}
	t.Run("does not read", func(t *testing.T) {
		t.Parallel()
		conn := login(t)
		// A busy machine takes its time to fill what the sockets hold.
		_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Minute))
		pings := bytes.Repeat([]byte("PING\r\n"), 2000)
		var err error
		var last time.Time
		sent := 0
		for err == nil {
			last = time.Now()
			_, err = conn.Write(pings)
			sent += len(pings)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("it is still connected: %d bytes sent, the last of them took %v", sent, time.Since(last))
		}
	})
	t.Run("is quick", func(t *testing.T) {
		conn := login(t)
		if _, err := l.Append(testContext(t), receipts(1, 0)); err != nil {
			t.Error(err)
		}
		_ = conn.Close()
	})
}

// trickle writes a byte each tenth of a second until that fails.
func trickle(w io.Writer, data []byte) {
	for i := range data {
		if _, err := w.Write(data[i : i+1]); err != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// clientHello is what a TLS client says first.
func clientHello(t *testing.T, cfg *tls.Config) []byte {
	t.Helper()
	here, there := net.Pipe()
	go func() { _ = tls.Client(here, cfg).Handshake() }()
	defer here.Close()
	buf := make([]byte, 4096)
	n, err := there.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}
