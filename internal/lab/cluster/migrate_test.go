package cluster

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// alone is a server that was alone, stopped and backed up, and what it said last.
type alone struct {
	data, backup string
	states       map[int]state
	heads        map[int]string
	key          string
	token        string
	cursor       string
}

const oldMessages = 60

// startAlone fills a server that is alone and stops it, with a backup of it.
func startAlone(t *testing.T, n *network, dir string, h *host) alone {
	t.Helper()
	old := alone{data: filepath.Join(dir, "old"), backup: filepath.Join(dir, "backup"), heads: map[int]string{}}
	m := serveAlone(t, n, dir, h, old.data)
	c := newClient(t, []*machine{m})
	c.must(m, "PUT", app, "", map[string]any{"group_receipts": map[string]any{"enabled": true}})
	c.must(m, "POST", "/lab/chat/users", "", map[string]any{"username": "ann", "password": "her secret"})
	for g := range 6 { // in both partitions
		group := fmt.Sprint("g", g)
		c.must(m, "POST", app+"/events?wait=applied", "", map[string]any{"type": "group.created", "group": group, "owner": "ann", "members": []string{"ben", "cleo"}})
		for k := range oldMessages / 6 {
			id := fmt.Sprint("old", k*6+g)
			c.must(m, "POST", app+"/events?wait=applied", "", []any{
				map[string]any{"type": "message.sent", "id": id, "from": "ann", "group": group, "receipt": true},
				map[string]any{"type": "message.read", "message": id, "user": "ben", "group": group}})
		}
	}
	old.token = field(t, c.must(m, "POST", app+"/users/ann/tokens", "", map[string]any{}), "token")
	old.cursor = field(t, c.must(m, "GET", app+"/users/ann/statistics", "", nil), "cursor")
	old.key = string(c.must(m, "GET", "/v1/log/key", "", nil).body)
	old.states = c.verified(m, "")
	for k, is := range old.states {
		old.heads[k] = c.head(m, k, is.sequence)
	}
	m.stop()
	if out, err := ctl(h, "backup", old.backup, "--data", old.data, "--secrets").CombinedOutput(); err != nil {
		t.Fatalf("backup: %v\n%s", err, out)
	}
	return old
}

// serveAlone starts a server that is alone on a data directory.
func serveAlone(t *testing.T, n *network, dir string, h *host, data string) *machine {
	t.Helper()
	listen := n.listen([]*host{h}, 8080)[0]
	m := &machine{host: h, data: data, url: "http://" + listen}
	m.process = newProcess(t, dir, h.name+filepath.Base(data), func() *exec.Cmd {
		cmd := h.command(program, "--data", data, "--listen", listen, "--partitions", "2", "--hosts", h.address)
		cmd.Env = append(os.Environ(), "RECEIPTD_ADMIN_KEY="+adminKey)
		return cmd
	})
	m.start()
	return m
}

// back restores a backup of a cluster for a server that is alone, which then says the same.
func back(c *client, n *network, dir string, h *host) {
	t := c.t.(*testing.T)
	t.Helper()
	copied, data := filepath.Join(dir, "of-the-cluster"), filepath.Join(dir, "back")
	for done, end := 0, time.Now().Add(patience); done < 2; { // the second one has nothing to copy
		out, err := ctl(h, "backup", copied, "--server", c.nodes[1].url, "--admin-key", adminKey, "--secrets").CombinedOutput()
		switch {
		case err == nil:
			done++
		case time.Now().After(end):
			t.Fatalf("backup of a cluster: %v\n%s", err, out)
		}
		// One that was cut off, since a server went meanwhile, goes on when it is run again.
	}
	if list, _ := filepath.Glob(filepath.Join(copied, "streams", "KV_receiptd_cluster*")); len(list) > 0 {
		t.Errorf("the backup has what the nodes agree on: %v", list)
	}
	if out, err := ctl(h, "restore", copied, "--data", data).CombinedOutput(); err != nil || !strings.Contains(string(out), "proven equal") {
		t.Fatalf("restore: %v\n%s", err, out)
	}
	m := serveAlone(t, n, dir, h, data)
	defer m.stop()
	alone := newClient(t, []*machine{m})
	for i := range c.nodes {
		var n counts
		if a := alone.must(m, "GET", fmt.Sprint(app, "/messages/new", i), "", nil); json.Unmarshal(a.body, &n) != nil || n.Read != 1 {
			t.Errorf("message new%d: %s", i, a.body)
		}
	}
	if got, want := alone.verified(m, ""), c.verified(c.nodes[0], ""); !maps.Equal(got, want) {
		t.Errorf("the states are %v, and those of the cluster %v", got, want)
	}
	alone.must(m, "POST", "/lab/chat/token", "", map[string]any{"grant_type": "password", "username": "ann", "password": "her secret"})
}

// ctl is a run of receiptctl on a host.
func ctl(h *host, args ...string) *exec.Cmd {
	return h.command(filepath.Join(filepath.Dir(program), "receiptctl"), args...)
}

func field(t *testing.T, a answer, name string) string {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
	s, _ := v[name].(string)
	return s
}

// head is what is signed of a partition's tree with so many entries. The latest head may be of
// fewer: it is signed some time after they were acknowledged.
func (c *client) head(m *machine, partition int, size uint64) string {
	c.t.Helper()
	text, _, _ := strings.Cut(string(c.must(m, "GET", fmt.Sprintf("/v1/log/%d/checkpoint/%d", partition, size), "", nil).body), "\n\n")
	return text
}

// has checks that a node says what the server that was alone said.
func (old *alone) has(c *client, m *machine) {
	c.t.Helper()
	c.must(m, "GET", "/readyz", "", nil)
	if got := c.verified(m, ""); !maps.Equal(got, old.states) {
		c.t.Errorf("%s: the states are %v, and were %v", m.name, got, old.states)
	}
	for k, want := range old.heads {
		if got := c.head(m, k, old.states[k].sequence); got != want {
			c.t.Errorf("%s: the head of partition %d is %q, and was %q", m.name, k, got, want)
		}
	}
	if got := string(c.must(m, "GET", "/v1/log/key", "", nil).body); got != old.key {
		c.t.Errorf("%s: the log's key is %s, and was %s", m.name, got, old.key)
	}
	for k := range oldMessages {
		var n counts
		a := c.must(m, "GET", fmt.Sprint(app, "/messages/old", k), "", nil)
		if err := json.Unmarshal(a.body, &n); err != nil || n.Read != 1 || n.Eligible != 2 {
			c.t.Errorf("%s: message old%d: %s, %v", m.name, k, a.body, err)
		}
	}
	rq, err := http.NewRequest("GET", m.url+app+"/users/ann/conversations", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	rq.Header.Set("Authorization", "Bearer "+old.token)
	if a, err := c.http.Do(rq); err != nil || a.StatusCode != 200 {
		c.t.Errorf("%s: the token of before: %v, %v", m.name, a, err)
	}
	c.must(m, "POST", "/lab/chat/token", "", map[string]any{"grant_type": "password", "username": "ann", "password": "her secret"})
	if a, err := c.call(m, "POST", app+"/users/ann/statistics:ack", "", map[string]any{"cursor": old.cursor}); err != nil || !strings.Contains(string(a.body), "foreign_cursor") {
		c.t.Errorf("%s: the cursor of before: %d %s, %v", m.name, a.status, a.body, err)
	}
}

// goesOn writes at one node and reads at the others.
func goesOn(c *client) {
	c.t.Helper()
	for i, m := range c.nodes {
		id := fmt.Sprint("new", i)
		at := c.must(m, "POST", app+"/events?wait=applied", "", []any{
			map[string]any{"type": "message.sent", "id": id, "from": "ann", "group": "g0", "receipt": true},
			map[string]any{"type": "message.read", "message": id, "user": "cleo", "group": "g0"}}).header.Get("Receiptd-Position")
		for _, other := range c.nodes {
			var n counts
			if a := c.must(other, "GET", app+"/messages/"+id, at, nil); json.Unmarshal(a.body, &n) != nil || n.Read != 1 {
				c.t.Errorf("%s after %s: %s", other.name, m.name, a.body)
			}
		}
	}
}

// A backup of a server that was alone becomes the log of nodes on brokers outside. They wait for it
// meanwhile, and are never ready with half of it, however often the restore is killed.
func TestAServersLogMovesToOutsideBrokers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := newNetwork(t, "a", "b", "c", "broker0", "broker1", "broker2", "old")
	old := startAlone(t, n, dir, n.hosts[6])
	_, urls := startBrokers(t, n, dir, n.hosts[3:6])
	out, err := n.hosts[0].command(program, "--node", "a", "--nats", urls, "--replicas", "3", "--data", old.data, "--listen", "127.0.0.1:0").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "receiptctl backup") || !strings.Contains(string(out), "receiptctl restore DIR --into URL") {
		t.Errorf("a node on the data of a server that was alone: %v\n%s", err, out)
	}
	nodes := startNodes(t, n, dir, n.hosts[:3], func(int) []string {
		return []string{"--nats", urls, "--replicas", "3", "--restore-from", filepath.Join(dir, "not-here")}
	})
	c := newClient(t, nodes)
	restore := func() *exec.Cmd {
		return ctl(n.hosts[6], "restore", old.backup, "--into", urls, "--replicas", "3", "--data", filepath.Join(dir, "work"))
	}
	r := rand.New(rand.NewPCG(*seed, 1))
	killed := 0
	for range 4 {
		cmd := restore()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(r.IntN(800))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		if cmd.Wait() == nil {
			timer.Stop()
			break
		}
		killed++
		for _, m := range nodes {
			if a, err := c.call(m, "GET", "/readyz", "", nil); err == nil && a.status == http.StatusOK {
				t.Errorf("%s is ready with half of a log", m.name)
			}
		}
	}
	t.Logf("seed %d: killed %d times", *seed, killed)
	if out, err := restore().CombinedOutput(); err != nil {
		t.Fatalf("restore: %v\n%s", err, out)
	}
	if out, err := restore().CombinedOutput(); err != nil || !strings.Contains(string(out), "has the log of this backup already") {
		t.Errorf("restored again: %v\n%s", err, out)
	}
	for _, m := range nodes {
		old.has(c, m)
	}
	goesOn(c)
	back(c, n, dir, n.hosts[6])
}

// The same for nodes that form the cluster by themselves: one of them has the backup, and is killed
// while it restores it.
func TestAServersLogMovesToNodesByThemselves(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := newNetwork(t, "a", "b", "c", "old")
	old := startAlone(t, n, dir, n.hosts[3])
	meet := n.listen(n.hosts[:3], 6222)
	flags := func(i int) []string {
		from := old.backup
		if i > 0 {
			from = filepath.Join(dir, "not-here")
		}
		return append(meeting(meet)(i), "--restore-from", from)
	}
	out, err := n.hosts[0].command(program, append(flags(0), "--node", "a", "--data", old.data, "--listen", "127.0.0.1:0")...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "receiptctl backup") || !strings.Contains(string(out), "--restore-from") {
		t.Errorf("a node on the data of a server that was alone: %v\n%s", err, out)
	}
	nodes := startNodes(t, n, dir, n.hosts[:3], flags)
	r := rand.New(rand.NewPCG(*seed, 2))
	for range 3 {
		// A random moment of the restoring.
		time.Sleep(time.Second + time.Duration(r.IntN(6000))*time.Millisecond)
		nodes[0].kill()
		nodes[0].start()
	}
	c := newClient(t, nodes)
	for _, m := range nodes {
		old.has(c, m)
	}
	goesOn(c)
	nodes[0].stop()
	nodes[0].start() // with the same flags
	goesOn(c)
	back(c, n, dir, n.hosts[3])
}
