package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	app     = "/v1/apps/lab/chat"
	groups  = 4
	members = 8
	// patience bounds what takes a moment on an idle machine.
	patience = 3 * time.Minute
	// callTimeout is how long a client waits for one answer.
	callTimeout = 10 * time.Second
)

// client calls the nodes.
type client struct {
	t     testing.TB
	nodes []*node
	http  http.Client

	calls, refused, checked atomic.Int64
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func (c *client) call(n *node, method, path, position string, body any) (a answer, err error) {
	c.calls.Add(1)
	text, err := json.Marshal(body)
	if err != nil {
		return a, err
	}
	rq, err := http.NewRequest(method, n.url+path, bytes.NewReader(text))
	if err != nil {
		return a, err
	}
	rq.Header.Set("Authorization", "Bearer "+adminKey)
	rq.Header.Set("Content-Type", "application/json")
	if position != "" {
		rq.Header.Set("Receiptd-Position", position)
	}
	got, err := c.http.Do(rq)
	if err != nil {
		return a, err
	}
	defer got.Body.Close()
	b, err := io.ReadAll(got.Body)
	return answer{got.StatusCode, got.Header, b}, err
}

// must calls a node until it answers well.
func (c *client) must(n *node, method, path, position string, body any) answer {
	c.t.Helper()
	var a answer
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if a, err = c.call(n, method, path, position, body); err == nil && a.status/100 == 2 {
			return a
		}
	}
	c.t.Fatalf("%s %s at %s: %d %s, %v", method, path, n.name, a.status, a.body, err)
	return a
}

// history is what was acknowledged: for each message, who has read it.
type history struct {
	mu    sync.Mutex
	acked map[string]map[string]bool
	// sent are messages whose sending was acknowledged.
	sent []string
}

func (h *history) read(message, user string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acked[message][user] = true
}

func (h *history) begin(message string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acked[message], h.sent = map[string]bool{}, append(h.sent, message)
}

// any is a message, with how many of its readers were acknowledged by now.
func (h *history) any(r *rand.Rand) (message string, read int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.sent) == 0 {
		return "", 0
	}
	// Recent ones are what may still be behind somewhere.
	recent := h.sent[max(0, len(h.sent)-20):]
	message = recent[r.IntN(len(recent))]
	return message, len(h.acked[message])
}

type counts struct {
	Eligible int `json:"eligible"`
	Read     int `json:"read"`
}

// append posts an event until it is acknowledged, wherever that is possible, and returns the
// position. To send it again changes nothing, since it counts once.
func (c *client) append(r *rand.Rand, stop *atomic.Bool, event map[string]any) (position string, acked bool) {
	for !stop.Load() {
		a, err := c.call(c.nodes[r.IntN(len(c.nodes))], "POST", app+"/events", "", event)
		if err == nil && a.status == http.StatusOK {
			return a.header.Get("Receiptd-Position"), true
		}
		c.refused.Add(1)
		if err == nil && a.status < 500 {
			c.t.Errorf("append %v: %d %s", event, a.status, a.body)
			return "", false
		}
		time.Sleep(20 * time.Millisecond)
	}
	return "", false
}

// write sends messages and has them read, and reads what it wrote at another node.
func (c *client) write(id int, r *rand.Rand, h *history, stop *atomic.Bool) {
	for i := 0; !stop.Load(); i++ {
		group := fmt.Sprintf("g%d", r.IntN(groups))
		message := fmt.Sprintf("m-%d-%d", id, i)
		_, acked := c.append(r, stop, map[string]any{"type": "message.sent", "id": message, "from": group + "-u0", "group": group, "receipt": true})
		if !acked {
			return
		}
		h.begin(message)
		for n, u := range r.Perm(members - 1)[:1+r.IntN(members-1)] {
			user := fmt.Sprintf("%s-u%d", group, u+1)
			position, acked := c.append(r, stop, map[string]any{"type": "message.read", "message": message, "user": user, "group": group})
			if !acked {
				return
			}
			h.read(message, user)
			c.check(c.nodes[r.IntN(len(c.nodes))], message, "at_least="+position, n+1)
		}
	}
}

// check reads a message, and holds that at least so many have read it.
func (c *client) check(n *node, message, how string, least int) (read int, position string, ok bool) {
	a, err := c.call(n, "GET", app+"/messages/"+message+"?"+how, "", nil)
	if err != nil || a.status == http.StatusServiceUnavailable {
		c.refused.Add(1)
		return 0, "", false
	}
	var got counts
	if a.status != http.StatusOK || json.Unmarshal(a.body, &got) != nil || got.Read < least || got.Eligible != members-1 {
		c.t.Errorf("%s at %s, %s: %d %s, and %d reads were acknowledged before", message, n.name, how, a.status, a.body, least)
		return 0, "", false
	}
	c.checked.Add(1)
	return got.Read, a.header.Get("Receiptd-Position"), true
}

// strong reads what others wrote.
func (c *client) strong(r *rand.Rand, h *history, stop *atomic.Bool) {
	for !stop.Load() {
		if message, least := h.any(r); message != "" {
			c.check(c.nodes[r.IntN(len(c.nodes))], message, "consistency=strong", least)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// session follows one message at a time from node to node, and passes its position on: what it sees
// does not go back.
func (c *client) session(r *rand.Rand, h *history, stop *atomic.Bool) {
	for !stop.Load() {
		message, _ := h.any(r)
		seen, position := 0, ""
		for range 10 {
			if message == "" || stop.Load() {
				break
			}
			n := c.nodes[r.IntN(len(c.nodes))]
			a, err := c.call(n, "GET", app+"/messages/"+message, position, nil)
			var got counts
			if err == nil && a.status == http.StatusOK && json.Unmarshal(a.body, &got) == nil {
				if got.Read < seen {
					c.t.Errorf("%s at %s: %d have read it, it were %d at %s", message, n.name, got.Read, seen, position)
				}
				seen, position = got.Read, a.header.Get("Receiptd-Position")
				c.checked.Add(1)
			} else if err == nil && a.status == http.StatusNotFound && position != "" {
				c.t.Errorf("%s at %s: unknown, and it was read at %s", message, n.name, position)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// settled checks what is left when everything works again: the counts at every node, the copies,
// and a replay at each.
func (c *client) settled(h *history) {
	c.t.Helper()
	for _, n := range c.nodes {
		c.must(n, "GET", "/readyz", "", nil)
	}
	messages := slices.Sorted(maps.Keys(h.acked))
	var least map[int]uint64 // what is in the log for certain
	for _, n := range c.nodes {
		at, err := position(c.must(n, "GET", app+"?consistency=strong", "", nil).header.Get("Receiptd-Position"))
		if err != nil {
			c.t.Fatal(err)
		}
		least = at
		for part := range slices.Chunk(messages, 1000) {
			var got struct {
				Counts map[string]counts `json:"counts"`
			}
			if err := json.Unmarshal(c.must(n, "POST", app+"/messages:counts", "", map[string]any{"ids": part}).body, &got); err != nil {
				c.t.Fatal(err)
			}
			for _, m := range part {
				// A read that was under way at the end may count or not.
				if want := len(h.acked[m]); got.Counts[m].Read < want || got.Counts[m].Read > want+1 {
					c.t.Errorf("%s: %s was read by %d, acknowledged were %d", n.name, m, got.Counts[m].Read, want)
				}
			}
		}
	}
	for end := time.Now().Add(patience); !c.replayed(least); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("the copies did not come to be the same, and what a replay gives: %+v", c.view())
		}
	}
	for _, n := range c.nodes {
		for line := range strings.Lines(n.said()) {
			if strings.Contains(line, "differs from the others") || strings.Contains(line, "folded again") || strings.Contains(line, "DATA RACE") {
				c.t.Errorf("%s: %s", n.name, line)
			}
		}
	}
	var token struct{ Token string }
	if err := json.Unmarshal(c.must(c.nodes[0], "POST", app+"/users/g0-u0/tokens", "", map[string]any{}).body, &token); err != nil {
		c.t.Fatal(err)
	}
	for _, n := range c.nodes {
		rq, _ := http.NewRequest("GET", n.url+app+"/users/g0-u0/conversations", nil)
		rq.Header.Set("Authorization", "Bearer "+token.Token)
		got, err := c.http.Do(rq)
		if err != nil || got.StatusCode != http.StatusOK {
			c.t.Errorf("%s does not take a token of %s: %v %v", n.name, c.nodes[0].name, got, err)
		}
		if err == nil {
			got.Body.Close()
		}
	}
}

func (c *client) view() (v view) {
	c.t.Helper()
	if err := json.Unmarshal(c.must(c.nodes[0], "GET", "/v1/cluster", "", nil).body, &v); err != nil {
		c.t.Fatal(err)
	}
	return v
}

// verified has a node replay its log, which has to give its state.
func (c *client) verified(n *node) map[int]state {
	c.t.Helper()
	body := c.must(n, "POST", "/v1/admin/verify", "", nil).body
	lines := bytes.Split(bytes.TrimSpace(body), []byte("\n"))
	var last struct {
		Result struct {
			Equal      bool
			Partitions []struct {
				Partition int
				Position  uint64
				Replayed  string
			}
		}
	}
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil || !last.Result.Equal {
		c.t.Errorf("%s: %v: %s", n.name, err, body)
	}
	states := map[int]state{}
	for _, p := range last.Result.Partitions {
		states[p.Partition] = state{p.Position, p.Replayed}
	}
	return states
}

// replayed reports whether all copies are the same, and what a replay gives at each node. What was
// in doubt at the end may still come into the log meanwhile.
func (c *client) replayed(least map[int]uint64) bool {
	c.t.Helper()
	copies, err := c.view().same(len(c.nodes), least)
	if err != nil {
		c.t.Fatal(err)
	}
	if copies == nil {
		return false
	}
	for _, n := range c.nodes {
		switch done, err := against(copies, c.verified(n)); {
		case err != nil:
			c.t.Fatalf("%s: %v", n.name, err)
		case !done:
			return false
		}
	}
	return true
}
