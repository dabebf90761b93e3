package runtime

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

// hearing is a connection of ann or dan: when it was told of each message that was read, whether as
// it happened or by a summary. It has to be told of those that were read after a time.
type hearing struct {
	name  string
	from  string // whose messages
	since time.Time
	// opened is when the connection was: later receipts come soon.
	opened time.Time
	mu     sync.Mutex
	told   map[string][]time.Time
	odd    []string // what should not have been told
}

func (h *hearing) hear(message string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told[message] = append(h.told[message], time.Now())
}

func (h *hearing) wonder(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.odd = append(h.odd, what)
}

// missing are those of the messages that were not told.
func (h *hearing) missing(of map[string]time.Time) (list []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, at := range of {
		if at.After(h.since) && len(h.told[id]) == 0 {
			list = append(list, id)
		}
	}
	slices.Sort(list)
	return list
}

// summary hears the items of a summary, as JSON.
func (h *hearing) summary(text string) {
	var x struct {
		GroupAck []struct{ Mid string } `json:"group_ack"`
	}
	if err := json.Unmarshal([]byte(text), &x); err != nil {
		h.wonder(err.Error())
	}
	for _, item := range x.GroupAck {
		h.hear(item.Mid)
	}
}

// stream opens an event stream of ann's at a node. She acknowledges nothing, so it has to be told
// of everything.
func (r *running) stream(name string) *hearing {
	r.t.Helper()
	h := &hearing{name: name, from: "ann", told: map[string][]time.Time{}}
	ctx, cancel := context.WithCancel(context.Background())
	r.t.Cleanup(cancel)
	rq, err := http.NewRequestWithContext(ctx, "GET", "http://"+r.Addr().String()+appURL+"/users/ann/stream", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	rq.Header.Set("Authorization", "Bearer "+r.AdminKey())
	got, err := http.DefaultClient.Do(rq)
	if err != nil {
		r.t.Fatal(err)
	}
	if got.StatusCode != http.StatusOK {
		r.t.Fatalf("%s: no stream: %s", name, got.Status)
	}
	h.opened = time.Now()
	go func() {
		defer got.Body.Close()
		var event string
		for lines := bufio.NewScanner(got.Body); lines.Scan(); {
			switch field, value, _ := strings.Cut(lines.Text(), ": "); field {
			case "event":
				if event = value; value != "read" && value != "statistic" {
					h.wonder(value)
				}
			case "data":
				var x struct{ Message string }
				if event == "statistic" {
					h.summary(value)
				} else if err := json.Unmarshal([]byte(value), &x); err == nil {
					h.hear(x.Message)
				}
			}
		}
		if ctx.Err() == nil {
			h.wonder("the stream has ended")
		}
	}()
	return h
}

// session logs dan in with the SDK at a node. He acknowledges what he is told. What a fold here
// does while he logs in may be in the summary and pushed besides, as ever: so nothing is read.
func (r *running) session(name string) *hearing {
	r.t.Helper()
	h := &hearing{name: name, from: "dan", told: map[string][]time.Time{}}
	c := r.socket()
	if why := c.login(r.mint(app, "dan"), app, "dan"); why != "" {
		r.t.Fatalf("%s: %s", name, why)
	}
	c.write(&msyncpb.Frame{Command: msyncpb.Frame_UNREAD.Enum()})
	asked := make(chan struct{})
	go func() {
		seen := map[uint64]bool{}
		for f := c.read(); f != nil; f = c.read() {
			var unread msyncpb.UnreadDown
			if f.GetCommand() == msyncpb.Frame_UNREAD && proto.Unmarshal(f.Payload, &unread) == nil {
				for _, x := range unread.Unread { // what waited at the login is pulled
					c.write(syncFrame(&msyncpb.SyncUp{Queue: x.Queue}))
				}
				close(asked)
			}
			var down msyncpb.SyncDown
			if f.GetCommand() != msyncpb.Frame_SYNC || proto.Unmarshal(f.Payload, &down) != nil {
				continue
			}
			for _, meta := range down.Metas {
				if !seen[meta.GetId()] { // a page may be sent again
					seen[meta.GetId()] = true
					h.meta(meta)
				}
			}
			if !down.GetIsLast() {
				c.write(syncFrame(&msyncpb.SyncUp{Queue: down.Queue, Key: down.NextKey}))
			}
		}
		h.wonder("the session has ended")
	}()
	<-asked
	h.since, h.opened = time.Now(), time.Now()
	return h
}

func (h *hearing) meta(meta *msyncpb.Meta) {
	var body msyncpb.Body
	var statistics msyncpb.Statistics
	switch {
	case meta.GetNs() == int32(msyncpb.Meta_STATISTIC) && proto.Unmarshal(meta.Payload, &statistics) == nil:
		h.summary(statistics.GetLocation())
	case proto.Unmarshal(meta.Payload, &body) == nil && body.GetType() == int32(msyncpb.Body_READ_ACK):
		h.hear(strconv.FormatUint(body.GetAckMessageId(), 10))
	default:
		h.wonder(meta.String())
	}
}

// readings have members read messages of ann's through nodes, until they are stopped.
type readings struct {
	t  *testing.T
	mu sync.Mutex
	at map[string]map[string]time.Time // by author: when it began that each message was read
	// through are the nodes that take events now. under is held while one does.
	through []*running
	under   sync.RWMutex
	stop    context.CancelFunc
	over    sync.WaitGroup
}

func readMessages(t *testing.T, groups []string, through ...*running) *readings {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	x := &readings{t: t, at: map[string]map[string]time.Time{"ann": {}, "dan": {}}, through: through, stop: cancel}
	for i, g := range groups {
		x.over.Go(func() {
			for n := 1_000_000 * (i + 1); ctx.Err() == nil; n++ {
				for _, from := range []string{"ann", "dan"} {
					x.read(g, from, n)
				}
				time.Sleep(10 * time.Millisecond) // so that they do not come all at once
			}
		})
	}
	t.Cleanup(func() { cancel(); x.over.Wait() })
	return x
}

// read has a message sent and read.
func (x *readings) read(group, from string, n int) {
	x.under.RLock()
	defer x.under.RUnlock()
	r, id, began := x.through[n%len(x.through)], strconv.Itoa(n), time.Now()
	got := r.call("POST", appURL+"/events", nil, []any{
		map[string]any{"type": "message.sent", "id": id, "from": from, "group": from + group, "receipt": true},
		map[string]any{"type": "message.read", "message": id, "user": "ben", "group": from + group}})
	if got.status != http.StatusOK {
		x.t.Errorf("%+v", got)
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.at[from][id] = began
}

// while has nobody read while something is done, and go on through these nodes.
func (x *readings) while(do func(), through ...*running) {
	x.under.Lock()
	defer x.under.Unlock()
	do()
	x.through = through
}

func (x *readings) count() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.at["ann"])
}

// more waits for some more messages to have been read.
func (x *readings) more(n int) {
	x.t.Helper()
	before := x.count()
	eventually(x.t, "messages are read", func() bool { return x.count() >= before+n })
}

// check ends the readings, waits until the connections were told of all, and demands that each was
// told of each once and soon.
func (x *readings) check(slowest time.Duration, connections ...*hearing) {
	x.t.Helper()
	x.stop()
	x.over.Wait()
	for _, h := range connections {
		var missing []string
		for end := time.Now().Add(patience / 4); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if missing = h.missing(x.at[h.from]); len(missing) == 0 {
				break
			}
		}
		if len(missing) > 0 {
			h.mu.Lock()
			x.t.Fatalf("%s was not told of %d messages of %d, such as %s; %q", h.name, len(missing), len(x.at[h.from]), missing[0], h.odd)
		}
	}
	time.Sleep(300 * time.Millisecond) // for what should not come
	for _, h := range connections {
		h.mu.Lock()
		longest, twice := time.Duration(0), 0
		for id, times := range h.told {
			if len(times) > 1 {
				twice++
			}
			if at := x.at[h.from][id]; at.After(h.opened) {
				longest = max(longest, times[0].Sub(at))
			}
		}
		x.t.Logf("%s: told of %d messages, of one after %v", h.name, len(h.told), longest)
		if twice > 0 || longest > slowest || len(h.odd) > 0 {
			x.t.Errorf("%s: told twice of %d messages of %d, of one after %v; and %q", h.name, twice, len(h.told), longest, h.odd)
		}
		h.mu.Unlock()
	}
}

// slow is how late a receipt may be told when the copy that told before is gone, on a machine that
// has other things to do. How late it is without those is held by simulations, in internal/feed.
const slow = 6 * time.Second

// groupOfEach makes groups of each partition: one of ann and ben, and one of dan and ben.
func groupOfEach(r *running) (groups []string) {
	r.t.Helper()
	r.call("PUT", appURL, nil, receiptsOn)
	for i := 0; len(groups) < partitions; i++ {
		g := fmt.Sprint("g", i)
		if events.Partition(&events.Event{App: app, Group: "ann" + g}, partitions) != len(groups) {
			continue
		}
		groups = append(groups, g)
		for _, from := range []string{"ann", "dan"} {
			got := r.call("POST", appURL+"/events?wait=applied", nil,
				map[string]any{"type": "group.created", "group": from + g, "owner": from, "members": []string{"ben"}})
			if got.status != http.StatusOK {
				r.t.Fatalf("%+v", got)
			}
		}
	}
	return groups
}

// A user who is connected to a node that has lost copies, before or after it has, is told of every
// receipt once, as it happens or by the summary at the login, and goes on to be when the nodes that
// tell it go.
func TestReceiptsAreToldWithoutACopy(t *testing.T) {
	nodes := startNodes(t, 3)
	a, b, c := nodes[0], nodes[1], nodes[2]
	defer a.abandon()
	groups := groupOfEach(a)
	x := readMessages(t, groups, a, b, c)
	lose := func(partition int) {
		x.while(func() {
			for _, r := range nodes { // what they lack must not leave the log
				r.await(partition)
			}
			a.lose(partition)
		}, nodes...)
	}
	heard := []*hearing{a.stream("a stream from before")}
	session := func(name string) {
		x.while(func() {
			for k := range partitions {
				if a.Projector.Serves(k, 0) {
					a.await(k)
				}
			}
			heard = append(heard, a.session(name))
		}, nodes...)
	}
	session("an SDK session from before")
	x.more(30)
	lose(0)
	heard = append(heard, a.stream("a stream without one copy"))
	session("an SDK session without one copy")
	x.more(30)
	lose(1)
	lose(2)
	heard = append(heard, a.stream("a stream without any copy"))
	session("an SDK session without any copy")
	x.more(30)
	// One of those that tell goes.
	x.while(func() {}, a, c)
	b.stop()
	x.more(30)
	heard = append(heard, a.stream("a stream without any copy, with one node less"))
	x.more(30)
	for _, path := range []string{"/users/ann/statistics", "/users/ann/statistics?device=phone"} {
		if got := a.call("GET", appURL+path, nil, nil); got.status != http.StatusOK || !strings.Contains(got.body, `"mid"`) {
			t.Errorf("%s: %.300s", path, fmt.Sprint(got))
		}
	}
	x.check(slow, heard...)
	if n := metric(t, a, `receiptd_cluster_feeds_total{kind="begun"}`); n < partitions {
		t.Errorf("%v feeds were begun", n)
	}

	// What was told can be acknowledged without a copy.
	cursor := a.call("GET", appURL+"/users/ann/statistics", nil, nil).field(t, "cursor")
	if got := a.call("POST", appURL+"/users/ann/statistics:ack", nil, map[string]any{"cursor": cursor}); got.status != http.StatusOK {
		t.Errorf("acknowledge: %+v", got)
	}
	if got := a.call("GET", appURL+"/users/ann/statistics", nil, nil); got.status != http.StatusOK || strings.Contains(got.body, `"mid"`) {
		t.Errorf("after it was acknowledged: %.300s", fmt.Sprint(got))
	}
}

// A copy that is folded again is stood in for meanwhile, and takes over when it serves again:
// nothing is lost or told twice.
func TestCopiesThatServeAgainTell(t *testing.T) {
	nodes := startNodes(t, 2)
	a, b := nodes[0], nodes[1]
	groups := groupOfEach(a)
	for i := range 12 { // so that it takes a while to fold it
		list := make([]events.Event, 4000)
		for n := range list {
			list[n] = events.Event{Kind: events.MessageSent, App: app, Group: "ann" + groups[i%partitions], User: "ben", Message: fmt.Sprint("old-", i, "-", n)}
		}
		a.append(list...)
	}
	a.caughtUp()
	b.caughtUp()
	x := readMessages(t, groups, a, b)
	heard := []*hearing{a.stream("a stream")}
	x.while(func() {
		a.caughtUp()
		heard = append(heard, a.session("an SDK session"))
	}, a, b)
	for i := range 2 * partitions {
		k := i % partitions
		x.more(20)
		if err := a.Projector.Condemn(k, errors.New("planted")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the copy is put aside", func() bool {
			return !a.Projector.Serves(k, 0) || a.Projector.Stats()[k].Corruptions > uint64(i/partitions)
		})
		if i%3 == 0 {
			heard = append(heard, a.stream(fmt.Sprint("a stream from meanwhile, ", i)))
		}
		eventually(t, "the copy serves again", func() bool { return a.Projector.Serves(k, 0) })
	}
	x.more(30)
	x.check(slow, heard...)
	if n := metric(t, a, `receiptd_cluster_feeds_total{kind="begun"}`); n == 0 {
		t.Error("no feed was begun")
	}
}
