package msync

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

// counted is a listener that counts what is done to its connections.
type counted struct {
	net.Listener
	reads, writes atomic.Int64
}

func (l *counted) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return &countedConn{conn, l}, err
}

type countedConn struct {
	net.Conn
	of *counted
}

func (c *countedConn) Read(p []byte) (int, error) {
	c.of.reads.Add(1)
	return c.Conn.Read(p)
}

func (c *countedConn) Write(p []byte) (int, error) {
	c.of.writes.Add(1)
	return c.Conn.Write(p)
}

// A connection gives way while frames are there in any number: another goroutine sees every few of
// its reads and of its answers.
func TestFramesInARowGiveWay(t *testing.T) {
	const upgrade = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	const bye = "\x88\x80\x00\x00\x00\x00"
	for _, test := range []struct {
		name, first, frame string
		n                  int
	}{
		{"pings", "", "\x89\x80\x00\x00\x00\x00", 10_000},
		{"empty parts of a message", "\x02\x80\x00\x00\x00\x00", "\x00\x80\x00\x00\x00\x00", 200_000},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := New(Config{Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
			web := httptest.NewUnstartedServer(http.HandlerFunc(s.ServeHTTP))
			l := &counted{Listener: web.Listener}
			web.Listener = l
			web.Start()
			defer web.Close()
			conn, err := net.Dial("tcp", web.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			over := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, conn)
				over <- err
			}()

			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			go func() { _, _ = io.WriteString(conn, upgrade+test.first+strings.Repeat(test.frame, test.n)+bye) }()
			most, last := int64(0), int64(0)
			for looking := true; looking; {
				select {
				case err := <-over:
					if err != nil {
						t.Error(err)
					}
					looking = false
				default:
					runtime.Gosched()
				}
				now := l.reads.Load() + l.writes.Load()
				most, last = max(most, now-last), now
			}
			if last < 200 {
				t.Errorf("only %d reads and writes", last)
			}
			if most > 20 {
				t.Errorf("%d reads and writes were in a row, while another goroutine waited", most)
			}
		})
	}
}
