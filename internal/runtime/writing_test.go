package runtime

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/internal/gateway/httpapi"
)

// A request over HTTP/2 that gives way ends although its client leaves the socket full, so that it
// cannot be told: its connection is closed. Otherwise slots would be given that are not free.
func TestFullSocketsGiveWay(t *testing.T) {
	over := make(chan struct{})
	var written atomic.Int64
	endless := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer close(over)
		for piece := make([]byte, 64<<10); ; {
			if _, err := w.Write(piece); err != nil {
				return
			}
			written.Add(int64(len(piece)))
		}
	})
	s := newStreams(endless, 2, prometheus.NewRegistry())
	if s.slots.Take("127.0.0.1", func() {}) == nil {
		t.Fatal("no slot")
	}
	server := httptest.NewUnstartedServer(s)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Config.ConnContext = new(httpapi.API).ConnContext
	server.Start()
	t.Cleanup(server.CloseClientConnections)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	// SETTINGS and WINDOW_UPDATE for windows of 1 GiB, and GET / in HEADERS.
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" +
		"\x00\x00\x06\x04\x00\x00\x00\x00\x00" + "\x00\x04\x40\x00\x00\x00" +
		"\x00\x00\x04\x08\x00\x00\x00\x00\x00" + "\x40\x00\x00\x00" +
		"\x00\x00\x06\x01\x05\x00\x00\x00\x01" + "\x82\x86\x84\x41\x01x")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the socket is full", func() bool {
		before := written.Load()
		// Nothing more goes into it for as long as one can see.
		time.Sleep(200 * time.Millisecond)
		return before > 0 && written.Load() == before
	})
	if s.slots.Take("203.0.113.6", func() {}) == nil {
		t.Fatal("no slot for another address")
	}
	select {
	case <-over:
	case <-time.After(patience):
		t.Error("the request that gave way is there still")
	}
}
