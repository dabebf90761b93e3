package runtime

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/internal/config"
)

// A node that died is silent to the others, and missing in what is wanted, however long that lasts
// and whoever is started meanwhile, until it is forgotten.
func TestNodeThatDiedIsSilentUntilItIsForgotten(t *testing.T) {
	nodes := startNodes(t, 3, func(c *config.Config) { c.Cluster.MoveAfter = 2 * time.Second })
	a, b, c := nodes[0], nodes[1], nodes[2]
	shown := func(r *running, state string, wanted int) bool {
		now, silent := "", 0
		for _, n := range r.view().Nodes {
			if n.Node == "c" {
				now = n.State
			}
		}
		if state == cluster.StateSilent {
			silent = 1
		}
		metrics := r.call("GET", "/metrics", nil, nil).body
		return now == state && strings.Contains(metrics, fmt.Sprintf("receiptd_cluster_nodes{state=\"silent\"} %d\n", silent)) &&
			strings.Contains(metrics, fmt.Sprintf("receiptd_cluster_copies_wanted{partition=\"0\"} %d\n", wanted))
	}
	eventually(t, "all are there", func() bool { return shown(a, cluster.StateServing, 3) && shown(b, cluster.StateServing, 3) })
	c.stop()
	a.stop()
	b.stop()
	a, b = start(t, a.cfg), start(t, b.cfg)
	for _, r := range []*running{a, b} {
		eventually(t, "c is silent after a restart of the others", func() bool { return shown(r, cluster.StateSilent, 3) })
	}
	time.Sleep(a.cfg.Cluster.MoveAfter + time.Second) // longer than that others wait for it
	for _, r := range []*running{a, b} {
		if !shown(r, cluster.StateSilent, 3) {
			t.Errorf("node %s: c is shown as %+v", r.node.Name(), r.view().Nodes)
		}
	}
	if got := a.call("DELETE", "/v1/cluster/nodes/c", nil, nil); got.status != http.StatusNoContent {
		t.Fatalf("%+v", got)
	}
	if !shown(a, "", 2) {
		t.Errorf("c was forgotten, and is shown: %+v", a.view().Nodes)
	}
	eventually(t, "c is forgotten by the other one", func() bool { return shown(b, "", 2) })
	start(t, c.cfg)
	eventually(t, "c is back", func() bool { return shown(a, cluster.StateServing, 3) && shown(b, cluster.StateServing, 3) })
}

// rebuilt asks a node for a rebuild, and returns its lines.
func (r *running) rebuilt(call string) (status int, lines []answer) {
	r.t.Helper()
	got := r.call("POST", "/v1/admin/"+call, nil, nil)
	for line := range strings.Lines(got.body) {
		var a answer
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			r.t.Fatalf("%s: %v", line, err)
		}
		lines = append(lines, a)
	}
	return got.status, lines
}

// Through any node each one proves its state, and folds it again, and says whose state it was.
func TestNodesRebuildForEachOther(t *testing.T) {
	nodes := startNodes(t, 2)
	a := nodes[0]
	a.call("PUT", appURL, nil, receiptsOn)
	a.append(group("g", 8)...)
	for _, r := range nodes {
		r.caughtUp()
	}
	proven := func(r *running, call, node string, switched bool) {
		t.Helper()
		eventually(t, call, func() bool {
			status, lines := r.rebuilt(call)
			last := lines[len(lines)-1]
			if last.Error != nil && last.Error.Code == "busy" {
				return false
			}
			x := last.Result
			if status != http.StatusOK || x == nil || x.Node != node || !x.Equal || x.Switched != switched || len(x.Partitions) != partitions {
				t.Fatalf("%s at %s: %d, %+v, %+v", call, r.node.Name(), status, x, last.Error)
			}
			return true
		})
	}
	for _, r := range nodes {
		proven(r, "verify", r.node.Name(), false)
		proven(r, "verify?node=a", "a", false)
		proven(r, "verify?node=b&from=log", "b", false)
		proven(r, "replay?node=b", "b", true)
		proven(r, "replay?node=b&projection=readset", "b", true)
	}
	for call, why := range map[string]string{"replay?node=b&projection=none": "none", "verify?node=b&from=archive": "no archive", "verify?node=x": "x does not answer"} {
		if status, lines := a.rebuilt(call); status != http.StatusOK || lines[len(lines)-1].Error == nil || !strings.Contains(lines[len(lines)-1].Error.Message, why) {
			t.Errorf("%s: %d, %+v", call, status, lines)
		}
	}
}
