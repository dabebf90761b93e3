package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// streamEvent is one event as a browser would see it.
type streamEvent struct {
	name, id string
	data     map[string]any
}

// streamClient reads an open stream.
type streamClient struct {
	t     *testing.T
	res   *http.Response
	lines *bufio.Reader
	close context.CancelFunc
	// lastID is what a browser would send as Last-Event-ID.
	lastID     string
	heartbeats int
	// onHeartbeat, if set, is called after each.
	onHeartbeat func(n int)
}

// openStream connects and checks that the stream begins.
func (h *harness) openStream(user, lastID string) *streamClient {
	h.t.Helper()
	return h.openStreamOf(user, "", lastID)
}

// openStreamOf opens the stream of a device.
func (h *harness) openStreamOf(user, device, lastID string) *streamClient {
	h.t.Helper()
	path := base + "/users/" + user + "/stream"
	if device != "" {
		path += "?device=" + device
	}
	return h.follow(request{method: "GET", path: path, token: h.token(user)}, lastID)
}

// follow opens a stream, after an event if one is named.
func (h *harness) follow(ask request, lastID string) *streamClient {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	h.t.Cleanup(cancel)
	r := ask.build(h.t, h.server.URL).WithContext(ctx)
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		h.t.Fatalf("stream: %d %v", res.StatusCode, res.Header)
	}
	return &streamClient{t: h.t, res: res, lines: bufio.NewReader(res.Body), close: cancel, lastID: lastID}
}

// next returns the next event, or the error that ended the stream.
func (c *streamClient) next() (e streamEvent, err error) {
	for {
		line, err := c.lines.ReadString('\n')
		if err != nil {
			return e, err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "event":
			e.name = value
		case "id":
			e.id = value
		case "data":
			if err := json.Unmarshal([]byte(value), &e.data); err != nil {
				return e, fmt.Errorf("data %q: %w", value, err)
			}
		case ":":
			c.heartbeats++
			if c.onHeartbeat != nil {
				c.onHeartbeat(c.heartbeats)
			}
		case "":
			if e.name == "" {
				continue
			}
			if e.id != "" {
				c.lastID = e.id // only now: an event that was cut off is not one that came
			}
			return e, nil
		}
	}
}

// want returns the next event, which has to have that name and be as the schema says.
func (c *streamClient) want(name, schemaName string) streamEvent {
	c.t.Helper()
	e, err := c.next()
	if err != nil || e.name != name {
		c.t.Fatalf("event %+v, %v; want %s", e, err, name)
	}
	if schemaName != "" {
		schema := described().doc.Components.Schemas[schemaName].Value
		if err := schema.VisitJSON(e.data, openapi3.EnableJSONSchema2020()); err != nil {
			c.t.Errorf("%s is not a %s: %v", name, schemaName, err)
		}
	}
	return e
}

// read is the effect of a group read of one of alice's messages.
func read(partition int, sequence uint64, message, reader string, count, eligible int) projections.Effect {
	return projections.Effect{
		Kind: events.MessageRead, App: testApp, To: "alice", Group: "g1", Message: message, Reader: reader,
		At: sentAt, Count: count, Eligible: eligible, Partition: partition, Sequence: sequence,
	}
}

func TestStreamBeginsWithTheSummary(t *testing.T) {
	h := newHarness(t)
	h.state.setSummary("alice", []uint64{70, 3}, projections.SummaryItem{
		Message: "m1", Group: "g1", Count: 3, LastReader: "dave", FirstReadAt: sentAt, LastReadAt: sentAt,
	})
	c := h.openStream("alice", "")
	e := c.want("statistic", "Statistic")
	if e.id == "" || e.id != e.data["cursor"] || len(e.data["group_ack"].([]any)) != 1 {
		t.Errorf("statistic %+v", e)
	}
	if upto, err := h.api.summaries.Upto(testApp, "alice", "", e.id); err != nil || !slices.Equal(upto, []uint64{70, 3}) {
		t.Errorf("cursor stands at %v, %v", upto, err)
	}
	if len(h.commands.seenCalls()) > 0 {
		t.Error("sending is taken for seeing")
	}
	// What the summary has told is not pushed besides, though its effects may come after it.
	h.notify.Push([]projections.Effect{read(0, 70, "m1", "dave", 3, 9), read(0, 71, "m2", "dave", 1, 9)})
	if e, err := c.next(); err != nil || e.name != "read" || e.data["message"] != "m2" {
		t.Errorf("pushed %+v, %v", e, err)
	}
}

func TestLargeSummaryIsAcknowledgedOnlyWhole(t *testing.T) {
	h := newHarness(t)
	var items []projections.SummaryItem
	for i := range summaryPage + 1 {
		items = append(items, projections.SummaryItem{Message: fmt.Sprint("m", i), Group: "g1", Count: 1, LastReader: "bob", FirstReadAt: sentAt, LastReadAt: sentAt})
	}
	h.state.setSummary("alice", []uint64{1, 1}, items...)
	c := h.openStream("alice", "")
	first, second := c.want("statistic", "Statistic"), c.want("statistic", "Statistic")
	if first.id != "" || len(first.data["group_ack"].([]any)) != summaryPage || second.id == "" || len(second.data["group_ack"].([]any)) != 1 {
		t.Errorf("ids %q and %q", first.id, second.id)
	}
}

func TestStreamTellsEachKind(t *testing.T) {
	h := newHarness(t)
	c := h.openStream("alice", "")
	h.notify.Push([]projections.Effect{
		read(0, 8, "m1", "bob", 1, 4),
		{Kind: events.ConversationRead, App: testApp, To: "alice", Reader: "bob", At: sentAt, Partition: 1, Sequence: 10},
		{Kind: events.MessageDelivered, App: testApp, To: "alice", Message: "s1", Reader: "bob", At: sentAt, Eligible: 1, Partition: 1, Sequence: 11},
	})
	e := c.want("read", "StreamRead")
	if e.data["count"] != 1.0 || e.data["eligible"] != 4.0 || e.data["user"] != "bob" || e.data["read_at"] != "2026-03-01T12:00:00.123Z" {
		t.Errorf("read %+v", e)
	}
	c.want("conversation_read", "StreamConversationRead")
	e = c.want("delivered", "StreamDelivered")
	if e.id == "" {
		t.Error("no cursor although nothing waits any more")
	}
	if upto, err := h.api.summaries.Upto(testApp, "alice", "", e.id); err != nil || !slices.Equal(upto, []uint64{8, 11}) {
		t.Errorf("cursor stands at %v, %v", upto, err)
	}
	single := read(0, 12, "s1", "bob", 1, 1)
	single.Group, single.Content = "", "a\nb"
	h.notify.Push([]projections.Effect{single})
	if e := c.want("read", "StreamRead"); e.data["content"] != "a\nb" || e.data["group"] != nil {
		t.Errorf("read in a single chat %+v", e)
	}
}

// TestComingBackAcknowledges covers both halves: what the summary had at the connect, and what came
// live.
func TestComingBackAcknowledges(t *testing.T) {
	h := newHarness(t) // the state stands at 7 and 9
	c := h.openStream("alice", "")
	h.notify.Push([]projections.Effect{read(1, 12, "m1", "bob", 1, 1)})
	e := c.want("read", "")
	c.close()
	h.openStream("alice", e.id)
	calls := h.commands.seenCalls()
	if len(calls) != 1 || calls[0].user != "alice" || !slices.Equal(calls[0].upto, []uint64{7, 12}) {
		t.Errorf("seen %+v", calls)
	}
	for _, id := range []string{"garbage", h.api.summaries.Cursor(testApp, "bob", "", []uint64{7, 12}), strings.Repeat("A", 2000)} {
		a := h.want(request{method: "GET", path: base + "/users/alice/stream", header: map[string]string{"Last-Event-ID": id}}, 400, "invalid_cursor")
		if a.field(t, "error", "field") != "Last-Event-ID" {
			t.Errorf("got %s", a.body)
		}
	}
}

// TestStreamOfADevice has a device show itself with its first stream, and acknowledge for itself
// with the next.
func TestStreamOfADevice(t *testing.T) {
	h := newHarness(t) // the state stands at 7 and 9
	c := h.openStreamOf("alice", "phone", "")
	if calls := h.commands.seenCalls(); len(calls) != 1 || calls[0].device != "phone" || slices.Max(calls[0].upto) > 0 {
		t.Errorf("seen %+v", calls)
	}
	h.notify.Push([]projections.Effect{read(1, 12, "m1", "bob", 1, 1)})
	e := c.want("read", "")
	c.close()
	h.openStreamOf("alice", "phone", e.id)
	if calls := h.commands.seenCalls(); len(calls) != 2 || calls[1].device != "phone" || !slices.Equal(calls[1].upto, []uint64{7, 12}) {
		t.Errorf("seen %+v", calls)
	}
	for _, query := range []string{"", "?device=laptop"} {
		h.want(request{method: "GET", path: base + "/users/alice/stream" + query, header: map[string]string{"Last-Event-ID": e.id}}, 400, "invalid_cursor")
	}
	h.commands.mu.Lock()
	h.commands.failure = errors.New("the disk is full")
	h.commands.mu.Unlock()
	h.openStreamOf("alice", "tablet", "") // which need not be known to be served
}

func TestStreamHeartbeats(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Limits.Heartbeat = 5 * time.Millisecond })
	c := h.openStream("alice", "")
	c.onHeartbeat = func(n int) {
		if n == 3 {
			h.notify.Push([]projections.Effect{read(0, 8, "m1", "bob", 1, 1)})
		}
	}
	defer time.AfterFunc(patience, c.close).Stop()
	c.want("read", "")
}

func TestShutdownTellsStreamsAndEndsThem(t *testing.T) {
	h := newHarness(t)
	c := h.openStream("alice", "")
	stopped := make(chan error)
	go func() { stopped <- h.server.Config.Shutdown(context.Background()) }()
	if e := c.want("closing", ""); e.data["reason"] != "shutdown" {
		t.Errorf("closing %+v", e)
	}
	if _, err := c.next(); err != io.EOF {
		t.Errorf("after closing: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestStreamEndsWithItsToken(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	// Whole seconds, so between three and four from now: time enough to connect.
	token, _, err := h.tokens.Mint(testApp, "alice", 4*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	// And from the query, as a browser's EventSource has to.
	res, err := http.Get(h.server.URL + base + "/users/alice/stream?access_token=" + token)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	// The admin key does not open a stream from there.
	h.want(request{method: "GET", path: base + "/users/alice/stream?access_token=" + testAdminKey, token: "-"}, 401, "unauthorized")
	c := &streamClient{t: t, res: res, lines: bufio.NewReader(res.Body)}
	if e := c.want("closing", ""); e.data["reason"] != "token_expired" {
		t.Errorf("closing %+v", e)
	}
	if strings.Contains(h.logged.String(), token) {
		t.Error("the token is in the log")
	}
}

func TestStreamOfAClosedConnectionEnds(t *testing.T) {
	h := newHarness(t)
	c := h.openStream("alice", "")
	c.close()
	deadline := time.Now().Add(patience)
	for h.notify.Online(testApp, "alice") || h.api.streams.open() > 0 {
		if time.Now().After(deadline) {
			t.Fatal("still online")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestOwnDevicesAreTold of what their user did on one of them.
func TestOwnDevicesAreTold(t *testing.T) {
	h := newHarness(t)
	c := h.openStream("bob", "")
	own := projections.Effect{App: testApp, To: "bob", Own: true, Reader: "bob", At: sentAt, Unread: 2}
	for _, x := range []struct {
		kind                 events.Kind
		group, peer, message string
		name, schema, want   string
	}{
		{events.MessageRead, "g1", "", "m1", "own_read", "StreamOwnRead",
			"map[group:g1 message:m1 read_at:2026-03-01T12:00:00.123Z unread:2]"},
		{events.ConversationRead, "", "alice", "", "own_conversation_read", "StreamOwnConversationRead",
			"map[last_read_at:2026-03-01T12:00:00.123Z peer:alice unread:2]"},
		{events.ConversationMarkedUnread, "", "alice", "", "own_marked_unread", "StreamOwnMarkedUnread",
			"map[marked_unread:true peer:alice unread:2]"},
	} {
		e := own
		e.Kind, e.Group, e.Peer, e.Message, e.Marked = x.kind, x.group, x.peer, x.message, x.kind == events.ConversationMarkedUnread
		h.notify.Push([]projections.Effect{e})
		if got := c.want(x.name, x.schema); fmt.Sprint(got.data) != x.want {
			t.Errorf("%s: %v, want %s", x.name, got.data, x.want)
		}
	}
}
