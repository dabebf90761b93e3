package feed

import (
	"fmt"
	"sync"
	"time"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/projections"
)

// client is a connection of alice's at a node, and when it was told of each message.
type client struct {
	n    *node
	sub  *notify.Subscription
	mu   sync.Mutex
	told map[string][]time.Time
}

func (n *node) connect() *client {
	c := &client{n: n, told: map[string][]time.Time{}, sub: n.hub.Subscribe("o#a", "alice")}
	go func() {
		for missed := (map[int]uint64{0: 0}); n.ctx.Err() == nil; {
			if missed != nil {
				c.summary(missed[0])
			}
			push, err := c.sub.Next(n.ctx)
			if err != nil {
				return
			}
			for _, x := range push.Notifications {
				c.hear(x.Message)
			}
			missed = push.Missed
		}
	}()
	return c
}

func (c *client) hear(message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told[message] = append(c.told[message], time.Now())
}

// summary asks for what came after an entry, as a router does: here if this node serves.
func (c *client) summary(after uint64) {
	from, err := c.n.feeds.Cover(c.n.ctx, 0, "o#a", "alice")
	names := []string{c.n.Name(), "b", "c", "a"}
	for ; err == nil && c.n.ctx.Err() == nil; time.Sleep(time.Millisecond) { // the bubble's time
		for _, name := range names {
			x := c.n.nodes[name]
			// An answer is not older than what this node has folded, or has heard of.
			if !x.Runs() || !x.Serves(0, max(from, c.n.Folded()[0])) {
				continue
			}
			var s projections.Summary
			var upto uint64
			if x.Ask(0, func(part *projections.Partition) (err error) {
				s, upto, err = part.SummaryAfter("o#a", "alice", "", after)
				return err
			}) != nil {
				continue
			}
			c.sub.SkipUpto([]uint64{upto})
			for _, item := range s.Items {
				c.hear(item.Message)
			}
			return
		}
	}
}

// check demands that a connection was told of every message once.
func (c *client) check() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	for message := range c.n.reads {
		if n := len(c.told[message]); n != 1 {
			return fmt.Errorf("told %d times of %s, of %d messages", n, message, len(c.n.reads))
		}
	}
	return nil
}

// late is how long after it was read the connection was told of a message; the longest of all.
func (c *client) late() (longest time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	for message, at := range c.n.reads {
		if len(c.told[message]) > 0 {
			longest = max(longest, c.told[message][0].Sub(at))
		}
	}
	return longest
}
