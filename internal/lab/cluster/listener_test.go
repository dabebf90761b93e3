package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// listener is an author who follows their stream, from node to node as connections break, and
// acknowledges by coming back.
type listener struct {
	c    *client
	user string

	mu     sync.Mutex
	last   string         // the last event's id
	counts map[string]int // readers of each message, as the author was told
	// at is the node that the connection is to; moving is set when a fault has befallen it, until
	// there is news, from elsewhere as a rule.
	at     *machine
	moving func()
}

// mustMove measures how long it takes until a listener of a machine has news again.
func (e *listener) mustMove(m *machine, what string, began time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.at == m && e.moving == nil {
		e.moving = func() { e.c.took(what, "push", time.Since(began)) }
	}
}

// silence is after what time without a word a listener goes to another node.
const silence = 2 * time.Second

func (e *listener) listen(r *rand.Rand, stop *atomic.Bool) {
	for !stop.Load() {
		e.follow(pick(r, e.c.nodes), stop)
		time.Sleep(50 * time.Millisecond)
	}
}

// follow is one connection: what it pushes it pushes once.
func (e *listener) follow(n *machine, stop *atomic.Bool) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	quiet := time.AfterFunc(silence, cancel)
	rq, err := http.NewRequestWithContext(ctx, "GET", n.url+app+"/users/"+e.user+"/stream", nil)
	if err != nil {
		e.c.t.Error(err)
		return
	}
	rq.Header.Set("Authorization", "Bearer "+adminKey)
	e.mu.Lock()
	if e.last != "" {
		rq.Header.Set("Last-Event-ID", e.last)
	}
	e.mu.Unlock()
	got, err := e.c.stream.Do(rq)
	if err != nil {
		return
	}
	defer got.Body.Close()
	if got.StatusCode != http.StatusOK {
		return
	}
	e.c.streams.Add(1)
	e.mu.Lock()
	e.at = n
	e.mu.Unlock()
	pushed := map[string]int{} // on this connection
	var name, id string
	for lines := bufio.NewScanner(got.Body); lines.Scan() && !stop.Load(); {
		quiet.Reset(silence)
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			name, id = value, ""
		case "id":
			id = value
		case "data":
			e.take(n, name, value, pushed)
		case "":
			if id != "" {
				e.mu.Lock()
				e.last = id
				e.mu.Unlock()
			}
		}
	}
}

// take takes an event of the stream.
func (e *listener) take(n *machine, name, data string, pushed map[string]int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.moving != nil {
		e.moving()
		e.moving = nil
	}
	switch name {
	case "resync":
		clear(pushed)
	case "read":
		var x struct {
			Message string
			Count   int
		}
		if err := json.Unmarshal([]byte(data), &x); err != nil {
			e.c.t.Errorf("%s: %v", data, err)
		}
		e.c.pushes.Add(1)
		if x.Count <= pushed[x.Message] {
			e.c.t.Errorf("%s pushed %s with %d readers after %d on one connection", n.name, x.Message, x.Count, pushed[x.Message])
		}
		pushed[x.Message] = x.Count
		e.counts[x.Message] = max(e.counts[x.Message], x.Count)
	case "statistic":
		var x struct {
			GroupAck []struct {
				Mid   string
				Count int
			} `json:"group_ack"`
		}
		if err := json.Unmarshal([]byte(data), &x); err != nil {
			e.c.t.Errorf("%s: %v", data, err)
		}
		for _, item := range x.GroupAck {
			pushed[item.Mid] = max(pushed[item.Mid], item.Count)
			e.counts[item.Mid] = max(e.counts[item.Mid], item.Count)
		}
	}
}

// complete waits until the author was told of every reader that was acknowledged, of every message.
func (e *listener) complete(h *history) {
	group, _, _ := strings.Cut(e.user, "-")
	var missing []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		missing = missing[:0]
		e.mu.Lock()
		told := maps.Clone(e.counts)
		e.mu.Unlock()
		for _, m := range h.of(group) {
			if least, most := h.bounds(m); told[m] < least || told[m] > most {
				missing = append(missing, m)
			}
		}
		if len(missing) == 0 {
			return
		}
	}
	slices.Sort(missing)
	e.c.t.Errorf("%s was not told rightly of %d messages: %v", e.user, len(missing), missing[:min(len(missing), 10)])
}
