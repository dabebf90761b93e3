package cluster

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	duration = flag.Duration("for", 8*time.Second, "how long the nemesis is at work")
	seed     = flag.Uint64("seed", 0, "of the nemesis and the clients; 0 = by the clock")
)

// Whatever dies and stands still: an acknowledged event counts once everywhere, reads are as new as
// they have to be, and all copies are the same.
func TestNodesOnOutsideBrokers(t *testing.T) {
	t.Parallel() // most of it is waiting for what has died
	dir := t.TempDir()
	brokers, urls := startBrokers(t, dir, 3)
	nodes := startNodes(t, dir, func(int) []string { return []string{"--nats", urls, "--replicas", "3"} })
	stress(t, nodes, brokers)
}

// The same for nodes that form the cluster by themselves: with a node its broker dies.
func TestNodesByThemselves(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	meet := addresses(t, 3)
	nodes := startNodes(t, dir, func(i int) []string {
		return []string{"--cluster-listen", meet[i], "--cluster-routes", strings.Join(meet, ","), "--cluster-secret", "the-secret-of-the-lab"}
	})
	stress(t, nodes, nil)
}

func stress(t *testing.T, nodes []*node, brokers []*process) {
	t.Logf("seed %d", *seed)
	c := &client{t: t, nodes: nodes, http: http.Client{Timeout: callTimeout}}
	for _, n := range nodes {
		c.must(n, "GET", "/readyz", "", nil)
	}
	c.must(nodes[0], "PUT", app, "", map[string]any{"group_receipts": map[string]any{"enabled": true}})
	for g := range groups {
		var all []string
		for u := range members - 1 {
			all = append(all, fmt.Sprintf("g%d-u%d", g, u+1))
		}
		c.must(nodes[g%3], "POST", app+"/events?wait=applied", "", map[string]any{"type": "group.created", "group": fmt.Sprint("g", g), "owner": fmt.Sprintf("g%d-u0", g), "members": all})
	}
	h := &history{acked: map[string]map[string]bool{}}
	var stop atomic.Bool
	var clients sync.WaitGroup
	part := func(k int, f func(*rand.Rand)) {
		clients.Go(func() { f(rand.New(rand.NewPCG(*seed, uint64(k)))) })
	}
	for k := range 4 {
		part(k, func(r *rand.Rand) { c.write(k, r, h, &stop) })
	}
	part(10, func(r *rand.Rand) { c.strong(r, h, &stop) })
	part(11, func(r *rand.Rand) { c.session(r, h, &stop) })
	part(12, func(r *rand.Rand) { c.session(r, h, &stop) })
	nemesis(t, rand.New(rand.NewPCG(*seed, 99)), nodes, brokers)
	stop.Store(true)
	clients.Wait()
	c.settled(h)
	t.Logf("%d messages, %d calls, %d refused or unanswered, %d reads checked", len(h.acked), c.calls.Load(), c.refused.Load(), c.checked.Load())
	if len(h.acked) < 10 || c.checked.Load() < 50 {
		t.Error("hardly anything was done")
	}
}

// nemesis kills and pauses one process after the other: of the brokers, and of the nodes, never a
// second one before the first is back.
func nemesis(t *testing.T, r *rand.Rand, nodes []*node, brokers []*process) {
	victims := append([]*process{}, brokers...)
	for _, n := range nodes {
		victims = append(victims, n.process)
	}
	for end, turn := time.Now().Add(*duration), 0; time.Now().Before(end); turn++ {
		time.Sleep(time.Duration(500+r.IntN(1500)) * time.Millisecond)
		v := victims[r.IntN(len(victims))]
		if turn%2 == 0 {
			t.Logf("kill %s", v.name)
			v.kill()
			time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond)
			v.start()
		} else {
			d := time.Duration(300+r.IntN(3000)) * time.Millisecond
			t.Logf("pause %s for %v", v.name, d)
			v.pause(d)
		}
	}
}
