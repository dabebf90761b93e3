package msync_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

// patience bounds every wait for something that should come.
const patience = time.Minute

// client speaks MSYNC as the SDK does. Unless it is manual it acknowledges each page and answers
// messages with delivery receipts.
type client struct {
	t            testing.TB
	user, device string
	conn         *websocket.Conn
	manual       bool // takes pages with nextPage, and acknowledges by pull
	deliver      bool // sends delivery receipts
	// onMeta, if set, gets what would go to metas. It is called with the lock held.
	onMeta func(*msyncpb.Meta)

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when anything came
	metas   []*msyncpb.Meta
	answers map[uint64]*msyncpb.SyncDown
	unread  []*msyncpb.UnreadDown
	last    int // empty last pages
	err     error
	nextID  uint64

	pages chan *msyncpb.SyncDown
	done  chan struct{}
}

// identity is what a client says of itself.
type identity struct {
	app, user, device, token string
	via                      *http.Client // of the connection; nil for the usual one
}

// dial opens a socket and logs in. The answer may be a refusal.
func dial(t testing.TB, url string, who identity) (*client, *msyncpb.Provision) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: who.via})
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(8 << 20)
	c := &client{
		t: t, user: who.user, device: who.device, conn: conn, changed: make(chan struct{}), answers: map[uint64]*msyncpb.SyncDown{},
		pages: make(chan *msyncpb.SyncDown, 64), done: make(chan struct{}), nextID: uint64(time.Now().UnixMicro()),
	}
	t.Cleanup(c.cut)
	c.write(&msyncpb.Frame{
		Command: msyncpb.Frame_PROVISION.Enum(), Auth: proto.String("$t$" + who.token),
		Guid:    &msyncpb.Name{AppKey: &who.app, Name: &who.user, Domain: proto.String("easemob.com"), Resource: &who.device},
		Payload: encode(&msyncpb.Provision{Resource: &who.device, SessionId: proto.String("1:")}),
	})
	_, data, err := conn.Read(ctx)
	if err != nil {
		t.Fatalf("login of %s: %v", who.user, err)
	}
	var frame msyncpb.Frame
	answer := new(msyncpb.Provision)
	decode(t, data, &frame)
	decode(t, frame.GetPayload(), answer)
	return c, answer
}

func encode(m proto.Message) []byte {
	data, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return data
}

func decode(t testing.TB, data []byte, m proto.Message) {
	t.Helper()
	if err := proto.Unmarshal(data, m); err != nil {
		t.Errorf("frame of the server: %v", err)
	}
}

// start reads what the server sends, and asks for what is unread.
func (c *client) start() {
	go c.read()
	c.heartbeat()
}

func (c *client) heartbeat() { c.write(&msyncpb.Frame{Command: msyncpb.Frame_UNREAD.Enum()}) }

// cut ends the connection without a word.
func (c *client) cut() { _ = c.conn.CloseNow() }

// logout ends it as the SDK does, and waits until the server has noticed.
func (c *client) logout() {
	c.write(&msyncpb.Frame{Command: msyncpb.Frame_LOGOUT.Enum()})
	<-c.done
}

func (c *client) write(f *msyncpb.Frame) { c.writeRaw(encode(f)) }

func (c *client) writeRaw(data []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	// A broken connection shows in what does not come.
	_ = c.conn.Write(ctx, websocket.MessageBinary, data)
}

func (c *client) sync(up *msyncpb.SyncUp) { c.write(&msyncpb.Frame{Payload: encode(up)}) }

func (c *client) queue() *msyncpb.Name { return &msyncpb.Name{Name: proto.String("inbox:" + c.user)} }

// pull asks for the queue; key 0 is none.
func (c *client) pull(key uint64) {
	up := &msyncpb.SyncUp{Queue: c.queue()}
	if key != 0 {
		up.Key = &key
	}
	c.sync(up)
}

func (c *client) read() {
	defer close(c.done)
	for {
		_, data, err := c.conn.Read(context.Background())
		if err != nil {
			c.note(func() { c.err = err })
			return
		}
		var frame msyncpb.Frame
		decode(c.t, data, &frame)
		switch frame.GetCommand() {
		case msyncpb.Frame_UNREAD:
			down := new(msyncpb.UnreadDown)
			decode(c.t, frame.GetPayload(), down)
			c.note(func() { c.unread = append(c.unread, down) })
			if len(down.Unread) > 0 && !c.manual {
				c.pull(0)
			}
		case msyncpb.Frame_SYNC:
			down := new(msyncpb.SyncDown)
			decode(c.t, frame.GetPayload(), down)
			c.take(down)
		default:
			c.t.Errorf("the server sent a %v", frame.GetCommand())
		}
	}
}

func (c *client) take(down *msyncpb.SyncDown) {
	if down.GetStatus() == nil {
		c.t.Error("a frame without a status: the SDK would fail")
	}
	if id := down.GetMetaId(); id != 0 {
		c.note(func() {
			if c.answers[id] != nil {
				c.t.Errorf("a second answer for %d", id)
			}
			c.answers[id] = down
		})
		return
	}
	if down.GetQueue() == nil || down.GetIsLast() && len(down.Metas) > 0 {
		c.t.Errorf("a page that the SDK would not get along with: %v", down)
	}
	if c.manual {
		c.pages <- down
		return
	}
	// Acknowledged before it is noted: a client that has heard of it may log out at once.
	if !down.GetIsLast() {
		c.pull(down.GetNextKey())
	}
	c.note(func() {
		if c.onMeta == nil {
			c.metas = append(c.metas, down.Metas...)
		} else {
			for _, m := range down.Metas {
				c.onMeta(m)
			}
		}
		if len(down.Metas) == 0 {
			c.last++
		}
	})
	for _, meta := range down.Metas {
		if !c.deliver || meta.GetNs() != int32(msyncpb.Meta_CHAT) {
			continue
		}
		if b := c.body(meta); b.GetType() == int32(msyncpb.Body_CHAT) && b.GetFrom().GetName() != c.user {
			c.sendBody(b.GetFrom().GetName(), false, &msyncpb.Body{
				Type: proto.Int32(int32(msyncpb.Body_DELIVER_ACK)), AckMessageId: meta.Id, Contents: []*msyncpb.Body_Content{{}},
			})
		}
	}
}

func (c *client) body(meta *msyncpb.Meta) *msyncpb.Body {
	b := new(msyncpb.Body)
	decode(c.t, meta.GetPayload(), b)
	return b
}

func (c *client) note(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

// await waits until ok, which is called with the lock held.
func (c *client) await(what string, ok func() bool) {
	c.t.Helper()
	late := time.After(patience)
	for {
		c.mu.Lock()
		fine, changed, err := ok(), c.changed, c.err
		c.mu.Unlock()
		if fine {
			return
		}
		select {
		case <-changed:
		case <-late:
			c.t.Fatalf("%s waits in vain for %s (connection: %v); has %s", c.user, what, err, c.describe())
		}
	}
}

// describe lists what the client was told, in the words of the SDK's callbacks.
func (c *client) describe() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.told()
}

func (c *client) told() []string {
	list := []string{}
	for _, m := range c.metas {
		list = append(list, c.tell(m))
	}
	return list
}

// groupAck is one message of a statistic.
type groupAck struct {
	MID, GID string
	Count    int
}

func (c *client) tell(m *msyncpb.Meta) string {
	if m.GetNs() == int32(msyncpb.Meta_STATISTIC) {
		s := new(msyncpb.Statistics)
		decode(c.t, m.GetPayload(), s)
		var location struct {
			GroupAck []groupAck `json:"group_ack"`
		}
		if err := json.Unmarshal([]byte(s.GetLocation()), &location); err != nil {
			c.t.Errorf("location %q: %v", s.GetLocation(), err)
		}
		slices.SortFunc(location.GroupAck, func(a, b groupAck) int { return strings.Compare(a.MID, b.MID) })
		text := "statistic"
		for _, a := range location.GroupAck {
			text += fmt.Sprintf(" %s=%d", a.MID, a.Count)
		}
		return text
	}
	b := c.body(m)
	if len(b.Contents) == 0 {
		c.t.Errorf("a body without content: %v", b)
	}
	from, mid := b.GetFrom().GetName(), b.GetAckMessageId()
	switch msyncpb.Body_Type(b.GetType()) {
	case msyncpb.Body_CHAT, msyncpb.Body_GROUPCHAT:
		return fmt.Sprintf("text %s from %s", b.Contents[0].GetText(), from)
	case msyncpb.Body_READ_ACK:
		if len(b.Ext) > 0 {
			var count map[string]int
			if err := json.Unmarshal([]byte(b.Ext[0].GetStringValue()), &count); err != nil {
				c.t.Errorf("ext: %v", err)
			}
			return fmt.Sprintf("group read %d=%d by %s: %s", mid, count[strconv.FormatUint(mid, 10)], from, b.GetAckContent())
		}
		return fmt.Sprintf("read %d by %s", mid, from)
	case msyncpb.Body_DELIVER_ACK:
		return fmt.Sprintf("delivered %d to %s", mid, from)
	case msyncpb.Body_CHANNEL_ACK:
		return "conversation read by " + from
	case msyncpb.Body_RECALL:
		return fmt.Sprintf("recall %d by %s", mid, from)
	}
	return fmt.Sprintf("type %d", b.GetType())
}

// hears waits until the client was told all of these, in any order.
func (c *client) hears(want ...string) {
	c.t.Helper()
	for _, w := range want {
		c.await(w, func() bool { return slices.Contains(c.told(), w) })
	}
}

// heardOnly checks what the client was told from first to last, after everything that was under way
// has come.
func (c *client) heardOnly(want ...string) {
	c.t.Helper()
	c.settle()
	if got := c.describe(); !slices.Equal(got, want) {
		c.t.Errorf("%s was told %q, want %q", c.user, got, want)
	}
}

// settle waits longer than receipts are gathered, and until a heartbeat finds nothing unread.
func (c *client) settle() {
	c.t.Helper()
	time.Sleep(150 * time.Millisecond) // longer than receipts are gathered
	c.mu.Lock()
	n := len(c.unread)
	c.mu.Unlock()
	c.heartbeat()
	c.await("an answer to the heartbeat", func() bool { return len(c.unread) > n })
	c.mu.Lock()
	pending := len(c.unread[n].Unread)
	c.mu.Unlock()
	if pending > 0 {
		c.settle()
	}
}

// nextPage waits for the next page of a manual client.
func (c *client) nextPage() *msyncpb.SyncDown {
	c.t.Helper()
	select {
	case p := <-c.pages:
		return p
	case <-time.After(patience):
		c.t.Fatalf("%s waits in vain for a page", c.user)
		return nil
	}
}

// tellAll are the words for the metas of a page.
func (c *client) tellAll(p *msyncpb.SyncDown) []string {
	list := []string{}
	for _, m := range p.Metas {
		list = append(list, c.tell(m))
	}
	return list
}
