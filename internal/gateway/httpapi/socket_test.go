package httpapi

import (
	"bufio"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/lab/unread"
)

// A connection of HTTP/2 whose client leaves its socket full is closed, and its requests end: what
// ends one of them alone would have to be written to the same socket.
func TestFullSocketsOverHTTP2AreClosed(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Limits.StreamWrite = 100 * time.Millisecond })
	conn := unread.Dial(t, h.server.Listener.Addr().String())
	const window = 1 << 30 // so that what is not read stays in the socket
	send := []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	frame := func(kind, flags byte, stream uint32, payload []byte) {
		send = binary.BigEndian.AppendUint32(send, uint32(len(payload))<<8|uint32(kind))
		send = binary.BigEndian.AppendUint32(append(send, flags), stream)
		send = append(send, payload...)
	}
	// SETTINGS with the window of a request, WINDOW_UPDATE with that of all, HEADERS with no body.
	frame(4, 0, 0, binary.BigEndian.AppendUint32([]byte{0, 4}, window))
	frame(8, 0, 0, binary.BigEndian.AppendUint32(nil, window))
	const path = "/openapi.yaml"
	ask := append([]byte{0x82, 0x86, 0x41, 1, 'x', 0x44, byte(len(path))}, path...)
	for i := range uint32(200) {
		frame(1, 5, 2*i+1, ask)
	}
	if _, err := conn.Write(send); err != nil {
		t.Fatal(err)
	}
	open := func() int {
		h.api.connections.mu.Lock()
		defer h.api.connections.mu.Unlock()
		return len(h.api.connections.open)
	}
	for end := time.Now().Add(patience); open() > 0 || !strings.Contains(h.logged.String(), path); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the connection and its requests are there still")
		}
	}
}

// TestStreamsGoOnOverHTTP2: the time that a client has to take what it is sent is none in which
// something must be sent.
func TestStreamsGoOnOverHTTP2(t *testing.T) {
	t.Parallel()
	const writeTime = 2 * time.Second
	h := newHarness(t, func(c *Config) { c.Limits.StreamWrite, c.Limits.Heartbeat = writeTime, writeTime*3/2 })
	res, err := http2().Do(request{method: "GET", path: base + "/users/alice/stream"}.build(t, h.server.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.ProtoMajor != 2 {
		t.Fatalf("over %s", res.Proto)
	}
	lines := bufio.NewScanner(res.Body)
	for heartbeats := 0; heartbeats < 2; {
		if !lines.Scan() {
			t.Fatalf("ended after %d heartbeats: %v", heartbeats, lines.Err())
		}
		if lines.Text() == ":" {
			heartbeats++
		}
	}
}
