package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/internal/lab/metrictest"
	"github.com/receiptd/receiptd/internal/router"
)

// lose takes a node's copy of a partition away for good: it is put aside as a wrong one, and the
// log no longer has what it takes to fold another one.
func (r *running) lose(partition int) {
	r.t.Helper()
	ctx := testContext(r.t)
	eventually(r.t, "the other nodes are heard of", func() bool {
		heard := slices.DeleteFunc(r.view().Nodes, func(n cluster.NodeView) bool { return n.State == cluster.StateSilent })
		return len(heard) > 1
	})
	_, last, err := r.Log.Bounds(ctx, partition)
	if err == nil {
		err = r.Log.Trim(ctx, partition, last)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, "the start of the log is gone", func() bool {
		first, _, err := r.Log.Bounds(ctx, partition)
		return err == nil && first > 1
	})
	if err := r.Projector.Condemn(partition, errors.New("planted")); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, "the copy is gone", func() bool { return !r.Projector.Serves(partition, 0) })
}

// abandon stops a node that has lost a copy, which it cannot write down.
func (r *running) abandon() {
	r.cancel()
	r.cancel = nil
	_ = errors.Join(<-r.done, r.Close(testContext(r.t)))
}

// A node answers every question as well when it has lost its copies of some partitions, and of all:
// other nodes do it. What it says is as new as it has to be, and no part of an answer is missing.
func TestOtherNodesAnswerForLostCopies(t *testing.T) {
	nodes := startNodes(t, 3)
	a, b, c := nodes[0], nodes[1], nodes[2]
	defer a.abandon()
	settings := map[string]any{"group_receipts": map[string]any{"enabled": true}, "single_receipts": map[string]any{"enabled": true}}
	if got := a.call("PUT", appURL, nil, settings); got.status != http.StatusOK {
		delete(settings, "single_receipts")
		a.call("PUT", appURL, nil, settings)
	}
	post := func(r *running, list ...any) said {
		t.Helper()
		got := r.call("POST", appURL+"/events?wait=applied", nil, list)
		if got.status != http.StatusOK {
			t.Fatalf("%+v", got)
		}
		return got
	}
	var first, second string // groups of different partitions
	for i := range 12 {
		g := fmt.Sprint("g", i)
		if k := events.Partition(&events.Event{App: app, Group: g}, partitions); k == 0 && first == "" {
			first = g
		} else if k == 1 && second == "" {
			second = g
		}
		post(a, map[string]any{"type": "group.created", "group": g, "owner": "ann", "members": []string{"ben", "cat"}},
			map[string]any{"type": "message.sent", "id": g + "-1", "from": "ann", "group": g, "receipt": true},
			map[string]any{"type": "message.sent", "id": g + "-2", "from": "ben", "group": g, "receipt": true},
			map[string]any{"type": "message.sent", "id": "twice", "from": "ann", "group": g, "receipt": true},
			map[string]any{"type": "message.read", "message": g + "-1", "user": "ben", "group": g, "content": "\u2028<ok> \x7f"},
			map[string]any{"type": "message.read", "message": g + "-none", "user": "ben", "group": g},
			map[string]any{"type": "group.left", "user": "cat", "group": g})
	}
	for i := range 6 {
		peer := fmt.Sprint("p", i)
		post(a, map[string]any{"type": "message.sent", "id": peer + "-1", "from": "ann", "peer": peer},
			map[string]any{"type": "message.read", "message": peer + "-1", "user": peer, "peer": "ann"},
			map[string]any{"type": "message.sent", "id": peer + "-2", "from": peer, "peer": "ann"})
	}
	a.call("PUT", appURL+"/users/ben/settings", nil, map[string]any{"reads": "visible"})
	a.caughtUp()
	b.caughtUp()
	c.caughtUp()

	var paths []string
	for _, g := range []string{first, second} {
		paths = append(paths, "/messages/"+g+"-1", "/messages/"+g+"-1?left=exclude", "/messages/"+g+"-1/readers", "/messages/"+g+"-1/readers?left=exclude",
			"/messages/"+g+"-1/nonreaders", "/messages/"+g+"-1/nonreaders?left=exclude", "/messages/"+g+"-2/readers", "/messages/twice?group="+g,
			"/groups/"+g+"/messages", "/groups/"+g+"/members", "/groups/"+g+"/positions", "/users/ben/conversations/"+g+"/unread", "/users/ben/conversations/"+g+"/settings",
			"/users/ben/reads?group="+g)
	}
	for i := range 6 {
		peer := fmt.Sprint("p", i)
		paths = append(paths, "/messages/"+peer+"-1", "/users/ann/conversations/"+peer+"/unread", "/users/ann/reads?peer="+peer)
	}
	paths = append(paths, "/messages/none", "/messages/twice", "/messages/none/readers", "/groups/none/members", "/users/ann/conversations", "/users/ben/conversations", "/users/nobody/conversations",
		"/users/ben/settings", "/users/none/conversations/none/unread", "/rejections", "/rejections?limit=3")
	counts := map[string]any{"ids": []string{first + "-1", second + "-2", "none", "p1-1"}}
	sdk := []string{"/acme/chat/chatgroups/" + first, "/acme/chat/chatgroups/" + second, "/acme/chat/users/ann/joined_chatgroups"}
	ask := func(r *running) (answers []string) {
		for _, path := range paths {
			x := r.call("GET", appURL+path, nil, nil)
			answers = append(answers, fmt.Sprint(path, " ", x.status, " ", x.body))
		}
		for _, path := range sdk {
			x := r.call("GET", path, nil, nil)
			answers = append(answers, fmt.Sprint(path, " ", x.status, " ", strings.Split(x.body, `"timestamp"`)[0]))
		}
		x := r.call("POST", appURL+"/messages:counts", nil, counts)
		return append(answers, fmt.Sprint("counts ", x.status, " ", x.body))
	}
	want := ask(b)
	good := 0
	for _, x := range want {
		if strings.Contains(x, " 200 ") {
			good++
		}
	}
	t.Logf("%d questions, %d of them with a good answer", len(want), good)
	if good < len(want)*3/4 {
		t.Fatalf("most questions must be well put: %q", want)
	}
	same := func(what string) {
		t.Helper()
		for i, got := range ask(a) {
			if got != want[i] {
				t.Errorf("%s:\ngot  %s\nwant %s", what, got, want[i])
			}
		}
	}
	same("with all copies")
	a.lose(0)
	same("without one copy")
	if n := metric(t, a, `receiptd_cluster_questions_total{kind="asked"}`); n == 0 {
		t.Error("no other node was asked")
	}

	// What comes is decided elsewhere, and read from there.
	wrote := post(a, map[string]any{"type": "message.sent", "id": "late", "from": "ann", "group": first, "receipt": true},
		map[string]any{"type": "message.read", "message": "late", "user": "ben", "group": first})
	if !strings.Contains(wrote.body, "applied") || strings.Contains(wrote.body, "unknown") {
		t.Errorf("the outcomes: %+v", wrote)
	}
	before := position(t, wrote)
	for i := range 20 {
		id := fmt.Sprint("new", i)
		at := b.call("POST", appURL+"/events", nil, map[string]any{"type": "message.sent", "id": id, "from": "ann", "group": first, "receipt": true}).header.Get("Receiptd-Position")
		got := a.call("GET", appURL+"/messages/"+id+"?at_least="+at, nil, nil)
		if got.status != http.StatusOK {
			t.Fatalf("at least %s: %+v", at, got)
		}
		if now := position(t, got); now < before {
			t.Fatalf("the position went from %d back to %d", before, now)
		} else {
			before = now
		}
		id = fmt.Sprint("strong", i)
		b.call("POST", appURL+"/events", nil, map[string]any{"type": "message.sent", "id": id, "from": "ann", "group": first, "receipt": true})
		if got := a.call("GET", appURL+"/messages/"+id+"?consistency=strong", nil, nil); got.status != http.StatusOK {
			t.Fatalf("strong: %+v", got)
		}
	}

	b.caughtUp() // what it lacks must not leave the log
	c.caughtUp()
	a.lose(1)
	a.lose(2)
	want = ask(b)
	same("without any copy")
	// A node that is gone is no reason for anything.
	b.stop()
	same("without any copy and with one node less")
	c.stop()
	for _, path := range []string{"/messages/" + first + "-1", "/users/ann/conversations"} {
		if got := a.call("GET", appURL+path, nil, nil); got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, "folding_again") {
			t.Errorf("nobody has a copy: %+v", got)
		}
	}
}

// position is the entry of partition 0 that an answer has.
func position(t *testing.T, a said) (at uint64) {
	t.Helper()
	for pair := range strings.SplitSeq(a.header.Get("Receiptd-Position"), ",") {
		if _, err := fmt.Sscanf(pair, "0:%d", &at); err == nil {
			return at
		}
	}
	t.Fatalf("no position of partition 0: %+v", a)
	return 0
}

// metric is the value of a metric of a node.
func metric(t *testing.T, r *running, name string) (value float64) {
	t.Helper()
	value, ok := metrictest.Sum(r.call("GET", "/metrics", nil, nil).body, name)
	if !ok {
		t.Fatalf("no metric %s", name)
	}
	return value
}

// stubBus answers every question by a function.
type stubBus struct {
	cluster.Bus
	answer func(cluster.Question) []cluster.Answer
}

func (b stubBus) Ask(_ context.Context, _ string, question []byte) ([]byte, error) {
	var q cluster.Question
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, err
	}
	return json.Marshal(b.answer(q))
}

// An answer of another node is not older than what this one has said, nor than one before.
func TestAnswersOfOtherNodesAreNotOlder(t *testing.T) {
	nodes := startNodes(t, 2)
	a := nodes[0]
	defer a.abandon()
	a.call("PUT", appURL, nil, receiptsOn)
	k := events.Partition(&events.Event{App: app, Group: "g"}, partitions)
	a.call("POST", appURL+"/events?wait=applied", nil, map[string]any{"type": "group.created", "group": "g", "owner": "ann"})
	a.call("POST", appURL+"/events?wait=applied", nil, map[string]any{"type": "message.sent", "id": "m", "from": "ann", "group": "g"})
	nodes[1].caughtUp()
	a.lose(k)
	had := a.Projector.Folded()[k]
	var asked, say uint64
	r := router.New(a.Projector, &cluster.Asker{
		Copies: func(int) (preferred, others []string) { return []string{"x"}, nil },
		Bus: stubBus{answer: func(q cluster.Question) []cluster.Answer {
			asked = q.Of[0].Sequence
			result := "true"
			switch q.Name {
			case "position":
				result = "{}"
			case "outcomes":
				result = fmt.Sprintf("[%d]", q.Of[0].Sequence%2)
			}
			return []cluster.Answer{{Position: eventlog.Position{Partition: k, Sequence: say}, Result: []byte(result)}}
		}},
	}, a.feeds, prometheus.NewRegistry())
	for _, test := range []struct{ say, ask uint64 }{{had - 1, had}, {had, had}, {had + 7, had}, {had + 6, had + 7}, {had + 9, had + 7}} {
		say = test.say
		is, err := r.IsMember(app, "g", "ann")
		if good := test.say >= test.ask; asked != test.ask || is != good || good != (err == nil) || !good && !errors.Is(err, projector.ErrLate) {
			t.Errorf("said %d: %v, %v; asked for %d, want %d", say, is, err, asked, test.ask)
		}
	}
	if at := r.Folded()[k]; at != had+9 {
		t.Errorf("the position is %d, want %d", at, had+9)
	}
	if err := r.WaitFor(testContext(t), k, had+9); err != nil {
		t.Errorf("what was seen is not there: %v", err)
	}
	say = had + 12
	if err := r.WaitFor(testContext(t), k, had+11); err != nil || asked != had+11 {
		t.Errorf("%v, asked for %d", err, asked)
	}
	// What was decided about an entry is that, whatever was heard of since.
	for at := had + 1; at < had+5; at++ {
		got, err := r.Outcomes(testContext(t), k, at)
		if err != nil || asked != at || len(got) != 1 || got[0] != events.Outcome(at%2) {
			t.Errorf("the outcomes of entry %d: %v, %v; asked for %d", at, got, err, asked)
		}
	}
}

// An answer that takes more than one message of NATS arrives whole.
func TestLargeAnswersOfOtherNodes(t *testing.T) {
	nodes := startNodes(t, 2)
	a, b := nodes[0], nodes[1]
	defer a.abandon()
	a.call("PUT", appURL, nil, receiptsOn)
	for from := 0; from < 20_000; from += 10_000 {
		list := []events.Event{{Kind: events.GroupCreated, App: app, Group: "big", User: "ann"}}[:1-min(from, 1)]
		for i := range 10_000 {
			list = append(list, events.Event{Kind: events.GroupJoined, App: app, Group: "big", User: fmt.Sprintf("member-%08d-%s", from+i, strings.Repeat("x", 64))})
		}
		if err := a.append(list...).Wait(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	a.caughtUp()
	b.caughtUp()
	a.lose(events.Partition(&events.Event{App: app, Group: "big"}, partitions))
	got, err := a.router.Group(app, "big")
	for range 5 { // under the race detector the others may take longer than a question waits
		if errors.Is(err, projector.ErrLate) {
			got, err = a.router.Group(app, "big")
		}
	}
	want, wantErr := b.Projector.Group(app, "big")
	if err != nil || wantErr != nil || len(got.Members) != 20_001 || !slices.Equal(got.Members, want.Members) {
		t.Fatalf("%d members, %v; %d and %v at the other node", len(got.Members), err, len(want.Members), wantErr)
	}
}
