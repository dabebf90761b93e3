package cluster

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The partitions of nodes on outside brokers are doubled while clients write, read and listen: in
// calm weather, and then while a node is killed, and one stands still for longer than it is waited
// for. What it was about to store is refused when it goes on.
func TestNodesOnOutsideBrokersAreRepartitioned(t *testing.T) {
	notShort(t)
	dir := t.TempDir()
	n := newNetwork(t, "a", "b", "c", "broker0", "broker1", "broker2")
	_, urls := startBrokers(t, n, dir, n.hosts[3:6])
	nodes := startNodes(t, n, dir, n.hosts[:3], func(int) []string { return []string{"--nats", urls, "--replicas", "3"} })
	repartitioned(t, &lab{t: t, net: n, nodes: nodes}, 20*time.Second)
}

// The same for nodes that form the cluster by themselves, whose brokers end with them.
func TestNodesByThemselvesAreRepartitioned(t *testing.T) {
	notShort(t)
	dir := t.TempDir()
	n := newNetwork(t, "a", "b", "c")
	meet := n.listen(n.hosts[:3], 6222)
	a := startArchive(t, n)
	nodes := startNodes(t, n, dir, n.hosts[:3], func(i int) []string {
		return a.flags(meeting(meet)(i)...)
	})
	repartitioned(t, &lab{t: t, net: n, nodes: nodes, archive: a}, 0)
}

// The same where each partition is folded by two of four nodes: those that are new begin where the
// ones are that they forked from, and move from there.
func TestFewerCopiesAreRepartitioned(t *testing.T) {
	notShort(t)
	dir := t.TempDir()
	n := newNetwork(t, "a", "b", "c", "d", "broker0", "broker1", "broker2")
	_, urls := startBrokers(t, n, dir, n.hosts[4:7])
	nodes := startNodes(t, n, dir, n.hosts[:4], func(int) []string {
		return []string{"--nats", urls, "--replicas", "3", "--copies", "2", "--snapshot-every", "5s"}
	})
	repartitioned(t, &lab{t: t, net: n, nodes: nodes, copies: 2}, 0)
}

// notShort is for tests of minutes that share the processors with nothing else.
func notShort(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes; the short form is TestRepartitionFencesPublishers, of the log alone")
	}
	t.Parallel()
}

// repartitioned doubles the partitions of nodes, which have two, twice: the second time one of them
// stands still for so long, unless that is 0, and is killed.
func repartitioned(t *testing.T, l *lab, still time.Duration) {
	nodes := l.nodes
	c := newClient(t, nodes)
	if l.copies > 0 {
		c.copies = l.copies
	}
	c.prepare()
	tr := startTraffic(c, 2, 1)
	r := rand.New(rand.NewPCG(*seed, 30))
	began := time.Now()
	c.repartition(pick(r, nodes), 4)
	c.well()
	t.Logf("the first repartition took %s", time.Since(began).Round(time.Millisecond))
	c.has(4)

	k := r.IntN(len(nodes))
	victim, other := nodes[k], nodes[(k+1)%len(nodes)]
	c.repartition(other, 8)
	if still > 0 {
		victim.pause(still) // before it has heard of it, as a rule
	} else {
		time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond) // a random moment of it
		victim.kill()
		victim.start()
	}
	c.well()
	c.has(8)
	tr.finish(nil, l.archive)
	t.Logf("%d messages, %d calls, %d refused or unanswered, %d reads checked, %d connections and %d pushes",
		len(tr.history.acked), c.calls.Load(), c.refused.Load(), c.checked.Load(), c.streams.Load(), c.pushes.Load())
	if len(tr.history.acked) < 3 || c.checked.Load() < 20 || c.pushes.Load() == 0 {
		t.Error("hardly anything was done")
	}
}

// repartition has the nodes double their partitions, by one that answers. What was not answered may
// have been done.
func (c *client) repartition(n *machine, to int) {
	c.t.Helper()
	var a answer
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		asked := a.status == 0 && err != nil
		a, err = c.call(n, "POST", fmt.Sprintf("/v1/admin/repartition?to=%d", to), "", nil)
		if err == nil && (a.status == http.StatusAccepted || asked && strings.Contains(string(a.body), fmt.Sprintf("it has %d,", to))) {
			return
		}
	}
	c.t.Fatalf("repartition to %d at %s: %d %s, %v", to, n.name, a.status, a.body, err)
}

// has holds that every node has so many partitions.
func (c *client) has(partitions int) {
	c.t.Helper()
	for _, n := range c.nodes {
		var v struct{ Partitions []json.RawMessage }
		for end := time.Now().Add(patience); len(v.Partitions) != partitions; time.Sleep(100 * time.Millisecond) {
			if time.Now().After(end) {
				c.t.Fatalf("%s has %d partitions, want %d", n.name, len(v.Partitions), partitions)
			}
			if err := json.Unmarshal(c.must(n, "GET", "/v1/status", "", nil).body, &v); err != nil {
				c.t.Fatal(err)
			}
		}
	}
}
