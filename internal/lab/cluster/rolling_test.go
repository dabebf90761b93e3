package cluster

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// levelWait is longer than a cluster of nodes that all know a level needs to raise it.
const levelWait = 5 * time.Second

// laterVersion builds a receiptd that knows a level of the rules more: at that level a group has
// four members at most.
func laterVersion(t *testing.T, dir string) string {
	t.Helper()
	later := filepath.Join(dir, "receiptd-later")
	args := []string{"build", "-buildvcs=false", "-tags", "receiptd_lab", "-o", later}
	if raceDetector() {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "github.com/receiptd/receiptd/cmd/receiptd")...).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return later
}

// Nodes are replaced one after the other by a later version, while clients write and read: all
// decide alike at each moment, the level is raised when the last one knows it and not before, and
// what was decided before stays. A node that goes back to the earlier version is refused.
func TestRollingUpgradeUnderLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	later := laterVersion(t, dir)
	net := newNetwork(t, "a", "b", "c")
	meet := net.listen(net.hosts[:3], 6222)
	nodes := startNodes(t, net, dir, net.hosts[:3], meeting(meet))
	c := newClient(t, nodes)
	c.prepare()
	c.must(nodes[0], "POST", app+"/events?wait=applied", "", map[string]any{
		"type": "group.created", "group": "growing", "owner": "u0", "members": []string{"u1", "u2", "u3"},
	})
	h := newHistory()
	var stop atomic.Bool
	var clients sync.WaitGroup
	part := func(k int, f func(*rand.Rand)) {
		clients.Go(func() { f(rand.New(rand.NewPCG(*seed, uint64(k)))) })
	}
	for k := range 2 {
		part(k, func(r *rand.Rand) { c.write(k, r, h, &stop) })
	}
	part(10, func(r *rand.Rand) { c.strong(r, h, &stop) })
	part(11, func(r *rand.Rand) { c.session(r, h, &stop) })

	joined := 0
	// What was not answered in time is asked again, and is a duplicate then.
	join := func(n *machine, full bool) {
		t.Helper()
		joined++
		user := fmt.Sprint("new", joined)
		a := c.must(n, "POST", app+"/events?wait=applied", "", map[string]any{"type": "group.joined", "group": "growing", "user": user, "event_id": user})
		if strings.Contains(string(a.body), "group is full") != full {
			t.Errorf("%s: %s joins: %s; is it full? %v", n.name, user, a.body, full)
		}
	}
	for i, n := range nodes {
		// All but the last one know the level already, and go on for longer than raising it takes.
		if i > 0 {
			time.Sleep(levelWait) // time for the level to be raised too early
		}
		for _, n := range nodes {
			if level := c.level(n); level != 1 {
				t.Fatalf("level %d at %s, where %d of three nodes know it", level, n.name, i)
			}
			join(n, false)
		}
		n.stop()
		n.version = later
		n.start()
		c.must(n, "GET", "/readyz", "", nil)
	}
	for _, n := range nodes {
		for end := time.Now().Add(patience); c.level(n) != 3; time.Sleep(100 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: level %d, and all nodes know the next one", n.name, c.level(n))
			}
		}
		join(n, true)
	}
	stop.Store(true)
	clients.Wait()
	c.settled(h, nil)
	h.linearizable(t)
	if len(h.acked) < 10 || c.checked.Load() < 50 {
		t.Errorf("hardly anything was done: %d messages, %d reads", len(h.acked), c.checked.Load())
	}

	// With its own state, and with that of the log only.
	back := nodes[2]
	for _, state := range []string{"", filepath.Join(back.data, "state")} {
		back.stop()
		if state != "" {
			if err := os.RemoveAll(state); err != nil {
				t.Fatal(err)
			}
		}
		back.version = ""
		before := len(back.said())
		back.start()
		select {
		case <-back.exited:
		case <-time.After(patience):
			t.Fatalf("a version that does not know the level goes on: %s", back.said()[before:])
		}
		if said := back.said()[before:]; !strings.Contains(said, "a level of the rules that this version does not know") {
			t.Errorf("a version that does not know the level says %s", said)
		}
		join(nodes[0], true)
		back.version = later
		back.start()
		c.well()
	}
	join(back, true)
	c.settled(h, nil)
	t.Logf("%d messages, %d calls, %d refused or unanswered, %d reads checked", len(h.acked), c.calls.Load(), c.refused.Load(), c.checked.Load())
}

// level is that of the rules in force, as a node says.
func (c *client) level(n *machine) int {
	c.t.Helper()
	var v struct {
		Level int `json:"rules_level"`
	}
	if err := json.Unmarshal(c.must(n, "GET", "/v1/cluster", "", nil).body, &v); err != nil {
		c.t.Fatal(err)
	}
	return v.Level
}
