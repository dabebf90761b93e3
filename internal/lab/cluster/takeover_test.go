package cluster

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// hedge is after what time without an answer a client asks another node as well.
const hedge = 100 * time.Millisecond

// takeover measures how long a client of a machine waits when a fault befalls that one, with what a
// client can do: ask the next node on an error, and another one as well when there is no answer. Of
// a NATS server the clients are all nodes.
func (c *client) takeover(l *lab, h *history, ears []*listener, kind string, m *machine) {
	began := time.Now()
	order := slices.Clone(l.nodes)
	who := "node"
	if i := slices.Index(order, m); i > 0 {
		order[0], order[i] = order[i], order[0]
	} else if i < 0 {
		who = "server"
	}
	what := kind + " of a " + who
	h.mu.Lock()
	sent := slices.Clone(h.sent[:min(len(h.sent), 1)])
	h.mu.Unlock()
	if len(sent) == 0 {
		return
	}
	for _, e := range ears {
		e.mustMove(m, what, began)
	}
	if d, ok := c.first(order, began, "GET", app+"/messages/"+sent[0], nil); ok {
		c.took(what, "read", d)
	}
	event := map[string]any{"type": "message.sent", "id": fmt.Sprintf("probe-%d", began.UnixNano()), "from": "g0-u0", "group": "g0"}
	if d, ok := c.first(order, began, "POST", app+"/events", event); ok {
		c.took(what, "write", d)
	}
}

// first is how long after it began one of the nodes answers well: each is asked when the one before
// has failed, or has not answered for a moment, and after the last one it begins again.
func (c *client) first(order []*machine, began time.Time, method, path string, body any) (time.Duration, bool) {
	const tries = 600
	good := make(chan struct{}, tries)
	for i := range tries {
		failed := make(chan struct{})
		go func() {
			if a, err := c.call(order[i%len(order)], method, path, "", body); err == nil && a.status == http.StatusOK {
				good <- struct{}{}
			} else {
				close(failed)
			}
		}()
		next := time.After(hedge)
		select {
		case <-good:
			return time.Since(began), true
		case <-next:
		case <-failed:
			if i%len(order) == len(order)-1 {
				<-next // all have failed: no reason to ask without end
			}
		}
	}
	return 0, false
}

// took notes how long clients waited for something after a fault.
func (c *client) took(fault, what string, d time.Duration) {
	c.takeoverMu.Lock()
	defer c.takeoverMu.Unlock()
	if c.takeovers[fault] == nil {
		c.takeovers[fault] = map[string][]time.Duration{}
	}
	c.takeovers[fault][what] = append(c.takeovers[fault][what], d)
}

// tellTakeovers prints a table of how long clients waited: for each fault and each thing that they
// waited for, how often, the median and the 99th percentile, in seconds.
func (c *client) tellTakeovers() {
	c.takeoverMu.Lock()
	defer c.takeoverMu.Unlock()
	whats := []string{"read", "push", "write", "ClickHouse"}
	var text strings.Builder
	fmt.Fprintf(&text, "how long clients waited, in seconds: p50 / p99 (times)\n| after a | %s |\n|%s\n",
		strings.Join(whats, " | "), strings.Repeat(" --- |", len(whats)+1))
	for _, fault := range slices.Sorted(maps.Keys(c.takeovers)) {
		fmt.Fprintf(&text, "| %s |", fault)
		for _, what := range whats {
			text.WriteString(" " + spread(c.takeovers[fault][what]) + " |")
		}
		text.WriteString("\n")
	}
	c.t.Log(text.String())
}

// spread is a cell of the table.
func spread(all []time.Duration) string {
	if len(all) == 0 {
		return "-"
	}
	slices.Sort(all)
	at := func(q float64) float64 { return all[min(int(q*float64(len(all))), len(all)-1)].Seconds() }
	return fmt.Sprintf("%.2f / %.2f (%d)", at(.5), at(.99), len(all))
}
