package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
)

// fakePositions is how far a state is folded, as a test says.
type fakePositions struct {
	mu     sync.Mutex
	at     []uint64
	strong func(context.Context) error
}

func (p *fakePositions) Folded() []uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.at)
}

func (p *fakePositions) set(at ...uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = at
}

func (p *fakePositions) WaitFor(ctx context.Context, partition int, sequence uint64) error {
	for p.Folded()[partition] < sequence {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (p *fakePositions) Strong(ctx context.Context) error { return p.strong(ctx) }

// fakeCluster is a cluster of nodes a and b, of which a is this one.
type fakeCluster struct{ forgotten, changed string }

func (*fakeCluster) Name() string { return "a" }

func (*fakeCluster) View() any {
	node := func(name string) any {
		return map[string]any{"node": name, "state": "serving", "version": "test", "incarnation": "1", "heard_ms": 3, "max_rules_level": 1}
	}
	return map[string]any{"node": "a", "rules_level": 1, "nodes": []any{node("a"), node("b")}, "partitions": []any{map[string]any{
		"partition": 0, "compared": 12, "copies": []any{
			map[string]any{"node": "a", "state": "serving", "sequence": 12, "chain": "c", "digest": "d", "applied": 13},
		}}}}
}

func (f *fakeCluster) Forget(_ context.Context, node string) error {
	switch node {
	case "a":
		return ErrNodeAlive
	case "b":
		f.forgotten = node
		return nil
	}
	return ErrNoNode
}

func (f *fakeCluster) SetCopies(_ context.Context, copies int) error {
	f.changed = fmt.Sprint("copies ", copies)
	return nil
}

func (f *fakeCluster) Drain(_ context.Context, node string) error {
	if node == "b" {
		return fmt.Errorf("%w: it is the last one", ErrRefused)
	}
	f.changed = "drain " + node
	return nil
}

func (f *fakeCluster) Undrain(_ context.Context, node string) error {
	if node != "a" {
		return ErrNoNode
	}
	f.changed = "undrain " + node
	return nil
}

func (f *fakeCluster) Move(_ context.Context, partition int, from, to string) error {
	f.changed = fmt.Sprint("move ", partition, " ", from, " ", to)
	return nil
}

func (f *fakeCluster) DropMove(_ context.Context, partition int) error {
	f.changed = fmt.Sprint("drop ", partition)
	return nil
}

// What is planned for the cluster is changed as the request says, or nothing is.
func TestPlanOfTheCluster(t *testing.T) {
	h, _, k := newNode(t)
	for _, test := range []struct {
		method, path, body string
		status             int
		changed, says      string
	}{
		{"PUT", "/v1/cluster/copies", `{"copies":2}`, http.StatusNoContent, "copies 2", ""},
		{"PUT", "/v1/cluster/copies", `{"copies":0}`, http.StatusNoContent, "copies 0", ""},
		{"PUT", "/v1/cluster/copies", `{"copies":-1}`, http.StatusBadRequest, "", "copies"},
		{"PUT", "/v1/cluster/copies", `{}`, http.StatusBadRequest, "", "copies"},
		{"PUT", "/v1/cluster/nodes/a/drain", "", http.StatusNoContent, "drain a", ""},
		{"PUT", "/v1/cluster/nodes/b/drain", "", http.StatusConflict, "", "it is the last one"},
		{"DELETE", "/v1/cluster/nodes/a/drain", "", http.StatusNoContent, "undrain a", ""},
		{"DELETE", "/v1/cluster/nodes/b/drain", "", http.StatusNotFound, "", "node_not_found"},
		{"PUT", "/v1/cluster/partitions/1/move", `{"from":"a","to":"b"}`, http.StatusNoContent, "move 1 a b", ""},
		{"PUT", "/v1/cluster/partitions/1/move", `{"form":"a","to":"b"}`, http.StatusBadRequest, "", "form"},
		{"PUT", "/v1/cluster/partitions/999/move", `{"from":"a","to":"b"}`, http.StatusNotFound, "", ""},
		{"DELETE", "/v1/cluster/partitions/1/move", "", http.StatusNoContent, "drop 1", ""},
	} {
		k.changed = ""
		a := h.do(request{method: test.method, path: test.path, body: test.body, wrong: test.status == http.StatusBadRequest})
		if a.status != test.status || k.changed != test.changed || !strings.Contains(string(a.body), test.says) {
			t.Errorf("%s %s %s: %d %s, and %q was done", test.method, test.path, test.body, a.status, a.body, k.changed)
		}
	}
	alone := newHarness(t)
	if a := alone.do(request{method: "PUT", path: "/v1/cluster/copies", body: `{"copies":2}`}); a.status != http.StatusNotFound || !strings.Contains(string(a.body), "no_cluster") {
		t.Errorf("a server that is alone: %d %s", a.status, a.body)
	}
}

func newNode(t *testing.T) (*harness, *fakePositions, *fakeCluster) {
	p, k := &fakePositions{at: []uint64{12, 44}}, &fakeCluster{}
	return newHarness(t, func(c *Config) {
		c.Positions, c.Cluster = p, k
		c.Limits.CatchUp = 300 * time.Millisecond
	}), p, k
}

// Every answer of a node says up to where its state was folded, and one to events at least where
// they are; a server that is alone adds nothing.
func TestAnswersSayWhereTheyStand(t *testing.T) {
	h, p, _ := newNode(t)
	for _, path := range []string{base, base + "/messages/nobody", "/healthz", "/v1/cluster"} {
		a := h.do(request{method: "GET", path: path})
		if got := a.header.Get("Receiptd-Position"); got != "0:12,1:44" {
			t.Errorf("%s: position %q", path, got)
		}
		if a.header.Get("Receiptd-Node") != "a" || a.header.Get("Receiptd-Log") != fmt.Sprintf("%016x", uint64(testIdentity)) {
			t.Errorf("%s: %v", path, a.header)
		}
	}
	// What was appended is in the log before it is folded.
	p.set(0, 3)
	a := h.do(request{method: "POST", path: base + "/events", body: `{"type":"message.read","message":"m","user":"u","group":"g"}`})
	if got := a.header.Get("Receiptd-Position"); a.status != http.StatusOK || got == "1:3" || got == "" {
		t.Errorf("%d %s: position %q", a.status, a.body, got)
	}
	alone := newHarness(t)
	if got := alone.do(request{method: "GET", path: base}); got.header.Get("Receiptd-Position")+got.header.Get("Receiptd-Node")+got.header.Get("Receiptd-Log") != "" {
		t.Errorf("a server that is alone: %v", got.header)
	}
}

// An answer waits until the state has what the request names, whether the app is known then, and
// not for ever.
func TestAtLeast(t *testing.T) {
	h, p, _ := newNode(t)
	delete(h.state.settings, testApp)
	time.AfterFunc(50*time.Millisecond, func() {
		h.state.mu.Lock()
		h.state.settings[testApp] = events.DefaultSettings()
		h.state.mu.Unlock()
		p.set(13, 44)
	})
	if a := h.do(request{method: "GET", path: base + "?at_least=0:13,1:44"}); a.status != http.StatusOK || a.header.Get("Receiptd-Position") != "0:13,1:44" {
		t.Errorf("%d %s, position %s", a.status, a.body, a.header.Get("Receiptd-Position"))
	}
	for _, r := range []request{
		{path: base + "?at_least=0:14"}, {path: base, header: map[string]string{"Receiptd-Position": "1:45"}},
		// Of more partitions than this node knows of yet.
		{path: base, header: map[string]string{"Receiptd-Position": "2:1"}},
	} {
		r.method = "GET"
		if a := h.do(r); a.status != http.StatusServiceUnavailable || a.field(t, "error", "code") != "behind" || a.header.Get("Retry-After") == "" {
			t.Errorf("%v: %d %s", r, a.status, a.body)
		}
	}
	own := fmt.Sprintf("%016x", uint64(testIdentity))
	for _, test := range []struct{ text, code string }{
		{"0:13@" + own, ""}, {"0:1,0:2,1:0", ""}, {"0:1, 1:2", ""},
		{"0:13@0123456789abcdef", "foreign_cursor"}, {"@0123456789abcdef", "foreign_cursor"},
		{"0:1@xyz", "invalid_request"}, {"0", "invalid_request"}, {"0:", "invalid_request"}, {":1", "invalid_request"}, {"4:1", "invalid_request"},
		{"0:-1", "invalid_request"}, {"0:1,", "invalid_request"}, {"0:18446744073709551616", "invalid_request"}, {"x", "invalid_request"},
	} {
		a := h.do(request{method: "GET", path: base, header: map[string]string{"Receiptd-Position": test.text}})
		if ok := a.status == http.StatusOK; ok != (test.code == "") || !ok && (a.status != http.StatusBadRequest || a.field(t, "error", "code") != test.code) {
			t.Errorf("%q: %d %s, want %s", test.text, a.status, a.body, test.code)
		}
	}
	a := h.do(request{method: "GET", path: base, header: map[string]string{"Receiptd-Position": "0:1", "Receiptd-Log": "0123456789abcdef"}})
	if a.status != http.StatusBadRequest || a.field(t, "error", "code") != "foreign_cursor" {
		t.Errorf("the header of another log: %d %s", a.status, a.body)
	}
}

func TestStrong(t *testing.T) {
	h, p, _ := newNode(t)
	asked := 0
	p.strong = func(context.Context) error { asked++; return nil }
	if a := h.do(request{method: "GET", path: base + "?consistency=strong"}); a.status != http.StatusOK || asked != 1 {
		t.Errorf("%d %s, asked %d times", a.status, a.body, asked)
	}
	p.strong = func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
	if a := h.do(request{method: "GET", path: base + "?consistency=strong"}); a.status != http.StatusServiceUnavailable || a.field(t, "error", "code") != "not_fresh" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := h.do(request{method: "GET", path: base + "?consistency=eventual", wrong: true}); a.status != http.StatusBadRequest {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestClusterIsForTheAdmin(t *testing.T) {
	h, _, k := newNode(t)
	if a := h.do(request{method: "GET", path: "/v1/cluster"}); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := h.do(request{method: "GET", path: "/v1/cluster", token: h.token("ann")}); a.status != http.StatusForbidden {
		t.Errorf("a user: %d %s", a.status, a.body)
	}
	for node, want := range map[string]int{"a": http.StatusConflict, "b": http.StatusNoContent, "c": http.StatusNotFound} {
		if a := h.do(request{method: "DELETE", path: "/v1/cluster/nodes/" + node}); a.status != want {
			t.Errorf("forget %s: %d %s, want %d", node, a.status, a.body, want)
		}
	}
	if k.forgotten != "b" {
		t.Errorf("forgotten: %q", k.forgotten)
	}
	if a := newHarness(t).do(request{method: "GET", path: "/v1/cluster"}); a.status != http.StatusNotFound || a.field(t, "error", "code") != "no_cluster" {
		t.Errorf("a server that is alone: %d %s", a.status, a.body)
	}
}
