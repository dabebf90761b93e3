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
	nodes []*machine
	// copies is how many of the nodes fold each partition.
	copies int
	http   http.Client
	// stream has no timeout.
	stream http.Client

	calls, refused, checked, repeated, streams, pushes atomic.Int64

	takeoverMu sync.Mutex
	takeovers  map[string]map[string][]time.Duration // by what was taken over from, and by what for
}

func newClient(t testing.TB, nodes []*machine) *client {
	return &client{t: t, nodes: nodes, copies: len(nodes), http: http.Client{Timeout: callTimeout}, takeovers: map[string]map[string][]time.Duration{}}
}

// prepare waits for the nodes, and makes the app and its groups.
func (c *client) prepare() {
	c.t.Helper()
	c.well()
	c.must(c.nodes[0], "PUT", app, "", map[string]any{"group_receipts": map[string]any{"enabled": true}})
	for g := range groups {
		var all []string
		for u := range members - 1 {
			all = append(all, fmt.Sprintf("g%d-u%d", g, u+1))
		}
		c.must(c.nodes[g%3], "POST", app+"/events?wait=applied", "", map[string]any{"type": "group.created", "group": fmt.Sprint("g", g), "owner": fmt.Sprintf("g%d-u0", g), "members": all})
	}
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func (c *client) call(n *machine, method, path, position string, body any) (a answer, err error) {
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
func (c *client) must(n *machine, method, path, position string, body any) answer {
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

type counts struct {
	Eligible int `json:"eligible"`
	Read     int `json:"read"`
}

// append posts an event until it is acknowledged, wherever that is possible, and returns the
// position, or what became of it if that is asked for, and after how many tries; 0 if it was not
// acknowledged. It has an id, so that it counts once however often it is sent.
func (c *client) append(r *rand.Rand, stop *atomic.Bool, event map[string]any, outcome bool) (a answer, tries int) {
	path := app + "/events"
	if outcome {
		path += "?wait=applied"
	}
	for tries = 1; !stop.Load(); tries++ {
		a, err := c.call(pick(r, c.nodes), "POST", path, "", event)
		if err == nil && a.status == http.StatusOK {
			return a, tries
		}
		c.refused.Add(1)
		if err == nil && a.status < 500 {
			c.t.Errorf("append %v: %d %s", event, a.status, a.body)
			return a, 0
		}
		time.Sleep(20 * time.Millisecond)
	}
	return answer{}, 0
}

// decided checks what became of an event, whichever node says so.
func (c *client) decided(event map[string]any, a answer, may ...string) {
	var got struct {
		Outcomes []struct{ Outcome string }
	}
	if err := json.Unmarshal(a.body, &got); err != nil || len(got.Outcomes) != 1 || !slices.Contains(may, got.Outcomes[0].Outcome) {
		c.t.Errorf("%v is to be %v, by %s at %s: %s", event, may, a.header.Get("Receiptd-Node"), a.header.Get("Receiptd-Position"), a.body)
	}
}

// write sends messages and has them read, and reads what it wrote at another node.
func (c *client) write(id int, r *rand.Rand, h *history, stop *atomic.Bool) {
	for i := 0; !stop.Load(); i++ {
		group := fmt.Sprintf("g%d", r.IntN(groups))
		message := fmt.Sprintf("m-%d-%d", id, i)
		_, tries := c.append(r, stop, map[string]any{"type": "message.sent", "id": message, "from": group + "-u0", "group": group, "receipt": true, "event_id": message}, false)
		if tries == 0 {
			return
		}
		h.message(message, group)
		for n, u := range r.Perm(members - 1)[:1+r.IntN(members-1)] {
			user := fmt.Sprintf("%s-u%d", group, u+1)
			event := map[string]any{"type": "message.read", "message": message, "user": user, "group": group, "event_id": message + user}
			done := h.try(id, message, user, u+1)
			outcome := r.IntN(4) == 0
			a, tries := c.append(r, stop, event, outcome)
			done(tries > 0)
			if tries == 0 {
				return
			}
			if outcome {
				c.known(r, event, a, tries)
				c.refusedTo(r, stop, map[string]any{"type": "message.read", "message": message, "user": "nobody", "group": group, "event_id": message + "nobody" + user})
			}
			c.check(pick(r, c.nodes), message, "at_least="+a.header.Get("Receiptd-Position"), n+1)
		}
	}
}

// known checks what became of an event: one that was new was applied, and after a try that was not
// answered it may be a duplicate. Once more it is sent to any node, which must know it.
func (c *client) known(r *rand.Rand, event map[string]any, a answer, tries int) {
	may := []string{"applied", "duplicate"}
	first := may
	if tries == 1 {
		first = may[:1]
	}
	c.decided(event, a, first...)
	a, err := c.call(pick(r, c.nodes), "POST", app+"/events?wait=applied", "", event)
	if err != nil || a.status >= 500 {
		c.refused.Add(1)
		return
	}
	c.decided(event, a, may...)
	c.repeated.Add(1)
}

// refusedTo sends an event that the rules do not allow: no node says anything else of it.
func (c *client) refusedTo(r *rand.Rand, stop *atomic.Bool, event map[string]any) {
	if a, tries := c.append(r, stop, event, true); tries > 0 {
		c.decided(event, a, "rejected")
	}
}

// check reads a message, and holds that at least so many have read it.
func (c *client) check(n *machine, message, how string, least int) (read int, position string, ok bool) {
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
			began := h.now()
			if read, _, ok := c.check(pick(r, c.nodes), message, "consistency=strong", least); ok {
				h.counted(10, message, began, read)
			}
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
			n := pick(r, c.nodes)
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

// well returns when all nodes are ready.
func (c *client) well() {
	c.t.Helper()
	for _, n := range c.nodes {
		c.must(n, "GET", "/readyz", "", nil)
	}
}

// settled checks what is left when everything works again: the counts at every node, the copies,
// and a replay at each. Only machines whose files were damaged may have had to fold again. It
// returns what is in the log of each partition for certain.
func (c *client) settled(h *history, spoilt map[*machine]bool) (least map[int]uint64) {
	c.t.Helper()
	c.well()
	if c.copies < len(c.nodes) {
		c.placed(c.copies)
	}
	messages := slices.Sorted(maps.Keys(h.acked))
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
				if least, most := h.bounds(m); got.Counts[m].Read < least || got.Counts[m].Read > most {
					c.t.Errorf("%s: %s was read by %d, acknowledged were %d of %d", n.name, m, got.Counts[m].Read, least, most)
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
			if strings.Contains(line, `msg="request failed"`) {
				continue // there was nobody who could answer, and the client knows
			}
			if strings.Contains(line, "differs from the others") || strings.Contains(line, "folded again") && !spoilt[n] || strings.Contains(line, "DATA RACE") {
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
	return least
}

func (c *client) view() view {
	c.t.Helper()
	return c.viewOf(c.nodes[0])
}

// viewOf is what a node says of all.
func (c *client) viewOf(n *machine) (v view) {
	c.t.Helper()
	if err := json.Unmarshal(c.must(n, "GET", "/v1/cluster", "", nil).body, &v); err != nil {
		c.t.Fatal(err)
	}
	return v
}

// verified has a node replay its log, or what its query says, which has to give its state.
func (c *client) verified(n *machine, query string) map[int]state {
	c.t.Helper()
	body := c.must(n, "POST", "/v1/admin/verify"+query, "", nil).body
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

// replayed reports whether all copies are the same, and what a replay gives at each node that has
// one. What was in doubt at the end may still come into the log meanwhile.
func (c *client) replayed(least map[int]uint64) bool {
	c.t.Helper()
	copies, err := c.view().same(c.copies, least)
	if err != nil {
		c.t.Fatal(err)
	}
	if copies == nil {
		return false
	}
	times := map[int]int{}
	for _, n := range c.nodes {
		replay := c.verified(n, "")
		switch done, err := against(copies, replay); {
		case err != nil:
			c.t.Fatalf("%s: %v", n.name, err)
		case !done:
			return false
		}
		for k := range replay {
			times[k]++
		}
	}
	for k := range copies {
		if times[k] != c.copies {
			return false
		}
	}
	return true
}
