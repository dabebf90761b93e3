package runtime

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// line is one line of a tail.
type line struct {
	Partition int    `json:"partition"`
	Sequence  uint64 `json:"sequence"`
	Index     int    `json:"index"`
	Stored    string `json:"stored"`
	App       string `json:"app"`
	Type      string `json:"type"`
	ID        string `json:"id"`
	Message   string `json:"message"`
	Group     string `json:"group"`
	Error     string `json:"error"`
	Cursor    string `json:"cursor"`
}

// tailing is an open tail.
type tailing struct {
	t     *testing.T
	body  io.ReadCloser
	lines *bufio.Scanner
}

func get(t *testing.T, base, query string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(testContext(t), http.MethodGet, base+"/v1/admin/tail?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

func openTail(t *testing.T, base, query string) *tailing {
	t.Helper()
	response := get(t, base, query)
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		t.Fatalf("tail?%s: %s: %s", query, response.Status, text)
	}
	x := &tailing{t: t, body: response.Body, lines: bufio.NewScanner(response.Body)}
	t.Cleanup(x.close)
	return x
}

func (x *tailing) close() { _ = x.body.Close() }

// next returns the next line; a heartbeat has nothing but a cursor.
func (x *tailing) next() (l line) {
	x.t.Helper()
	if !x.lines.Scan() {
		x.t.Fatalf("the tail ended: %v", x.lines.Err())
	}
	decoder := json.NewDecoder(strings.NewReader(x.lines.Text()))
	if err := decoder.Decode(&l); err != nil {
		x.t.Fatalf("line %q: %v", x.lines.Text(), err)
	}
	return l
}

// event returns the next line that is no heartbeat.
func (x *tailing) event() line {
	x.t.Helper()
	for {
		if l := x.next(); l.Stored != "" {
			return l
		}
	}
}

// take returns the next n events, as group/type/message.
func (x *tailing) take(n int) (list []string, last line) {
	x.t.Helper()
	for range n {
		last = x.event()
		list = append(list, fmt.Sprint(last.Group, "/", last.Type, "/", last.ID, last.Message))
	}
	return list, last
}

// serveAdmin serves what receiptctl asks of a server that folds.
func serveAdmin(t *testing.T, cfg config.Config) (*running, string) {
	t.Helper()
	r := start(t, cfg)
	s := httptest.NewServer(adminOf(t, r.Core))
	t.Cleanup(s.Close)
	return r, s.URL
}

// adminOf is what the gateway makes of the calls.
func adminOf(t *testing.T, core *Core) http.Handler {
	mux := http.NewServeMux()
	for _, c := range adminCalls(t.Context(), core, http.NotFoundHandler(), http.NotFoundHandler()) {
		mux.Handle(c.Method+" "+c.Path, c.Handler)
	}
	return mux
}

// sends is the events of one entry: n messages in the group.
func sends(app, group string, n int) (list []events.Event) {
	for i := range n {
		list = append(list, events.Event{Kind: events.MessageSent, App: app, Group: group, User: "alice", Message: fmt.Sprint(group, "-", i)})
	}
	return list
}

func TestTailShowsTheLogFromTheStartAndGoesOn(t *testing.T) {
	r, base := serveAdmin(t, testConfig(t))
	r.append(group("g", 2)...)
	x := openTail(t, base, "from=start")
	want := []string{"g/group.created/", "g/message.sent/g-a", "g/message.read/g-a", "g/message.sent/g-b", "g/message.read/g-b"}
	got, last := x.take(len(want))
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if last.App != app || last.Index != len(want)-1 || last.Partition != events.Partition(&events.Event{App: app, Group: "g"}, partitions) {
		t.Errorf("%+v", last)
	}
	if at, err := time.Parse(time.RFC3339, last.Stored); err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("stored at %q, %v", last.Stored, err)
	}
	r.append(sends(app, "g", 1)...)
	if l := x.event(); l.ID != "g-0" || l.Sequence != last.Sequence+1 || l.Index != 0 {
		t.Errorf("%+v after %+v", l, last)
	}
	now := openTail(t, base, "")
	if l := now.next(); l.Cursor == "" || l.Stored != "" {
		t.Errorf("a tail from now on begins with %+v", l)
	}
	r.append(sends(app, "later", 1)...)
	if l := now.event(); l.ID != "later-0" {
		t.Errorf("a tail from now on shows %+v", l)
	}
}

// A cursor goes on after the very event it came with, be that in the middle of an entry.
func TestTailGoesOnBehindItsCursor(t *testing.T) {
	r, base := serveAdmin(t, testConfig(t))
	const entries, each = 3, 5
	for range entries {
		r.append(sends(app, "g", each)...)
	}
	all, _ := openTail(t, base, "from=start").take(entries * each)
	for seen := range entries*each - 1 {
		first := openTail(t, base, "from=start")
		_, last := first.take(seen + 1)
		first.close()
		rest, _ := openTail(t, base, "cursor="+url.QueryEscape(last.Cursor)).take(entries*each - seen - 1)
		if !slices.Equal(rest, all[seen+1:]) {
			t.Fatalf("after %d events, with cursor %s: %q, want %q", seen+1, last.Cursor, rest, all[seen+1:])
		}
	}
	// After the last one there is nothing yet; the heartbeat's cursor is as good.
	x := openTail(t, base, "from=start")
	_, last := x.take(entries * each)
	after := openTail(t, base, "cursor="+last.Cursor)
	beat := after.next()
	r.append(sends(app, "h", 1)...)
	for _, y := range []*tailing{after, openTail(t, base, "cursor="+beat.Cursor)} {
		if l := y.event(); l.ID != "h-0" {
			t.Errorf("%+v", l)
		}
	}
}

func TestTailOfOneAppShowsNothingElse(t *testing.T) {
	r, base := serveAdmin(t, testConfig(t))
	var mixed []events.Event
	for i := range 10 {
		mixed = append(mixed, sends([]string{app, "acme#other", "acme2#chat"}[i%3], fmt.Sprint("g", i), 1)...)
	}
	r.append(mixed...)
	x := openTail(t, base, "from=start&app=acme/chat")
	var got []string
	var middle line
	for range 4 {
		l := x.event()
		if l.App != app {
			t.Errorf("%+v", l)
		}
		got = append(got, l.Group)
		middle = l
		if len(got) == 2 {
			y := openTail(t, base, "app=acme/chat&cursor="+l.Cursor)
			if again := y.event(); again.App != app || slices.Contains(got, again.Group) {
				t.Errorf("after %+v comes %+v", l, again)
			}
		}
	}
	slices.Sort(got)
	if want := []string{"g0", "g3", "g6", "g9"}; !slices.Equal(got, want) {
		t.Errorf("groups %v, want %v", got, want)
	}
	r.append(sends("acme#other", "x", 1)...)
	r.append(sends(app, "y", 1)...)
	if l := x.event(); l.Group != "y" || l.Cursor == middle.Cursor {
		t.Errorf("%+v", l)
	}
}

func TestTailRefusesWhatItCannotFollow(t *testing.T) {
	server := natstest.StartServer(t)
	cfg := testConfig(t)
	cfg.Log.NATS = config.ServerURLs(server.URL())
	r, base := serveAdmin(t, cfg)
	for range 5 {
		r.append(sends(app, "g", 2)...)
	}
	k := events.Partition(&events.Event{App: app, Group: "g"}, partitions)
	encode := func(positions string) string {
		return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%016x/%s", r.Log.Identity(), positions))
	}
	cursor := func(sequence uint64, index int) string {
		positions := make([]string, partitions)
		for i := range positions {
			positions[i] = "0:8192"
		}
		positions[k] = fmt.Sprint(sequence, ":", index)
		return encode(strings.Join(positions, ","))
	}
	x := openTail(t, base, "cursor="+cursor(2, 0))
	if l := x.event(); l.Sequence != 2 || l.Index != 1 {
		t.Errorf("%+v", l)
	}
	x.close()
	r.caughtUp() // the fold stops at a gap, too
	stream, err := server.JetStream().Stream(testContext(t), fmt.Sprint("RECEIPTS_", k))
	if err == nil {
		err = stream.Purge(testContext(t), jetstream.WithPurgeSequence(4))
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		query string
		want  int
	}{
		"trimmed":               {"cursor=" + cursor(1, 1), http.StatusGone},
		"trimmed in the middle": {"cursor=" + cursor(3, 0), http.StatusGone},
		"still there":           {"cursor=" + cursor(3, events.MaxBatchEvents), http.StatusOK},
		"beyond the end":        {"cursor=" + cursor(100, 0), http.StatusGone},
		"no base64":             {"cursor=!", http.StatusBadRequest},
		"too few positions":     {"cursor=" + encode("1:0"), http.StatusBadRequest},
		"no index":              {"cursor=" + encode("1,1,1"), http.StatusBadRequest},
		"negative index":        {"cursor=" + cursor(1, -1), http.StatusBadRequest},
		"index beyond a batch":  {"cursor=" + cursor(1, events.MaxBatchEvents+1), http.StatusBadRequest},
		"of another log":        {"cursor=" + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%016x/%s", r.Log.Identity()+1, "0:8192,0:8192")), http.StatusBadRequest},
		"from elsewhere":        {"from=yesterday", http.StatusBadRequest},
		"app without org":       {"app=chat", http.StatusBadRequest},
		"from the start":        {"from=start", http.StatusOK},
	} {
		response := get(t, base, c.query)
		if response.StatusCode != c.want {
			t.Errorf("%s: status %d, want %d", name, response.StatusCode, c.want)
		}
		if c.want != http.StatusOK {
			var body struct {
				Error struct{ Code, Message string }
			}
			if err := json.NewDecoder(response.Body).Decode(&body); err != nil || body.Error.Code == "" || body.Error.Message == "" {
				t.Errorf("%s: %+v, %v", name, body, err)
			}
		}
		_ = response.Body.Close()
	}
}

// A poison entry is shown as what it is, to those who follow everything.
func TestTailShowsPoison(t *testing.T) {
	server := natstest.StartServer(t)
	cfg := testConfig(t)
	cfg.Log.NATS = config.ServerURLs(server.URL())
	r, base := serveAdmin(t, cfg)
	if _, err := server.JetStream().Publish(testContext(t), events.BatchSubject(1), []byte("no \xff batch\x00")); err != nil {
		t.Fatal(err)
	}
	r.append(sends(app, "g", 1)...)
	x := openTail(t, base, "from=start")
	seen := map[bool]line{}
	for range 2 {
		l := x.event()
		seen[l.Error != ""] = l
	}
	if bad := seen[true]; bad.Partition != 1 || bad.Sequence == 0 || bad.Type != "" || bad.Cursor == "" {
		t.Errorf("%+v", bad)
	}
	if good := seen[false]; good.ID != "g-0" {
		t.Errorf("%+v", good)
	}
	if l := openTail(t, base, "from=start&app=acme/chat").event(); l.ID != "g-0" {
		t.Errorf("who follows one app sees %+v", l)
	}
}

func TestTextIsQuotedAsJSON(t *testing.T) {
	for _, text := range []string{"", "a\"b\\", "\x00\a\x7f", "\U000e0001\u00ad", "é\u2028", "\xff"} {
		quoted := appendText([]byte("x"), text)[1:]
		var got string
		if err := json.Unmarshal(quoted, &got); err != nil || got != strings.ToValidUTF8(text, "\ufffd") {
			t.Errorf("%q is quoted as %s, which is %q, %v", text, quoted, got, err)
		}
	}
}

// A client that goes away, at whatever moment, ends its tail: nothing is left.
func TestTailEndsWithItsClient(t *testing.T) {
	r := start(t, testConfig(t))
	var open sync.WaitGroup
	admin := adminOf(t, r.Core)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		open.Add(1)
		defer open.Done()
		admin.ServeHTTP(w, q)
	}))
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var producer sync.WaitGroup
	producer.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := r.Log.Append(context.Background(), sends(app, fmt.Sprint("g", i%7), 50)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range 20 {
		x := openTail(t, s.URL, "from=start")
		x.take(i * 7)
		x.close()
	}
	cancel()
	producer.Wait()
	done := make(chan struct{})
	go func() { open.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("tails go on without their clients")
	}
}

// An open tail and a rebuild under way do not hold up the end of the server.
func TestShutdownEndsTails(t *testing.T) {
	cfg := testConfig(t)
	cfg.HTTP.AdminKey = "key"
	cfg.ShutdownTimeout = 5 * patience
	r := start(t, cfg)
	request, err := http.NewRequest(http.MethodGet, "http://"+r.Addr().String()+"/v1/admin/tail", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer key")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	x := &tailing{t: t, body: response.Body, lines: bufio.NewScanner(response.Body)}
	defer x.close()
	if l := x.next(); l.Cursor == "" {
		t.Errorf("%+v", l)
	}
	began := time.Now()
	r.stop()
	if took := time.Since(began); took > patience {
		t.Errorf("the end took %v", took)
	}
	if x.lines.Scan() {
		t.Errorf("the tail goes on: %s", x.lines.Text())
	}
}

func TestTailCursorIsOfOneLog(t *testing.T) {
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for name, c := range map[string]struct {
		cursor string
		want   error
	}{
		"ours":            {encode("00000000000000ff/1:2,3:4"), nil},
		"another log":     {encode("00000000000000fe/1:2,3:4"), errForeignCursor},
		"other positions": {encode("00000000000000fe/1:2"), errForeignCursor},
		"without a log":   {encode("1:2,3:4"), errForeignCursor},
		"no identity":     {encode("x/1:2,3:4"), errBadCursor},
		"nothing":         {encode(""), errBadCursor},
	} {
		if _, err := parsePositions(c.cursor, 2, 255); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
