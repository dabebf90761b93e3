package runtime

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/copystate"
)

// spreadOver are enough partitions for each of three nodes to have some, and none all.
const spreadOver = 7

// spread starts three nodes, so many of which fold each partition, and waits until they do.
func spread(t *testing.T, copies int) []*running {
	t.Helper()
	nodes := startNodes(t, 3, func(c *config.Config) {
		c.Log.Partitions, c.Cluster.Copies, c.Cluster.MoveAfter = spreadOver, copies, 3*time.Second
	})
	settled(t, nodes, copies)
	return nodes
}

// here are the partitions that a node has.
func (r *running) here() (list []int) {
	for k := range spreadOver {
		if r.Projector.CopyState(k) != copystate.Absent {
			list = append(list, k)
		}
	}
	return list
}

// settled waits until the nodes that are to have each partition do, so many of them, and answer for
// it, and no other one has it.
func settled(t *testing.T, nodes []*running, copies int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d nodes have each partition", copies), func() bool {
		for i, p := range nodes[0].node.Describe().Partitions {
			for _, r := range nodes[1:] { // they hear of a change one after the other
				if !slices.Equal(r.node.Describe().Partitions[i].Wanted, p.Wanted) {
					return false
				}
			}
			var have []string
			for _, r := range nodes {
				if r.Projector.CopyState(p.Partition) != copystate.Absent {
					have = append(have, r.node.Name())
				}
				if slices.Contains(p.Wanted, r.node.Name()) && !r.Projector.Serves(p.Partition, 0) {
					return false
				}
			}
			slices.Sort(p.Wanted)
			if len(have) != copies || !slices.Equal(have, p.Wanted) {
				return false
			}
		}
		return true
	})
}

// onDisk are the partitions whose state lies in a node's data directory.
func (r *running) onDisk() []string {
	r.t.Helper()
	list, err := filepath.Glob(filepath.Join(r.cfg.Data, stateDir, "p*"))
	if err != nil {
		r.t.Fatal(err)
	}
	return list
}

// With fewer copies than nodes every node is the whole server: questions, outcomes, statistics,
// proofs and streams of every partition, whoever has it. Copies move when a node is gone, drained
// or told to, and none is left behind.
func TestNodesWithFewerCopies(t *testing.T) {
	numbers := []int{1, 2}
	if testing.Short() { // each takes most of a minute
		numbers = numbers[:1]
	}
	for _, copies := range numbers {
		t.Run(fmt.Sprint(copies), func(t *testing.T) { fewerCopies(t, copies) })
	}
}

func fewerCopies(t *testing.T, copies int) {
	nodes := spread(t, copies)
	a, b, c := nodes[0], nodes[1], nodes[2]
	if got := a.call("PUT", appURL, nil, receiptsOn); got.status != http.StatusOK {
		t.Fatalf("%+v", got)
	}
	for _, r := range nodes {
		if got := r.call("GET", appURL, nil, nil); got.status != http.StatusOK || !strings.Contains(got.body, `"enabled":true`) {
			t.Fatalf("node %s does not know the app: %+v", r.node.Name(), got)
		}
	}
	read := 0
	write := func(r *running, group string) {
		t.Helper()
		read++
		id := fmt.Sprintf("%s-%d", group, read)
		got := r.call("POST", appURL+"/events?wait=applied", nil, []any{
			map[string]any{"type": "group.created", "group": group, "owner": "ann", "members": []string{"ben", "cat"}},
			map[string]any{"type": "message.sent", "id": id, "from": "ann", "group": group, "receipt": true},
			map[string]any{"type": "message.read", "message": id, "user": "ben", "group": group},
		})
		if got.status != http.StatusOK || strings.Count(got.body, `"outcome":"applied"`) < 2 {
			t.Fatalf("at node %s: %+v", r.node.Name(), got)
		}
	}
	var groups []string
	for i := range 9 {
		groups = append(groups, fmt.Sprint("g", i))
		write(nodes[i%3], groups[i])
	}
	rates := fmt.Sprintf("/analytics/read-rate?from=%d&to=%d&group_by=group", time.Now().Add(-time.Hour).UnixMilli(), time.Now().Add(time.Hour).UnixMilli())
	same := func(what string, of []*running) {
		t.Helper()
		paths := []string{"/users/ann/conversations", "/users/ben/conversations", "/users/ann/statistics", "/rejections", "/messages/none", "/alerts", rates}
		for i, group := range groups {
			paths = append(paths, fmt.Sprintf("/messages/%s-%d/readers", group, i+1), "/groups/"+group+"/members")
		}
		for _, path := range paths {
			var answers []string
			for _, r := range of {
				join := "?"
				if strings.Contains(path, join) {
					join = "&"
				}
				got := r.call("GET", appURL+path+join+"consistency=strong", nil, nil)
				text := got.body
				if strings.HasSuffix(path, "/statistics") { // each has a cursor of its own
					text = strings.Split(text, `"cursor"`)[0]
				}
				if path == rates { // and says how old it is
					text = strings.Split(text, `"as_of"`)[0]
				}
				answers = append(answers, fmt.Sprint(got.status, " ", text))
			}
			if strings.HasPrefix(answers[0], "5") || len(slices.Compact(slices.Clone(answers))) > 1 {
				t.Errorf("%s: %s: the answers are %q", what, path, answers)
			}
		}
	}
	same("at the beginning", nodes)
	for _, r := range nodes {
		if got := r.call("GET", appURL+rates, nil, nil); strings.Count(got.body, `"key":"g`) != len(groups) {
			t.Errorf("the read rates of node %s: %+v", r.node.Name(), got)
		}
	}
	for _, r := range nodes {
		if here, disk := r.here(), r.onDisk(); len(disk) != len(here) || len(here) == spreadOver {
			t.Errorf("node %s has %v, and on its disk %v", r.node.Name(), here, disk)
		}
		for k := range spreadOver {
			eventually(t, "the log's head is signed", func() bool {
				return r.call("GET", fmt.Sprint("/v1/log/", k, "/checkpoint"), nil, nil).status == http.StatusOK
			})
		}
		if got := r.call("GET", appURL+"/messages/g1-2/readers/ben/proof?group=g1", nil, nil); got.status != http.StatusOK {
			t.Errorf("the proof of node %s: %+v", r.node.Name(), got)
		}
		if got := r.call("GET", appURL+"/messages/g1-2/readers/cat/proof?group=g1", nil, nil); got.status != http.StatusNotFound {
			t.Errorf("the proof of what was not read, of node %s: %+v", r.node.Name(), got)
		}
		r.streams(groups, func(group string) { write(a, group) })
		if got := r.call("POST", "/v1/admin/verify", nil, nil); !strings.Contains(got.body, `"equal":true`) || !strings.Contains(got.body, `"elsewhere":[`) {
			t.Errorf("verify of node %s: %+v", r.node.Name(), got)
		}
	}

	// One is gone: its share is folded by the others.
	had := c.here()
	c.stop()
	settled(t, nodes[:2], copies)
	same("with one node less", nodes[:2])
	c = start(t, c.cfg)
	nodes[2] = c
	settled(t, nodes, copies)
	if here := c.here(); !slices.Equal(here, had) {
		t.Errorf("c has %v, and had %v", here, had)
	}
	same("with all nodes again", nodes)

	// One is drained, and serves its users.
	ctx := testContext(t)
	if err := a.node.Drain(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b has no copies", func() bool { return len(b.here()) == 0 && len(b.onDisk()) == 0 })
	settled(t, []*running{a, c}, copies)
	same("with one node drained", nodes)
	write(b, "g0")
	b.streams(groups[:3], func(group string) { write(a, group) })
	if err := c.node.Undrain(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	settled(t, nodes, copies)

	// One copy moves, and moves back.
	from, to, k := a, b, -1
	for _, pair := range [][2]*running{{a, b}, {b, c}, {c, a}, {b, a}, {c, b}, {a, c}} {
		for _, x := range pair[0].here() {
			if !slices.Contains(pair[1].here(), x) {
				from, to, k = pair[0], pair[1], x
			}
		}
	}
	if err := a.node.MoveCopy(ctx, cluster.Move{Partition: k, From: from.node.Name(), To: to.node.Name()}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the copy has moved", func() bool { return slices.Contains(to.here(), k) && !slices.Contains(from.here(), k) })
	settled(t, nodes, copies)
	same("with one copy moved", nodes)
	if err := b.node.DropMove(ctx, k); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the copy is back", func() bool { return slices.Contains(from.here(), k) && !slices.Contains(to.here(), k) })
	settled(t, nodes, copies)
	same("with all as it was", nodes)
}

// streams has ann be online at a node, and written to in groups of all partitions.
func (r *running) streams(groups []string, write func(group string)) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(testContext(r.t), patience)
	defer cancel()
	rq, err := http.NewRequestWithContext(ctx, "GET", "http://"+r.Addr().String()+appURL+"/users/ann/stream", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	rq.Header.Set("Authorization", "Bearer "+r.AdminKey())
	answer, err := http.DefaultClient.Do(rq)
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		r.t.Fatalf("the stream of node %s: %s", r.node.Name(), answer.Status)
	}
	for _, group := range groups {
		write(group)
	}
	missing := slices.Clone(groups)
	for lines := bufio.NewScanner(answer.Body); len(missing) > 0 && lines.Scan(); {
		missing = slices.DeleteFunc(missing, func(group string) bool { return strings.Contains(lines.Text(), `"`+group+`"`) })
	}
	if len(missing) > 0 {
		r.t.Errorf("ann was not told at node %s of reads in %v", r.node.Name(), missing)
	}
}

// More copies are folded when they are asked for, and fewer, while all goes on. A node that starts
// with another number does not change it.
func TestNumberOfCopiesChanges(t *testing.T) {
	nodes := spread(t, 1)
	ctx := testContext(t)
	if err := nodes[1].node.SetCopies(ctx, 0); err != nil {
		t.Fatal(err)
	}
	settled(t, nodes, 3)
	if err := nodes[2].node.SetCopies(ctx, 2); err != nil {
		t.Fatal(err)
	}
	settled(t, nodes, 2)
	nodes[0].stop()
	nodes[0] = start(t, nodes[0].cfg) // --copies 1
	settled(t, nodes, 2)
	if v := nodes[0].view(); v.Copies != 2 {
		t.Errorf("%d copies are wanted", v.Copies)
	}
	if _, err := os.Stat(filepath.Join(nodes[0].cfg.Data, stateDir)); err != nil {
		t.Error(err)
	}
}
