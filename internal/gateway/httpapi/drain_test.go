package httpapi

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/gateway/admission"
)

// TestRefusalIsReadByWhoIsStillSending: clients that send all of a large body before they look for
// an answer see the refusal, and not a connection that broke.
func TestRefusalIsReadByWhoIsStillSending(t *testing.T) {
	const size = 8 << 20
	h := newHarness(t, func(c *Config) {
		c.Limits.BodyBytes = size
	})
	bearer := "Authorization: Bearer " + testAdminKey
	const json = "Content-Type: application/json"
	for _, c := range []struct {
		name, request string
		header        []string
		size          int
		status        int
	}{
		{"no token", "POST " + eventsPath, []string{json}, size, 401},
		{"not for this token", "POST " + eventsPath, []string{json, "Authorization: Bearer " + h.token("bob")}, size, 403},
		{"no such app", "POST /v1/apps/no/app/events", []string{json, bearer}, size, 404},
		{"no such path", "POST /v1/nowhere", []string{json, bearer}, size, 404},
		{"a path with steps", "POST " + base + "//events", []string{json, bearer}, size, 404},
		{"wrong method", "POST " + base + "/messages/m1", []string{json, bearer}, size, 405},
		{"too large", "POST " + eventsPath, []string{json, bearer}, size + 4<<20, 413},
		{"settings that are too large", "PUT " + base, []string{json, bearer}, size, 413},
		{"wrong type", "POST " + eventsPath, []string{"Content-Type: text/plain", bearer}, size, 415},
		{"wrong encoding", "POST " + eventsPath, []string{json, bearer, "Content-Encoding: br"}, size, 415},
		{"unknown parameter", "POST " + eventsPath + "?x=1", []string{json, bearer}, size, 400},
	} {
		for _, way := range []string{"length", "chunked", "expect"} {
			t.Run(c.name+", "+way, func(t *testing.T) {
				t.Parallel()
				res, err := sendAll(h.server.Listener.Addr().String(), c.request, way, c.header, c.size)
				if err != nil || res.StatusCode != c.status {
					t.Fatalf("%v, %v; want %d", res, err, c.status)
				}
				body, err := io.ReadAll(res.Body)
				if err != nil || !strings.HasPrefix(string(body), `{"error":{"code":"`) {
					t.Errorf("%q, %v", body, err)
				}
			})
		}
	}
}

// TestOverloadIsReadByWhoIsStillSending does the same where there is no room for the body.
func TestOverloadIsReadByWhoIsStillSending(t *testing.T) {
	h := newHarness(t, gated(admission.Options{Memory: 2}))
	res, err := sendAll(h.server.Listener.Addr().String(), "POST "+eventsPath, "length",
		[]string{"Content-Type: application/json", "Authorization: Bearer " + testAdminKey}, 8<<20)
	if err != nil || res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Fatalf("%v, %v", res, err)
	}
}

// TestDrainEnds: whoever sends without end, or stands still, is cut off.
func TestDrainEnds(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Limits.BodyBytes = 1 << 20 })
	address := h.server.Listener.Addr().String()
	head := []string{"Content-Type: application/json"}
	if _, err := sendAll(address, "POST "+eventsPath, "length", head, 256<<20); err == nil {
		t.Error("256 MiB of a refused body were read")
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 8388608\r\n\r\n%s", eventsPath, strings.Repeat("x", 1<<20))
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if rest, err := io.ReadAll(conn); !strings.HasPrefix(string(rest), "HTTP/1.1 401 ") || err != nil {
		t.Errorf("a client that stands still: %.40q, %v", rest, err)
	}
}

// sendAll sends a request with a body of a size before it looks for the answer.
func sendAll(address, request, way string, header []string, size int) (*http.Response, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	switch way {
	case "length":
		header = append(header[:len(header):len(header)], fmt.Sprintf("Content-Length: %d", size))
	case "chunked":
		header = append(header[:len(header):len(header)], "Transfer-Encoding: chunked")
	case "expect": // and does not wait for it, as it may
		header = append(header[:len(header):len(header)], fmt.Sprintf("Content-Length: %d", size), "Expect: 100-continue")
	}
	w := bufio.NewWriterSize(conn, 64<<10)
	fmt.Fprintf(w, "%s HTTP/1.1\r\nHost: receiptd\r\n%s\r\n\r\n", request, strings.Join(header, "\r\n"))
	piece := strings.Repeat("x", 64<<10)
	for sent := 0; sent < size; sent += len(piece) {
		if way == "chunked" {
			fmt.Fprintf(w, "%x\r\n%s\r\n", len(piece), piece)
		} else {
			_, err = w.WriteString(piece)
		}
	}
	if way == "chunked" {
		_, err = w.WriteString("0\r\n\r\n")
	}
	if err := errors.Join(err, w.Flush()); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err == nil && res.StatusCode == http.StatusContinue {
		res, err = http.ReadResponse(in, nil)
	}
	return res, err
}
