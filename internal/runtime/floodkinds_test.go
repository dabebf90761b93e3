package runtime

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

// loudAddress is where floods come from.
const loudAddress = "10.6.6.6"

// flood is what each of the flooders does until the context ends.
type flood struct {
	name string
	pour func(ctx context.Context, k int)
}

// floods of the loud app, at every door.
func (r *running) floods() []flood {
	const app = "/v1/apps/acme/loud"
	members := make([]string, 4990)
	for i := range members {
		members[i] = fmt.Sprintf("%q", fmt.Sprint("invented", i))
	}
	crowd := strings.Join(members, ",")
	r.admin("POST", app+"/events?wait=applied", `[{"type":"group.created","group":"crowd","owner":"mallory","members":[`+crowd+`]},
		{"type":"message.sent","id":"m1","from":"mallory","group":"crowd","receipt":true}]`)
	r.admin("POST", app+"/events?wait=applied", `{"type":"message.read","message":"m1","user":"invented1","group":"crowd"}`)
	mallory, admin := r.mint("acme#loud", "mallory"), r.AdminKey()
	event := func(k, n int) string {
		return fmt.Sprintf(`{"type":"message.read","message":"m1","user":"invented%d","group":"crowd"}`, (k*1000+n)%len(members))
	}
	batch := func(k int) string {
		var b strings.Builder
		for n := range 1000 {
			fmt.Fprintln(&b, event(k, n))
		}
		return b.String()
	}
	// asks makes one request after the other.
	asks := func(name, method, path, bearer string, body func(k, n int) string) flood {
		return flood{name, func(ctx context.Context, k int) {
			for n := 0; ctx.Err() == nil; n++ {
				r.from(loudAddress, method, path, bearer, body(k, n))
			}
		}}
	}
	nothing := func(int, int) string { return "" }
	return []flood{
		asks("events", "POST", app+"/events", admin, event),
		{"batches", func(ctx context.Context, k int) {
			for body := batch(k); ctx.Err() == nil; {
				r.from(loudAddress, "POST", app+"/events", admin, body)
			}
		}},
		{"stalled uploads", r.stalledUploads},
		{"streams", func(ctx context.Context, k int) { r.streamFlood(ctx, batch(k)) }},
		{"idle streams", func(ctx context.Context, k int) { r.idleStreams(ctx, 100) }},
		{"requests over NATS", func(ctx context.Context, k int) {
			r.publishFlood(ctx, "receipts.submit.acme.loud", func(n int) string { return event(k, n) })
		}},
		{"answers that nobody reads", func(ctx context.Context, k int) { r.unreadFlood(ctx, event(k, 0)) }},
		{"publications", func(ctx context.Context, k int) {
			r.publishFlood(ctx, "receipts.in.acme.loud.g~crowd.message-read", func(n int) string { return event(k, n) })
		}},
		asks("groups", "POST", "/acme/loud/chatgroups", mallory, func(int, int) string {
			return `{"owner":"mallory","groupname":"x","members":[` + crowd + `]}`
		}),
		asks("calls", "GET", "/acme/loud/users/mallory/joined_chatgroups", mallory, nothing),
		{"logins", func(ctx context.Context, k int) {
			for n := k << 12; ctx.Err() == nil; n++ {
				r.from(fmt.Sprint("10.7.", n>>8&255, ".", n&255), "POST", "/acme/loud/token", "", fmt.Sprintf(`{"grant_type":"password","username":"u%d","password":"guess"}`, n))
			}
		}},
		{"sockets", func(ctx context.Context, _ int) { r.idleSockets(ctx) }},
		{"logins over MSYNC", func(ctx context.Context, k int) {
			for ctx.Err() == nil {
				if c, err := r.dial(ctx, "acme#loud", fmt.Sprint("mallory", k), loudAddress); err == nil {
					_ = c.conn.CloseNow()
				}
			}
		}},
		{"messages over MSYNC", func(ctx context.Context, k int) {
			r.frameFlood(ctx, k, func(id uint64) *msyncpb.Frame { return chatFrame(id, "mallory", strings.Repeat("x", 10<<10)) })
		}},
		{"receipts over MSYNC", func(ctx context.Context, k int) {
			r.frameFlood(ctx, k, func(id uint64) *msyncpb.Frame { return readFrame(id, "crowd", 1) })
		}},
		asks("readers", "GET", app+"/messages/m1/nonreaders?group=crowd&limit=1000", admin, nothing),
		asks("summaries", "GET", app+"/users/mallory/statistics", mallory, nothing),
		asks("files", "GET", app+"/analytics/read-rate?by=sender", admin, nothing),
		asks("tokens", "POST", app+"/users/mallory/tokens", admin, nothing),
	}
}

// url is that of a path.
func (r *running) url(path string) string { return fmt.Sprintf("http://%s%s", r.Addr(), path) }

// from makes a request as if from an address, and returns the answer, or 0 if there was none.
func (r *running) from(address, method, path, bearer, body string) (status int, answer string) {
	rq, err := http.NewRequest(method, r.url(path), strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	rq.Header.Set("Content-Type", "application/json")
	if strings.Count(body, "\n") > 1 {
		rq.Header.Set("Content-Type", "application/x-ndjson")
	}
	rq.Header.Set("X-Forwarded-For", address)
	if bearer != "" {
		rq.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := http.DefaultClient.Do(rq)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(text)
}

// producer is a connection of the NATS user of an app.
func (r *running) producer(name string) *nats.Conn {
	r.t.Helper()
	nc, err := nats.Connect("nats://"+r.Log.IngressAddr().String(), nats.UserInfo("acme#"+name, "password-of-"+name), nats.NoReconnect())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(nc.Close)
	return nc
}

// publishFlood publishes more than the server can take, and reads the answers. It leaves some of
// the processors, which it shares with the server, to that.
func (r *running) publishFlood(ctx context.Context, subject string, body func(n int) string) {
	nc := r.producer("loud")
	defer nc.Close()
	inbox := nats.NewInbox()
	if _, err := nc.Subscribe(inbox, func(*nats.Msg) {}); err != nil {
		r.t.Error(err)
		return
	}
	for n := 0; ctx.Err() == nil; n++ {
		if err := nc.PublishRequest(subject, inbox, []byte(body(n))); err != nil {
			r.t.Error(err)
			return
		}
		if n%200 == 0 {
			time.Sleep(time.Millisecond) // see above
		}
	}
}

// unreadFlood sends requests over NATS and reads no answer. Whoever is dropped comes back.
func (r *running) unreadFlood(ctx context.Context, body string) {
	request := fmt.Sprintf("PUB receipts.submit.acme.loud _INBOX.x %d\r\n%s\r\n", len(body), body)
	for ctx.Err() == nil {
		conn, err := net.Dial("tcp", r.Log.IngressAddr().String())
		if err != nil {
			r.t.Error(err)
			return
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		_, err = io.WriteString(conn, "CONNECT {\"user\":\"acme#loud\",\"pass\":\"password-of-loud\",\"verbose\":false}\r\nSUB _INBOX.x 1\r\n")
		for err == nil {
			_, err = io.WriteString(conn, strings.Repeat(request, 200))
			time.Sleep(time.Millisecond) // as above
		}
		stop()
		conn.Close()
	}
}

// upload begins a request with events of the loud app, of which nothing is sent but the header.
func (r *running) upload(path, header string) net.Conn {
	conn, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		r.t.Error(err)
		return nil
	}
	fmt.Fprintf(conn, "POST /v1/apps/acme/loud/%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nX-Forwarded-For: %s\r\nContent-Type: application/x-ndjson\r\n%s\r\n\r\n",
		path, r.Addr(), r.AdminKey(), loudAddress, header)
	return conn
}

// stalledUploads are requests that bring half of what they announce.
func (r *running) stalledUploads(ctx context.Context, _ int) {
	for range 8 {
		if conn := r.upload("events", fmt.Sprint("Content-Length: ", 8<<20)); conn != nil {
			defer conn.Close()
			go func() { _, _ = io.WriteString(conn, strings.Repeat("\n", 4<<20)) }()
		}
	}
	<-ctx.Done()
}

// streamFlood sends lines as fast as they are read, on some streams.
func (r *running) streamFlood(ctx context.Context, lines string) {
	for range 4 {
		conn := r.upload("events:stream", "Content-Length: 1000000000000")
		if conn == nil {
			return
		}
		defer conn.Close()
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		go func() {
			for ctx.Err() == nil {
				if _, err := io.WriteString(conn, lines); err != nil {
					return
				}
			}
		}()
	}
	<-ctx.Done()
}

// idleStreams are opened, and say nothing.
func (r *running) idleStreams(ctx context.Context, n int) {
	for range n {
		if conn := r.upload("events:stream", "Content-Length: 1000000000000"); conn != nil {
			defer conn.Close()
			_, _ = bufio.NewReader(conn).ReadString('\n')
		}
	}
	<-ctx.Done()
}

// idleSockets are opened as fast as that goes, and say nothing.
func (r *running) idleSockets(ctx context.Context) {
	for ctx.Err() == nil {
		conn, err := r.websocket(ctx, loudAddress)
		if err == nil {
			defer conn.CloseNow()
		}
	}
}

func (r *running) websocket(ctx context.Context, address string) (*websocket.Conn, error) {
	conn, _, err := websocket.Dial(ctx, fmt.Sprintf("ws://%s/websocket", r.Addr()), &websocket.DialOptions{HTTPHeader: http.Header{"X-Forwarded-For": {address}}})
	return conn, err
}

// dial logs a user of an app in over MSYNC.
func (r *running) dial(ctx context.Context, app, user, address string) (*sdkConn, error) {
	status, answer := r.from(address, "POST", "/v1/apps/"+strings.Replace(app, "#", "/", 1)+"/users/"+user+"/tokens", r.AdminKey(), "")
	_, rest, _ := strings.Cut(answer, `"token":"`)
	token, _, _ := strings.Cut(rest, `"`)
	if status != 200 {
		return nil, fmt.Errorf("no token: %d %s", status, answer)
	}
	conn, err := r.websocket(ctx, address)
	if err != nil {
		return nil, err
	}
	c := &sdkConn{r.t, conn, ctx}
	if why := c.login(token, app, user); why != "" {
		_ = conn.CloseNow()
		return nil, fmt.Errorf("no login: %s", why)
	}
	return c, nil
}

// frameFlood sends frames as fast as they are read, and reads the answers. Whoever is dropped comes
// back.
func (r *running) frameFlood(ctx context.Context, k int, frame func(id uint64) *msyncpb.Frame) {
	for id := uint64(k) << 32; ctx.Err() == nil; {
		c, err := r.dial(ctx, "acme#loud", fmt.Sprint("mallory", k), loudAddress)
		if err != nil {
			time.Sleep(10 * time.Millisecond) // for a slot
			continue
		}
		over := make(chan struct{})
		go func() {
			defer close(over)
			for {
				if _, _, err := c.conn.Read(ctx); err != nil {
					return
				}
			}
		}()
		for ctx.Err() == nil {
			id++
			if c.conn.Write(ctx, websocket.MessageBinary, encoded(frame(id))) != nil {
				break
			}
		}
		_ = c.conn.CloseNow()
		<-over
	}
}

// readFrame says that a message of a group was read.
func readFrame(id uint64, group string, message uint64) *msyncpb.Frame {
	return syncFrame(&msyncpb.SyncUp{Meta: &msyncpb.Meta{
		Id: &id, Ns: proto.Int32(int32(msyncpb.Meta_CHAT)), To: &msyncpb.Name{Name: &group, Domain: proto.String(groupDomain)},
		Payload: encoded(&msyncpb.Body{
			Type: proto.Int32(int32(msyncpb.Body_READ_ACK)), AckMessageId: &message, AckContent: proto.String("x"),
			Config: &msyncpb.Body_Config{AllowGroupAck: proto.Bool(true)},
		}),
	}})
}
