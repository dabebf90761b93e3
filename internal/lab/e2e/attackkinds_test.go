package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

// Connections that are opened and not used.
var connectionAttacks = []attack{
	{"connections that say nothing", false, func(x *attacker) string { return x.hold(x.door(), 2000, "", time.Second, "") }},
	{"half a request line", false, func(x *attacker) string { return x.hold(x.door(), 2000, "GET /rea", 12*time.Second, "") }},
	{"a byte of a header in a second", false, func(x *attacker) string {
		return x.hold(x.door(), 2000, "GET / HTTP/1.1\r\nX: ", 12*time.Second, "x")
	}},
	{"half a preface of HTTP/2", false, func(x *attacker) string { return x.hold(x.door(), 2000, "PRI * HTTP/2.0\r\n", 12*time.Second, "") }},
	{"a greeting of TLS", false, func(x *attacker) string {
		return x.hold(x.door(), 2000, "\x16\x03\x01\x02\x00\x01", 12*time.Second, "")
	}},
	{"a byte of a body in a second", false, func(x *attacker) string {
		return x.hold(x.door(), 2000, x.head("POST", appPath(evilApp)+"/events", "Content-Type: "+ndjson, "Content-Length: 100000"), 8*time.Second, "\n")
	}},
	{"WebSockets that say nothing", false, func(x *attacker) string { return x.hold(x.door(), 1200, upgrade, time.Second, "") }},
	{"silence at the NATS door", false, func(x *attacker) string { return x.hold(x.nats, 1500, "", time.Second, "") }},
	{"a login at the NATS door, a byte in a second", false, func(x *attacker) string {
		return x.hold(x.nats, 1500, `CONNECT {"user":"`, 8*time.Second, "x")
	}},
}

// Requests that are too large, that lie, or that are none.
var bodyAttacks = []attack{
	{"endless lines, headers and chunks", false, func(x *attacker) string {
		post := x.head("POST", appPath(evilApp)+"/events", "Content-Type: "+ndjson, "Transfer-Encoding: chunked")
		return x.want(map[string]string{
			"GET /" + strings.Repeat("a", 100_000) + " HTTP/1.1\r\n\r\n":                           "431",
			"GET / HTTP/1.1\r\nHost: localhost\r\n" + strings.Repeat("a: b\r\n", 100_000) + "\r\n": "431",
			post + "1;" + strings.Repeat("a", 100_000):                                             "400",
			post + "a00000\r\n" + strings.Repeat("\n", 10<<20) + "\r\n0\r\n\r\n":                   "413",
		})
	}},
	{"lengths that lie", false, func(x *attacker) string {
		path := appPath(evilApp) + "/events"
		return x.want(map[string]string{
			x.head("POST", path, "Content-Length: 5", "Content-Length: 6") + "{}":              "400",
			x.head("POST", path, "Content-Length: -5") + "{}":                                  "400",
			x.head("POST", path, "Transfer-Encoding: xchunked") + "{}":                         "501",
			x.head("POST", path, "Content-Type: application/json", "Content-Length: 1") + "{}": "400",
		})
	}},
	{"bombs of gzip and zstd, and 300,000 members", false, func(x *attacker) string {
		bombs := [][]byte{gzipped(bytes.Repeat([]byte("\n"), 64<<20), 1), gzipped(nil, 300_000), zstandard(bytes.Repeat([]byte("\n"), 64<<20))}
		return x.flood(30, 10, func(n int) *http.Request {
			encoding := "gzip"
			if n%3 == 2 {
				encoding = "zstd"
			}
			return x.request("POST", appPath(evilApp)+"/events", bombs[n%3], "Content-Type", ndjson, "Content-Encoding", encoding)
		})
	}},
	{"eight million empty lines", false, func(x *attacker) string {
		body := bytes.Repeat([]byte("\n"), 8<<20)
		return x.flood(20, 10, func(int) *http.Request {
			return x.request("POST", appPath(evilApp)+"/events", body, "Content-Type", ndjson)
		})
	}},
	{"four million empty events of protobuf, and lengths that lie", false, func(x *attacker) string {
		bodies := [][]byte{bytes.Repeat([]byte{0x0a, 0}, 4<<20), {0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f}, bytes.Repeat([]byte{0x0b}, 1<<20)}
		return x.flood(30, 10, func(n int) *http.Request {
			return x.request("POST", appPath(evilApp)+"/events", bodies[n%3], "Content-Type", "application/x-protobuf")
		})
	}},
	{"JSON deep, long and odd", false, func(x *attacker) string {
		bodies := []string{
			strings.Repeat("[", 4<<20), strings.Repeat(`{"a":`, 1<<20), `{"type":"message.read","time":` + strings.Repeat("9", 4<<20) + "}",
			`{"type":"message.read","user":"` + strings.Repeat("x", 4<<20) + `"}`, `{"type":"message.read","type":"message.read"}`,
			"{\"type\":\"message.read\",\"user\":\"\xff\"}", `{"type":"message.read","user":"\ud800"}`,
		}
		return x.flood(21, 7, func(n int) *http.Request {
			return x.request("POST", appPath(evilApp)+"/events", []byte(bodies[n%len(bodies)]), "Content-Type", "application/json")
		})
	}},
	{"a line of a stream without an end", true, func(x *attacker) string {
		conn, err := x.dial(x.door())
		if err != nil {
			return err.Error()
		}
		defer conn.Close()
		go func() {
			_, _ = io.WriteString(conn, x.head("POST", appPath(evilApp)+"/events:stream", "Content-Type: "+ndjson, "Transfer-Encoding: chunked"))
			piece := fmt.Sprintf("10000\r\n%s\r\n", strings.Repeat("x", 0x10000))
			for range 1000 {
				if _, err := io.WriteString(conn, piece); err != nil {
					return
				}
			}
		}()
		text, _ := io.ReadAll(conn)
		if !bytes.Contains(text, []byte("too_large")) {
			x.t.Errorf("%.2000s", text)
		}
		return "too_large"
	}},
	{"1000 uploads that are begun and not sent", false, func(x *attacker) string {
		return x.hold(x.door(), 1000, x.head("POST", appPath(evilApp)+"/events", "Content-Type: "+ndjson, "Content-Length: 8000000")+strings.Repeat("\n", 100_000), time.Second, "")
	}},
}

// Answers that nobody reads.
var readerAttacks = []attack{
	{"long lists that are not read", false, func(x *attacker) string {
		return x.hold(x.door(), 500, strings.Repeat(x.head("GET", appPath(evilApp)+"/messages/m/readers?limit=1000"), 3), time.Second, "")
	}},
	{"event streams that are not read", false, func(x *attacker) string {
		return x.hold(x.door(), 2000, x.head("GET", appPath(evilApp)+"/users/anna/stream"), time.Second, "")
	}},
	{"100 tails of the log that are not read", false, func(x *attacker) string {
		return x.hold(x.door(), 100, x.head("GET", "/v1/admin/tail?from=start"), time.Second, "")
	}},
	{"200 files of the page that are not read", true, func(x *attacker) string {
		session := x.signIn()
		return x.hold(x.door(), 200, "GET /?app=evil/app&view=message&id=m&group=g&format=csv HTTP/1.1\r\nHost: localhost\r\nCookie: "+session+"\r\n\r\n", time.Second, "")
	}},
	{"10,000 requests in a row on each of 20 connections, none read", false, func(x *attacker) string {
		return x.hold(x.door(), 20, strings.Repeat("GET /openapi.yaml HTTP/1.1\r\nHost: localhost\r\n\r\n", 10_000), time.Second, "")
	}},
}

// Requests that cost their sender next to nothing.
var cheapAttacks = []attack{
	{"strangers who ask on and on, 100 connections", true, func(x *attacker) string {
		return x.pipeline(100, "GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}},
	{"paths that are none, on and on, 100 connections", false, func(x *attacker) string {
		return x.pipeline(100, "GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}},
	{"posts with a key, on and on, 100 connections", false, func(x *attacker) string {
		body := string(readOf(1))
		return x.pipeline(100, x.head("POST", appPath(evilApp)+"/events", fmt.Sprint("Content-Length: ", len(body)))+body)
	}},
}

// signIn returns a cookie of the page.
func (x *attacker) signIn() string {
	_, key := x.address()
	r := x.request("POST", "/", []byte("do=sign-in&key="+key), "Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		x.t.Fatal(err)
	}
	defer res.Body.Close()
	session, _, _ := strings.Cut(res.Header.Get("Set-Cookie"), ";")
	return session
}

func gzipped(plain []byte, members int) []byte {
	var one bytes.Buffer
	w := gzip.NewWriter(&one)
	_, _ = w.Write(plain)
	_ = w.Close()
	return bytes.Repeat(one.Bytes(), members)
}

func zstandard(plain []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err) // there are no options
	}
	defer w.Close()
	return w.EncodeAll(plain, nil)
}

const upgrade = "GET /websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

// Frames of HTTP/2.
const (
	h2Headers, h2Reset, h2Settings, h2Ping, h2Window, h2Continuation = 1, 3, 4, 6, 8, 9

	h2EndStream, h2EndHeaders = 1, 4
)

func h2Frame(kind, flags byte, stream uint32, payload string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	b = append(b, flags)
	return string(binary.BigEndian.AppendUint32(b, stream)) + payload
}

// h2Get is a header block without a key. The path is short.
func h2Get(path string) string {
	return "\x82\x86\x04" + string(rune(len(path))) + path + "\x01\x09localhost"
}

// frames floods so many connections with the same frames for two seconds, after others; unread,
// what comes back stays in the sockets.
func (x *attacker) frames(conns int, unread bool, first string, next func(n uint32) string) string {
	var sent sync.WaitGroup
	ended := make(chan bool, conns)
	for range conns {
		sent.Go(func() {
			conn, err := x.dial(x.door())
			if err != nil {
				ended <- true
				return
			}
			defer conn.Close()
			if !unread {
				go func() { _, _ = io.Copy(io.Discard, conn) }()
			}
			_, err = io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+first)
			_ = conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
			for n := uint32(0); err == nil && n < 5000; n++ {
				_, err = io.WriteString(conn, next(n))
			}
			ne, ok := err.(net.Error)
			ended <- err != nil && !(ok && ne.Timeout())
		})
	}
	sent.Wait()
	closed := 0
	for range conns {
		if <-ended {
			closed++
		}
	}
	return fmt.Sprintf("%d of %d were closed", closed, conns)
}

var http2Attacks = []attack{
	{"requests over HTTP/2 that are reset at once", true, func(x *attacker) string {
		return x.frames(4, false, h2Frame(h2Settings, 0, 0, ""), func(n uint32) (text string) {
			for i := range uint32(100) {
				id := (n*100+i)*2 + 1
				text += h2Frame(h2Headers, h2EndHeaders|h2EndStream, id, h2Get("/readyz")) + h2Frame(h2Reset, 0, id, "\x00\x00\x00\x08")
			}
			return text
		})
	}},
	{"headers over HTTP/2 that go on and on", false, func(x *attacker) string {
		return x.frames(4, false, h2Frame(h2Settings, 0, 0, "")+h2Frame(h2Headers, 0, 1, h2Get("/readyz")), func(uint32) string {
			return strings.Repeat(h2Frame(h2Continuation, 0, 1, "\x00\x01a\x01b"), 1000)
		})
	}},
	{"pings and settings over HTTP/2, unread", false, func(x *attacker) string {
		return x.frames(4, true, "", func(uint32) string {
			return strings.Repeat(h2Frame(h2Ping, 0, 0, "12345678")+h2Frame(h2Settings, 0, 0, ""), 200)
		})
	}},
	{"windows of nothing, and of a byte more", false, func(x *attacker) string {
		return x.frames(20, false, h2Frame(h2Settings, 0, 0, "\x00\x04\x00\x00\x00\x00"), func(n uint32) string {
			if n < 200 {
				return h2Frame(h2Headers, h2EndHeaders|h2EndStream, n*2+1, h2Get("/openapi.yaml"))
			}
			return h2Frame(h2Window, 0, 0, "\x00\x00\x00\x01") + h2Frame(h2Window, 0, (n%200)*2+1, "\x00\x00\x00\x01")
		})
	}},
}

// Frames of a WebSocket and what is in them, before a login.
var socketAttacks = []attack{
	{"odd frames of a WebSocket", true, func(x *attacker) string {
		odd := map[string]string{
			"no mask": "\x82\x01a", "reserved bits": "\xf2\x81\x00\x00\x00\x00a", "a long ping": "\x89\xfe\x00\x7e\x00\x00\x00\x00" + strings.Repeat("a", 126),
			"a ping in parts": "\x09\x80\x00\x00\x00\x00", "an unknown kind": "\x83\x80\x00\x00\x00\x00", "a part of nothing": "\x80\x81\x00\x00\x00\x00a",
			"a close of one byte": "\x88\x81\x00\x00\x00\x00a", "a length of 2^63": "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",
			"17 KiB before the login": "\x82\xfe\x44\x00\x00\x00\x00\x00" + strings.Repeat("a", 0x4400), "no MSYNC": "\x82\x84\x00\x00\x00\x00\xff\xff\xff\xff",
			"a length that lies": "\x82\x86\x00\x00\x00\x00\x12\xff\xff\xff\xff\x0f",
		}
		for name, frame := range odd {
			if !x.closes(upgrade + frame) {
				x.t.Errorf("%s: the connection stays open", name)
			}
		}
		return fmt.Sprintf("%d of %d were closed", len(odd), len(odd))
	}},
	{"a message in endless empty parts, and pings without end", false, func(x *attacker) string {
		var all sync.WaitGroup
		for _, parts := range []string{"\x00\x80\x00\x00\x00\x00", "\x89\x80\x00\x00\x00\x00"} {
			for range 4 {
				all.Go(func() {
					conn, err := x.dial(x.door())
					if err != nil {
						return
					}
					defer conn.Close()
					_, err = io.WriteString(conn, upgrade+"\x02\x80\x00\x00\x00\x00")
					_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
					for text := strings.Repeat(parts, 500); err == nil; {
						_, err = io.WriteString(conn, text)
					}
				})
			}
		}
		all.Wait()
		return "read until the login is due"
	}},
	{"200 strangers who do not close when they are told", true, func(x *attacker) string {
		endless := "\x82\xff\x00\x00\x00\xff\xff\xff\xff\xff\x00\x00\x00\x00"
		seen := x.hold(x.door(), 200, upgrade+"\x82\x81\x00\x00\x00\x00\xff"+endless, 3*time.Second, "a")
		if strings.HasPrefix(seen, "0 of") {
			x.t.Error(seen)
		}
		return seen
	}},
	{"wrong logins", false, func(x *attacker) string {
		login, err := proto.Marshal(&msyncpb.Frame{
			Command: msyncpb.Frame_PROVISION.Enum(), Auth: proto.String("$t$" + strings.Repeat("a", 10_000)),
			Guid:    &msyncpb.Name{AppKey: proto.String(evilApp), Name: proto.String("anna")},
			Payload: []byte{},
		})
		if err != nil {
			x.t.Fatal(err)
		}
		frame := string(binary.BigEndian.AppendUint16([]byte{0x82, 0xfe}, uint16(len(login)))) + "\x00\x00\x00\x00" + string(login)
		return x.hold(x.door(), 500, upgrade+frame, 3*time.Second, "")
	}},
}

// closes reports whether the server ends the connection on its own, before the login is due.
func (x *attacker) closes(text string) bool {
	conn, err := x.dial(x.door())
	if err != nil {
		return true
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		return true
	}
	_ = conn.SetReadDeadline(time.Now().Add(attackPatience / 2))
	_, err = io.Copy(io.Discard, conn)
	ne, ok := err.(net.Error)
	return !(ok && ne.Timeout())
}

// Names and keys.
var nameAttacks = []attack{
	{"a stream that goes on at 2^53 under a long key", true, func(x *attacker) string {
		line := string(readOf(1)) + "\n"
		chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(line), line)
		stream := func(from string) string {
			return x.head("POST", appPath(evilApp)+"/events:stream?from="+from, "Content-Type: "+ndjson, "Transfer-Encoding: chunked",
				"Idempotency-Key: "+strings.Repeat("k", 56)) + chunked
		}
		return x.want(map[string]string{stream("9007199254740992"): "200", stream("9223372036854775807"): "400"})
	}},
	{"two requests in one", false, func(x *attacker) string {
		inner := "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
		for _, text := range []string{
			x.head("GET", "/healthz", fmt.Sprintf("Content-Length: %d", len(inner))) + inner,
			x.head("POST", "/healthz", "Content-Length: 5", "Transfer-Encoding: chunked") + "0\r\n\r\n" + inner,
			x.head("POST", "/v1/none", fmt.Sprintf("Content-Length: %d", len(inner))) + inner,
		} {
			conn, err := x.dial(x.door())
			if err != nil {
				x.t.Fatal(err)
			}
			_, _ = io.WriteString(conn, text)
			_ = conn.SetReadDeadline(time.Now().Add(time.Second / 2))
			answers, _ := io.ReadAll(conn) // until nothing more comes
			_ = conn.Close()
			if n := bytes.Count(answers, []byte("HTTP/1.1 ")); n != 1 {
				x.t.Errorf("%q: %d answers", text, n)
			}
		}
		return "one answer to each"
	}},
	{"paths that are none", false, func(x *attacker) string {
		answers := map[string]string{"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n": "421"}
		for path, want := range map[string]string{
			"/..": "404", "//v1/status": "404", "/%2e%2e/v1/status": "404", "/v1/apps/%2e%2e/a": "404",
			appPath(evilApp) + "/messages/%00": "400", appPath(evilApp) + "/messages/%1b%5b31m": "400", appPath(evilApp) + "/messages/%ff": "400",
			appPath(evilApp) + "/messages/" + strings.Repeat("x", 5000): "400", appPath(evilApp) + "/messages/a%0d%0ab": "400",
		} {
			answers[x.head("GET", path)] = want
		}
		return x.want(answers)
	}},
	{"3000 wrong keys", false, func(x *attacker) string {
		seen := x.flood(3000, 20, func(int) *http.Request {
			return x.request("GET", "/v1/apps", nil, "Authorization", "Bearer eyJhbGciOiJub25lIn0.e30."+strings.Repeat("a", 10_000))
		})
		if strings.Contains(seen, "200") {
			x.t.Error(seen)
		}
		return seen
	}},
	{"names that are new each time", false, func(x *attacker) string {
		series := func() int {
			text, err := x.do("GET", "/metrics", "", nil)
			if err != nil {
				x.t.Fatal(err)
			}
			return bytes.Count(text, []byte("\n"))
		}
		names := func(n int) string {
			return x.flood(n, 1, func(i int) *http.Request {
				if i%2 == 0 {
					return x.request(fmt.Sprint("M", i), fmt.Sprintf("/o%d/a%d/users/u%d", i, i, i), nil)
				}
				return x.request("GET", fmt.Sprintf("%s/messages/m%d-%d?group=g%d", appPath(evilApp), n, i, i), nil)
			})
		}
		names(10)
		before := series()
		seen := names(1000)
		if after := series(); after > before {
			x.t.Errorf("there were %d lines of metrics, and are %d", before, after)
		}
		return seen
	}},
}
