package nodes

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/bench/measure"
	"github.com/receiptd/receiptd/internal/lab/loopback"
)

// cluster is the nodes of a layout. Its requests go to one after the other.
type cluster struct {
	nodes []*child.Receiptd
	dirs  []string
	next  atomic.Uint64
}

func newCluster(o *Options, l Layout, dir string) (*cluster, error) {
	meet, err := loopback.Free(l.Nodes)
	if err != nil {
		return nil, err
	}
	secret := rand.Text()
	c := new(cluster)
	for i := range l.Nodes {
		own := filepath.Join(dir, fmt.Sprint(i))
		if err := os.MkdirAll(own, 0o700); err != nil {
			return nil, err
		}
		node := child.Node{Partitions: partitions}
		if l.Nodes > 1 {
			node = child.Node{
				Name: string(rune('a' + i)), Listen: meet[i], Routes: strings.Join(meet, ","), Secret: secret,
				Copies: l.Copies, Partitions: partitions,
			}
		}
		if o.Profiles != "" {
			node.Profile = filepath.Join(o.Profiles, fmt.Sprintf("%d-nodes-%d-copies-node-%d.pprof", l.Nodes, cmp.Or(l.Copies, l.Nodes), i))
		}
		c.nodes = append(c.nodes, child.NewReceiptd(o.Self, child.NDJSON).AsNode(node))
		c.dirs = append(c.dirs, own)
	}
	return c, nil
}

// start starts all nodes at the same time: none is ready before most are there.
func (c *cluster) start(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for i, n := range c.nodes {
		group.Go(func() error { return n.Start(ctx, c.dirs[i]) })
	}
	return group.Wait()
}

func (c *cluster) stop() error {
	var group errgroup.Group
	for _, n := range c.nodes {
		group.Go(n.Stop)
	}
	return group.Wait()
}

// lastWords are what the nodes said last.
func (c *cluster) lastWords() string {
	var all []string
	for i, n := range c.nodes {
		all = append(all, fmt.Sprintf("node %d: %s", i, n.LastWords()))
	}
	return strings.Join(all, "\n")
}

// cpu is the processor time of all nodes, in seconds.
func (c *cluster) cpu() (sum float64, err error) {
	for _, n := range c.nodes {
		used, e := n.CPU()
		sum, err = sum+used, errors.Join(err, e)
	}
	return sum, err
}

// entries are how many entries all nodes have appended, and the events in them.
func (c *cluster) entries(ctx context.Context) (entries, events float64, err error) {
	for _, n := range c.nodes {
		m, err := n.Metrics(ctx)
		if err != nil {
			return 0, 0, err
		}
		entries += m["receiptd_log_entries_total"]
		events += m["receiptd_log_events_total"]
	}
	return entries, events, nil
}

// rest waits until each node is at rest.
func (c *cluster) rest(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, n := range c.nodes {
		group.Go(func() error { return measure.Rest(ctx, n.CPU) })
	}
	return group.Wait()
}

// toggleProfiles begins the profiles of the nodes, or ends them.
func (c *cluster) toggleProfiles() (err error) {
	for _, n := range c.nodes {
		err = errors.Join(err, n.ToggleProfile())
	}
	return err
}

func (c *cluster) nextNode() *child.Receiptd {
	return c.nodes[c.next.Add(1)%uint64(len(c.nodes))]
}

// Load implements [load.System].
func (c *cluster) Load(ctx context.Context, evs []events.Event) error {
	return c.nextNode().Load(ctx, evs)
}

// Counts implements [load.System].
func (c *cluster) Counts(ctx context.Context, app string, messages []string) (map[string]int, error) {
	return c.nextNode().Counts(ctx, app, messages)
}
