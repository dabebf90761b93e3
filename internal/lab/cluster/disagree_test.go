package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/lab/metrictest"
)

// The rule that decides otherwise: a group has four members at most.
const (
	ruleFile = "../../../projections/partition.go"
	ruleWas  = "cmp.Or(l.Members, events.MaxGroupMembers)"
	ruleIs   = "cmp.Or(l.Members, 4)"
)

// otherRule builds a receiptd that decides one thing otherwise, and does not know: by their numbers
// its rules are those of the others.
func otherRule(t *testing.T, dir string) string {
	t.Helper()
	source, err := filepath.Abs(ruleFile)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(source)
	if err != nil || strings.Count(string(text), ruleWas) != 1 {
		t.Fatalf("%s does not have the rule once (%v)", ruleFile, err)
	}
	changed, overlay := filepath.Join(dir, "rule.go"), filepath.Join(dir, "rule.json")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{source: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{changed: strings.Replace(string(text), ruleWas, ruleIs, 1), overlay: string(replace)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	other := filepath.Join(dir, "receiptd-other")
	args := []string{"build", "-buildvcs=false", "-overlay", overlay, "-o", other}
	if raceDetector() {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "github.com/receiptd/receiptd/cmd/receiptd")...).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return other
}

const (
	// A copy is compared every two seconds. foundIn and refusedIn are ten times what that takes,
	// with some beats, and what folding again takes; they are counted by looks with a pause between
	// them, so that a time in which the whole machine stands still does not count.
	foundIn   = 30 * time.Second
	refusedIn = 60 * time.Second
	lookEvery = 100 * time.Millisecond
	// quiet is some comparisons.
	quiet = 8 * time.Second
)

// within looks until something holds, for so long, and returns after how long it did.
func within(t *testing.T, what string, limit time.Duration, holds func() bool) time.Duration {
	t.Helper()
	for passed := time.Duration(0); passed < limit; passed += lookEvery {
		if holds() {
			return passed
		}
		time.Sleep(lookEvery)
	}
	t.Fatalf("not within %v: %s", limit, what)
	return 0
}

// A node whose program decides otherwise is found within seconds, by all, and named; its copy is
// put aside and folded again, once. Since it decides so again, it is refused from then on: the
// others answer for it, what becomes of events there is what they decide, and it is not ready until
// it runs the right program.
func TestNodeThatDecidesOtherwiseIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	other := otherRule(t, dir)
	net := newNetwork(t, "a", "b", "c")
	meet := net.listen(net.hosts[:3], 6222)
	nodes := startNodes(t, net, dir, net.hosts[:3], meeting(meet))
	c := newClient(t, nodes)
	c.prepare()
	odd := nodes[2]
	odd.stop()
	odd.version = other
	odd.start()
	c.well()
	join := func(n *machine, user string) {
		t.Helper()
		a := c.must(n, "POST", app+"/events?wait=applied", "", map[string]any{"type": "group.joined", "group": "small", "user": user, "event_id": user})
		if strings.Contains(string(a.body), "group is full") {
			t.Errorf("%s: %s joins: %s", n.name, user, a.body)
		}
	}
	c.must(nodes[0], "POST", app+"/events?wait=applied", "", map[string]any{
		"type": "group.created", "group": "small", "owner": "u0", "members": []string{"u1", "u2", "u3"},
	})
	join(nodes[0], "u4")

	partition := -1
	took := within(t, "the copy of c is found wrong", foundIn, func() bool {
		partition = c.quarantined(nodes[0], odd.name)
		return partition >= 0
	})
	t.Logf("found after %v", took)
	took = within(t, "the copy of c is refused, and all say why", refusedIn, func() bool {
		for _, n := range nodes {
			if !strings.Contains(c.stuck(n, odd.name, partition), "although it was folded again from the log") {
				return false
			}
		}
		return true
	})
	t.Logf("refused after %v more", took)
	for _, n := range nodes {
		if v := c.metric(n, fmt.Sprintf(`receiptd_cluster_divergences_total{partition="%d"}`, partition)); v < 1 {
			t.Errorf("%s counts %v divergences", n.name, v)
		}
		want := 0.0
		if n == odd {
			want = 1
		}
		if v := c.metric(n, fmt.Sprintf(`receiptd_cluster_copy_refused{partition="%d"}`, partition)); v != want {
			t.Errorf("%s: refused is %v", n.name, v)
		}
		named := false
		for line := range strings.Lines(n.said()) {
			named = named || strings.Contains(line, "differs from the others") && strings.Contains(line, "node="+odd.name+" ") &&
				strings.Contains(line, fmt.Sprintf("partition=%d ", partition)) && strings.Contains(line, "entry=")
		}
		if !named {
			t.Errorf("%s does not name the node, the partition and the entry", n.name)
		}
	}

	// It is left alone, and the others answer and decide for it.
	corruptions := fmt.Sprintf(`receiptd_state_corruptions_total{partition="%d"}`, partition)
	for began := time.Now(); time.Since(began) < quiet; {
		join(odd, fmt.Sprint("late", time.Since(began)))
		if v := c.metric(odd, corruptions); v != 2 {
			t.Fatalf("it was put aside %v times", v)
		}
	}
	for _, n := range nodes {
		if a := c.must(n, "GET", app+"/groups/small/members", "", nil); !strings.Contains(string(a.body), `"u4"`) {
			t.Errorf("%s: the members are %s", n.name, a.body)
		}
		if v := c.metric(n, corruptions); n != odd && v != 0 {
			t.Errorf("%s put its copy aside, too", n.name)
		}
	}
	within(t, "c is not ready, and says why", refusedIn, func() bool {
		a, err := c.call(odd, "GET", "/readyz", "", nil)
		return err == nil && a.status == http.StatusServiceUnavailable && strings.Contains(string(a.body), "although it was folded again from the log")
	})

	odd.stop()
	odd.version = ""
	odd.start()
	c.well()
	within(t, "all copies are the same", patience, func() bool {
		states, err := c.view().same(len(nodes), nil)
		if err != nil {
			t.Fatal(err)
		}
		return states != nil && c.quarantined(nodes[0], odd.name) < 0
	})
}

// quarantined is the partition whose copy a node has put aside, as another one says; -1 for none.
func (c *client) quarantined(n *machine, of string) int {
	for _, p := range c.viewOf(n).Partitions {
		for _, x := range p.Copies {
			if x.Node == of && x.State == "quarantined" {
				return p.Partition
			}
		}
	}
	return -1
}

// stuck is what is in the way of a node's copy, as another one says.
func (c *client) stuck(n *machine, of string, partition int) string {
	for _, p := range c.viewOf(n).Partitions {
		for _, x := range p.Copies {
			if x.Node == of && p.Partition == partition {
				return x.Stuck
			}
		}
	}
	return ""
}

// metric is a sample of a node; -1 if it has none.
func (c *client) metric(n *machine, sample string) float64 {
	c.t.Helper()
	value, ok := metrictest.Sum(string(c.must(n, "GET", "/metrics", "", nil).body), sample)
	if !ok {
		return -1
	}
	return value
}
