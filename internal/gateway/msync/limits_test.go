package msync_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

// closes waits until the server has closed the connection, and checks what it says.
func (c *client) closes(code websocket.StatusCode, reason string) {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		c.t.Fatalf("%s is still connected", c.user)
	}
	var e websocket.CloseError
	if c.mu.Lock(); !asCloseError(c.err, &e) || e.Code != code || e.Reason != reason {
		c.t.Errorf("closed with %v, want %v %q", c.err, code, reason)
	}
	c.mu.Unlock()
}

func asCloseError(err error, e *websocket.CloseError) bool {
	code := websocket.CloseStatus(err)
	if code < 0 {
		return false
	}
	e.Code = code
	if _, rest, ok := strings.Cut(err.Error(), `reason = "`); ok {
		e.Reason, _, _ = strings.Cut(rest, `"`)
	}
	return true
}

// Whoever is told that the connection closes, and answers by the beginning of a frame that does not
// end, is let go of all the same; so is one whose frame was too large to be read to its end.
func TestStrangersWhoDoNotCloseAreCut(t *testing.T) {
	s := startServer(t, open)
	// A head, with a length and a mask.
	const endless = "\x82\xff\x00\x00\x00\xff\xff\xff\xff\xff\x00\x00\x00\x00"
	for name, say := range map[string][2]string{
		"a frame instead of a close": {"\x82\x81\x00\x00\x00\x00\xff", endless},
		"a frame that is too large":  {endless + strings.Repeat("a", 20<<10), ""},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", s.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			in := bufio.NewReader(conn)
			if _, err := io.WriteString(conn, "GET /websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"+say[0]); err != nil {
				t.Fatal(err)
			}
			if res, err := http.ReadResponse(in, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
				t.Fatal(res, err)
			}
			if b, err := in.ReadByte(); err != nil || b != 0x88 {
				t.Fatalf("%x, %v: not a close", b, err)
			}
			if _, err := io.WriteString(conn, say[1]); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, in); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("it stays open")
			}
		})
	}
}

func TestFramesOfStrangers(t *testing.T) {
	s := startServer(t, open)
	provision := encode(&msyncpb.Frame{Command: msyncpb.Frame_PROVISION.Enum(), Payload: []byte{0xff, 0xff}})
	for _, test := range []struct {
		name   string
		kind   websocket.MessageType
		data   []byte
		code   websocket.StatusCode
		reason string
	}{
		{"text", websocket.MessageText, []byte("hello"), websocket.StatusProtocolError, "malformed_frame"},
		{"no protobuf", websocket.MessageBinary, []byte{0xff}, websocket.StatusProtocolError, "malformed_frame"},
		{"malformed login", websocket.MessageBinary, provision, websocket.StatusProtocolError, "malformed_frame"},
		{"no login", websocket.MessageBinary, encode(&msyncpb.Frame{Command: msyncpb.Frame_UNREAD.Enum()}), websocket.StatusPolicyViolation, "not_provisioned"},
		{"too large", websocket.MessageBinary, make([]byte, 300<<10), websocket.StatusMessageTooBig, "read limited at 16385 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn, _, err := websocket.Dial(context.Background(), s.url(), nil)
			if err != nil {
				t.Fatal(err)
			}
			c := &client{t: t, conn: conn, changed: make(chan struct{}), done: make(chan struct{})}
			t.Cleanup(c.cut)
			go c.read()
			_ = conn.Write(context.Background(), test.kind, test.data)
			c.closes(test.code, test.reason)
		})
	}
	// The same from a client that is logged in: its connection ends, nobody else's.
	bob := s.login("bob", "web")
	for _, data := range [][]byte{{0xff}, encode(&msyncpb.Frame{Payload: []byte{0xff}}), encode(&msyncpb.Frame{}), provision} {
		ann := s.login("ann", "web")
		ann.writeRaw(data)
		ann.closes(websocket.StatusProtocolError, "malformed_frame")
	}
	bob.settle()
	if n := s.metric(`receiptd_sdk_closed_total{reason="malformed_frame"}`); n != 7 {
		t.Errorf("%v malformed frames are counted", n)
	}
}

func TestFramesAreBoundedByRate(t *testing.T) {
	s := startServer(t, open, func(c *config.Config) { c.SDK.FramesPerSecond, c.SDK.SendsPerSecond = 50, 2 })
	ann, bob := s.login("ann", "web"), s.login("bob", "web")
	go func() {
		for { // faster than 50 a second, for as long as it takes
			select {
			case <-ann.done:
				return
			default:
				ann.heartbeat()
			}
		}
	}()
	ann.closes(websocket.StatusPolicyViolation, "too_many_frames")

	// Sends are bounded per user, however many connections they have, and refused with a reason
	// that the SDK knows.
	phone := s.login("bob", "phone")
	var ids [2][]uint64
	for range 100 {
		ids[0] = append(ids[0], bob.sendBody("ann", false, text("x")))
		ids[1] = append(ids[1], phone.sendBody("ann", false, text("x")))
	}
	refused := 0
	for i, c := range []*client{bob, phone} {
		for _, id := range ids[i] {
			if a := c.answer(id); a.Status.GetCode() == msyncpb.Status_PERMISSION_DENIED {
				refused++
				if a.Status.GetReason() != "traffic limit" {
					t.Errorf("refused with %v", a.Status)
				}
			}
		}
	}
	if refused == 0 || refused > 180 { // ten times the rate is a burst
		t.Errorf("%d of 200 sends were refused", refused)
	}
	if n := s.metric(`receiptd_sdk_answers_total{kind="message.sent",reason="traffic limit"}`); int(n) != refused {
		t.Errorf("%v refusals are counted, %d were seen", n, refused)
	}
}

func TestSilentConnectionsAreDropped(t *testing.T) {
	t.Parallel()
	const limit = 2 * time.Second // which a client that does say something keeps on a busy machine
	s := startServer(t, open, func(c *config.Config) { c.SDK.ProvisionTimeout, c.SDK.IdleTimeout = limit, limit })
	conn, _, err := websocket.Dial(context.Background(), s.url(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, conn: conn, changed: make(chan struct{}), done: make(chan struct{})}
	t.Cleanup(c.cut)
	go c.read()
	<-c.done

	ann := s.login("ann", "web")
	for range 4 {
		time.Sleep(limit * 3 / 10) // in all longer than it may say nothing
		ann.heartbeat()
	}
	select {
	case <-ann.done:
		t.Fatal("dropped in the middle of a conversation")
	default:
	}
	<-ann.done
	for _, reason := range []string{"not_provisioned", "idle"} {
		eventually(t, reason+" is counted", func() bool { return s.metric(fmt.Sprintf("receiptd_sdk_closed_total{reason=%q}", reason)) == 1 })
	}
}

// TestSlowClientsAreDropped: a client that does not read what it is sent is dropped, and holds up
// nobody else.
func TestSlowClientsAreDropped(t *testing.T) {
	s := startServer(t, open, func(c *config.Config) {
		c.SDK.WriteTimeout, c.SDK.SendsPerSecond, c.SDK.FramesPerSecond = 300*time.Millisecond, 1<<20, 1<<20
	})
	dialer := &net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}}
	narrow := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}
	slow, _ := dial(t, s.url(), identity{app, "slow", "web", s.token("slow"), narrow})
	fast, bob := s.login("fast", "web"), s.login("bob", "web")
	for range 60 {
		bob.ok(bob.sendBody("slow", false, text(strings.Repeat("long", 256))))
	}
	pull := encode(&msyncpb.Frame{Payload: encode(&msyncpb.SyncUp{Queue: &msyncpb.Name{Name: proto.String("inbox:slow")}})})
	done := make(chan struct{})
	go func() { // it asks for the same page again and again, and reads no answer
		defer close(done)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for ctx.Err() == nil && slow.conn.Write(ctx, websocket.MessageBinary, pull) == nil {
		}
	}()
	for i := range 20 {
		bob.ok(bob.sendBody("fast", false, text(fmt.Sprint(i))))
		fast.hears(fmt.Sprintf("text %d from bob", i))
	}
	<-done
	eventually(t, "slow is counted", func() bool { return s.metric(`receiptd_sdk_closed_total{reason="slow"}`) == 1 })
	fast.settle()
}

func TestSessionsEndWithTheirToken(t *testing.T) {
	s := startServer(t, open)
	brief := func(user, ttl string) string {
		token, _ := s.api("POST", appPath+"/users/"+user+"/tokens", `{"ttl":"`+ttl+`"}`).field("token").(string)
		return token
	}
	ofBob := brief("bob", "4s") // ends before ann's
	ann, answer := dial(t, s.url(), identity{app, "ann", "web", brief("ann", "4s"), nil})
	if !strings.Contains(answer.GetAuthToken(), `"expires_in":1`) {
		t.Errorf("the SDK is not told when the token expires: %v", answer)
	}
	ann.start()
	bob, _ := dial(t, s.url(), identity{app, "bob", "web", ofBob, nil})
	bob.start()
	// A user who presents a newer token over REST stays connected.
	if a := s.call("GET", "/acme/chat/sdk/users/bob/token/expires", brief("bob", "1h"), ""); a.status != http.StatusOK || a.field("expire_timestamp") == nil {
		t.Fatalf("renew: %d %s", a.status, a.body)
	}
	ann.closes(websocket.StatusPolicyViolation, "token_expired")
	time.Sleep(500 * time.Millisecond) // time for the connection to be closed by mistake
	bob.settle()

	// A timer of the SDK has 31 bits: it is not told of a later end.
	long, answer := dial(t, s.url(), identity{app, "cleo", "web", brief("cleo", "2000h"), nil})
	if answer.AuthToken != nil {
		t.Errorf("told %q", answer.GetAuthToken())
	}
	long.start()
}

func TestDrainAnswersWhatWasSent(t *testing.T) {
	s := startServer(t, open)
	ann := s.login("ann", "web")
	ann.settle()
	var ids []uint64
	for i := range 40 {
		ids = append(ids, ann.sendBody("ben", false, text(fmt.Sprint(i))))
	}
	ann.ok(ids[0]) // so that the server has begun to read them
	s.stop()
	<-ann.done
	ann.mu.Lock()
	answered, code := len(ann.answers), websocket.CloseStatus(ann.err)
	ann.mu.Unlock()
	if code != websocket.StatusServiceRestart {
		t.Errorf("closed with %v", code)
	}
	// What was not answered was not stored: none of it is there afterwards.
	s.start()
	ben := s.login("ben", "web")
	ben.settle()
	if got := len(ben.describe()); got != answered {
		t.Errorf("%d sends were answered, %d messages are there", answered, got)
	}
}

// Whoever connects anew may send no more than one who stays, and is forgotten all the same.
func TestReconnectingAllowsNoMoreSends(t *testing.T) {
	s := startServer(t, open, func(c *config.Config) { c.SDK.SendsPerSecond = 1 }) // 10 at once
	began, taken := time.Now(), 0
	for range 5 {
		bob := s.login("bob", "phone")
		var ids []uint64
		for range 20 {
			ids = append(ids, bob.sendBody("ann", false, text("x")))
		}
		for _, id := range ids {
			if a := bob.answer(id); a.Status.GetCode() == msyncpb.Status_OK {
				taken++
			}
		}
		bob.logout()
	}
	if most := 11 + int(time.Since(began)/time.Second); taken > most {
		t.Errorf("%d sends were taken in %v, want %d at most", taken, time.Since(began), most)
	}
}
