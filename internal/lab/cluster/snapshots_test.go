package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// until waits for something that takes a moment on an idle machine.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not come to be that %s", what)
		}
	}
}

// made is how many snapshots a node says it has made.
func made(n *machine) int { return strings.Count(n.said(), "a snapshot was made") }

// One node makes snapshots, another one when it is killed or stands still, and one that wakes makes
// none beside it. The log is trimmed behind them, but under no node that is away; a node that has
// lost its state begins from one, and comes to what the others have.
func TestSnapshotsOfNodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	net := newNetwork(t, "a", "b", "c", "broker0", "broker1", "broker2")
	_, urls := startBrokers(t, net, dir, net.hosts[3:6])
	nodes := startNodes(t, net, dir, net.hosts[:3], func(int) []string {
		return []string{"--nats", urls, "--replicas", "3", "--snapshot-every", "1s", "--snapshot-rate", "1GiB", "--retain-age", "1s"}
	})
	c := newClient(t, nodes)
	c.prepare()
	sent := 0
	// more goes on with the log at a node, so that there is something to make snapshots of.
	more := func(at *machine) {
		t.Helper()
		for g := range groups {
			sent++
			group := fmt.Sprint("g", g)
			c.must(at, "POST", app+"/events", "", map[string]any{
				"type": "message.sent", "id": fmt.Sprint("m", sent), "from": group + "-u0", "group": group, "receipt": true, "event_id": fmt.Sprint("m", sent),
			})
		}
	}
	// maker is the node that makes the next snapshot, of those that are asked.
	maker := func(of ...*machine) (who *machine) {
		t.Helper()
		before := map[*machine]int{}
		for _, n := range of {
			before[n] = made(n)
		}
		until(t, "a snapshot is made", func() bool {
			more(of[0])
			for _, n := range of {
				if made(n) > before[n] {
					who = n
				}
			}
			return who != nil
		})
		return who
	}
	others := func(not *machine) (list []*machine) {
		for _, n := range nodes {
			if n != not {
				list = append(list, n)
			}
		}
		return list
	}

	killed := maker(nodes...)
	killed.kill()
	paused := maker(others(killed)...)
	killed.start()
	c.must(killed, "GET", "/readyz", "", nil)
	paused.signal(syscall.SIGSTOP)
	next := maker(others(paused)...)
	zombie := made(paused)
	paused.signal(syscall.SIGCONT)
	c.must(paused, "GET", "/readyz", "", nil)
	for range 3 {
		if who := maker(nodes...); who != next {
			t.Errorf("%s makes snapshots, and %s did before", who.name, next.name)
		}
	}
	if again := made(paused); again != zombie {
		t.Errorf("%s made %d snapshots after it had been replaced", paused.name, again-zombie)
	}

	// trimmed reports whether the log has lost its start, without which nobody folds all of it.
	trimmed := func(n *machine) bool {
		a, err := c.call(n, "POST", "/v1/admin/verify", "", nil)
		return err == nil && strings.Contains(string(a.body), "from snapshot")
	}
	until(t, "the log is trimmed", func() bool { more(next); return trimmed(next) })
	away := others(next)[0]
	// begun is how often it began from a snapshot: as often as the log lacked what it had not
	// folded.
	begun := func() int { return strings.Count(away.said(), "the state begins from a snapshot") }
	before := begun()
	away.stop()
	// Each second nodes say what they no longer need of the log, and one looks what may leave.
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Second) {
		more(next)
	}
	away.start()
	c.well()
	if begun() > before {
		t.Errorf("the log was trimmed under %s, which was away", away.name)
	}
	away.stop()
	if err := os.RemoveAll(filepath.Join(away.data, "state")); err != nil {
		t.Fatal(err)
	}
	away.start()
	c.well()
	if begun() == before {
		t.Errorf("%s begins from no snapshot", away.name)
	}
	least, err := position(c.must(away, "GET", app+"?consistency=strong", "", nil).header.Get("Receiptd-Position"))
	if err != nil {
		t.Fatal(err)
	}
	until(t, "all copies are the same", func() bool {
		states, err := c.view().same(len(nodes), least)
		if err != nil {
			t.Fatal(err)
		}
		return states != nil
	})
	for i := 1; i <= sent; i++ {
		if a := c.must(away, "GET", app+fmt.Sprint("/messages/m", i), "", nil); !strings.Contains(string(a.body), fmt.Sprintf(`"eligible":%d`, members-1)) {
			t.Fatalf("message %d of %d: %s", i, sent, a.body)
		}
	}
}
