package runtime

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/projections"
)

// startNodes starts nodes a, b, … on three NATS servers, all at the same time.
func startNodes(t *testing.T, n int, change ...func(*config.Config)) []*running {
	t.Helper()
	servers := natstest.StartCluster(t, 3)
	nodes := make([]*running, n)
	var group sync.WaitGroup
	for i := range nodes {
		cfg := testConfig(t)
		cfg.Log.NATS = config.ServerURLs(natstest.ClusterURL(servers))
		cfg.Log.Replicas = 3
		cfg.Cluster.Node = string(rune('a' + i))
		for _, f := range change {
			f(&cfg)
		}
		group.Go(func() { nodes[i] = start(t, cfg) })
	}
	group.Wait()
	for _, r := range nodes {
		if r == nil {
			t.FailNow()
		}
		eventually(t, "the node is ready", func() bool { return r.call("GET", "/readyz", nil, nil).status == http.StatusOK })
	}
	return nodes
}

// said is an answer.
type said struct {
	status int
	header http.Header
	body   string
}

// call asks a node with its admin key, or with a token in the header.
func (r *running) call(method, path string, header map[string]string, body any) said {
	r.t.Helper()
	var text io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			r.t.Fatal(err)
		}
		text = strings.NewReader(string(b))
	}
	rq, err := http.NewRequest(method, "http://"+r.Addr().String()+path, text)
	if err != nil {
		r.t.Fatal(err)
	}
	rq.Header.Set("Authorization", "Bearer "+r.AdminKey())
	rq.Header.Set("Content-Type", "application/json")
	for k, v := range header {
		rq.Header.Set(k, v)
	}
	answer, err := http.DefaultClient.Do(rq)
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return said{answer.StatusCode, answer.Header, string(b)}
}

func (a said) field(t *testing.T, name string) any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return v[name]
}

func (r *running) view() (v cluster.View) {
	r.t.Helper()
	if err := json.Unmarshal([]byte(r.call("GET", "/v1/cluster", nil, nil).body), &v); err != nil {
		r.t.Fatal(err)
	}
	return v
}

const appURL = "/v1/apps/acme/chat"

var receiptsOn = map[string]any{"group_receipts": map[string]any{"enabled": true}}

// Keys, tokens, page sessions, apps and what was just written are the same at every node at once.
func TestNodesAreOneServer(t *testing.T) {
	nodes := startNodes(t, 3)
	a, b, c := nodes[0], nodes[1], nodes[2]
	if a.AdminKey() != b.AdminKey() || b.AdminKey() != c.AdminKey() || a.notary.Key() != c.notary.Key() {
		t.Fatal("the nodes have keys of their own")
	}
	if a.Log.Identity() != b.Log.Identity() || b.Log.Identity() != c.Log.Identity() {
		t.Errorf("the log has another identity at each node: %x, %x, %x", a.Log.Identity(), b.Log.Identity(), c.Log.Identity())
	}

	// An app that was just made is known everywhere.
	for i := range 20 {
		path := fmt.Sprintf("/v1/apps/acme/app%d", i)
		if got := nodes[i%3].call("PUT", path, nil, receiptsOn); got.status != http.StatusOK {
			t.Fatalf("%+v", got)
		}
		if got := nodes[(i+1)%3].call("GET", path, nil, nil); got.status != http.StatusOK {
			t.Fatalf("the app was just made at one node, another one says %+v", got)
		}
	}
	if got := b.call("GET", "/v1/apps/acme/nothere", nil, nil); got.status != http.StatusNotFound {
		t.Errorf("%+v", got)
	}

	// A token of one is good at the others.
	a.call("PUT", appURL, nil, receiptsOn)
	token, _ := a.call("POST", appURL+"/users/ann/tokens", nil, map[string]any{}).field(t, "token").(string)
	if got := c.call("GET", appURL+"/users/ann/conversations", map[string]string{"Authorization": "Bearer " + token}, nil); got.status != http.StatusOK {
		t.Errorf("the token of another node: %+v", got)
	}

	// Whoever passes the position on reads what was written, wherever; strong reads need none.
	a.call("POST", appURL+"/events", nil, map[string]any{"type": "group.created", "group": "g", "owner": "ann", "members": []string{"ben"}})
	for i := range 40 {
		id := fmt.Sprint("m", i)
		wrote := nodes[i%3].call("POST", appURL+"/events", nil, []any{
			map[string]any{"type": "message.sent", "id": id, "from": "ann", "group": "g", "receipt": true},
			map[string]any{"type": "message.read", "message": id, "user": "ben", "group": "g"}})
		at := wrote.header.Get("Receiptd-Position")
		if wrote.status != http.StatusOK || at == "" {
			t.Fatalf("%+v", wrote)
		}
		reader := nodes[(i+1)%3]
		if got := reader.call("GET", appURL+"/messages/"+id+"?at_least="+at, nil, nil); got.status != http.StatusOK || got.field(t, "read") != 1.0 {
			t.Fatalf("at least %s: %+v", at, got)
		}
		id = fmt.Sprint("s", i)
		nodes[i%3].call("POST", appURL+"/events", nil, map[string]any{"type": "message.sent", "id": id, "from": "ann", "group": "g", "receipt": true})
		if got := reader.call("GET", appURL+"/messages/"+id+"?consistency=strong", nil, nil); got.status != http.StatusOK {
			t.Fatalf("strong: %+v", got)
		}
	}

	// A page session of one node is one of all, and ends at all.
	jar, _ := cookiejar.New(nil)
	browser := http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	post := func(r *running, form url.Values) int {
		answer, err := browser.PostForm("http://"+r.Addr().String()+"/", form)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode
	}
	signedIn := func(r *running) bool {
		answer, err := browser.Get("http://" + r.Addr().String() + "/?app=acme/chat&view=overview")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		return strings.Contains(string(text), "sign-out")
	}
	if got := post(a, url.Values{"do": {"sign-in"}, "key": {a.AdminKey()}}); got != http.StatusSeeOther || !signedIn(a) || !signedIn(b) {
		t.Errorf("signed in at a with %d; at a %v, at b %v", got, signedIn(a), signedIn(b))
	}
	cookies := jar.Cookies(&url.URL{Scheme: "http", Host: a.Addr().String(), Path: "/"})
	post(c, url.Values{"do": {"sign-out"}})
	jar.SetCookies(&url.URL{Scheme: "http", Host: a.Addr().String(), Path: "/"}, cookies)
	if signedIn(a) {
		t.Error("signed out at c, and still signed in at a")
	}
}

// A user who is connected to one node hears of what was posted to another one, once.
func TestReceiptsAreToldAtEveryNode(t *testing.T) {
	nodes := startNodes(t, 2)
	a, b := nodes[0], nodes[1]
	a.call("PUT", appURL, nil, receiptsOn)
	a.call("POST", appURL+"/events?wait=applied", nil, []any{
		map[string]any{"type": "group.created", "group": "g", "owner": "ann", "members": []string{"ben"}},
		map[string]any{"type": "message.sent", "id": "m", "from": "ann", "group": "g", "receipt": true}})
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	rq, err := http.NewRequestWithContext(ctx, "GET", "http://"+b.Addr().String()+appURL+"/users/ann/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	rq.Header.Set("Authorization", "Bearer "+b.AdminKey())
	var stream *http.Response
	eventually(t, "the stream is open", func() bool {
		if stream, err = http.DefaultClient.Do(rq); err != nil {
			t.Fatal(err)
		}
		return stream.StatusCode == http.StatusOK
	})
	defer stream.Body.Close()
	told := make(chan string, 64)
	go func() {
		for lines := bufio.NewScanner(stream.Body); lines.Scan(); {
			if event, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				told <- event
			}
		}
	}()
	// The stream is heard once it said so: then the receipt is posted elsewhere.
	time.Sleep(200 * time.Millisecond)
	a.call("POST", appURL+"/events", nil, map[string]any{"type": "message.read", "message": "m", "user": "ben", "group": "g"})
	reads := 0
	for end := time.After(patience); reads == 0; {
		select {
		case event := <-told:
			if event == "read" {
				reads++
			}
		case <-end:
			t.Fatal("nothing was told")
		}
	}
	for more := time.After(500 * time.Millisecond); ; {
		select {
		case event := <-told:
			if event == "read" {
				t.Fatal("told twice")
			}
			continue
		case <-more:
		}
		break
	}
}

// wrongFoundIn is how long a wrong copy of a small state may stay unknown, from when its node
// serves: ten comparisons of a partition, which are two seconds apart. The first one finds it.
const wrongFoundIn = 20 * time.Second

// Copies prove each other. One that differs is found within seconds, named, put aside and folded
// again, and the others go on.
func TestWrongCopyIsFoundAndFoldedAgain(t *testing.T) {
	nodes := startNodes(t, 3)
	a, b := nodes[0], nodes[1]
	a.call("PUT", appURL, nil, receiptsOn)
	a.append(group("g", 8)...)
	a.append(group("h", 8)...)
	same := func() bool {
		v := a.view()
		for _, p := range v.Partitions {
			if p.Compared == 0 || len(p.Copies) != 3 {
				return false
			}
			for _, c := range p.Copies {
				if c.Sequence != p.Compared || c.Applied != c.Sequence || c.Digest != p.Copies[0].Digest || c.Chain != p.Copies[0].Chain || c.Digest == "" || c.State != cluster.StateServing {
					return false
				}
			}
		}
		return len(v.Nodes) == 3
	}
	eventually(t, "all copies are the same", same)

	// The state of one node is made another one, in a way that no checksum finds.
	partition := events.Partition(&events.Event{App: app, Group: "g"}, partitions)
	b.stop()
	plantDifference(t, filepath.Join(b.cfg.Data, stateDir, fmt.Sprintf("p%03d", partition)))
	b = start(t, b.cfg)
	a.append(group("k", 3)...)
	a.append(group("g2", 3)...)
	took := within(t, wrongFoundIn, "the copy of b is found wrong", func() bool {
		return strings.Contains(b.call("GET", "/metrics", nil, nil).body, fmt.Sprintf(`receiptd_state_corruptions_total{partition="%d"} 1`, partition))
	})
	t.Logf("found after %v", took)
	within(t, wrongFoundIn, "the others know it, too", func() bool {
		counted := 0
		for _, r := range []*running{a, nodes[2]} {
			if strings.Contains(r.call("GET", "/metrics", nil, nil).body, fmt.Sprintf(`receiptd_cluster_divergences_total{partition="%d"} 1`, partition)) {
				counted++
			}
		}
		return counted == 2
	})
	a.append(group("k2", 3)...)
	eventually(t, "all copies are the same again", same)
	for _, r := range []*running{a, nodes[2]} {
		if n := r.Projector.Stats()[partition].Corruptions; n != 0 {
			t.Errorf("the copy of %s was put aside, too", r.node.Name())
		}
	}
}

// plantDifference changes a message in the stored state of a partition.
func plantDifference(t *testing.T, root string) {
	t.Helper()
	current, err := os.ReadFile(filepath.Join(root, "CURRENT"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := pebble.Open(filepath.Join(root, strings.TrimSpace(string(current))), &pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	planted := false
	for ok := keys.First(); ok && !planted; ok = keys.Next() {
		if value := slices.Clone(keys.Value()); strings.HasPrefix(projections.DescribeKey(keys.Key()), "message ") {
			value[len(value)-1] ^= 1
			err, planted = db.Set(slices.Clone(keys.Key()), value, pebble.Sync), true
		}
	}
	if err := errors.Join(err, keys.Close(), db.Close()); err != nil || !planted {
		t.Fatalf("planted %v, %v", planted, err)
	}
}

// alone does what the node does by itself from time to time, too, and only once at a time.
func (r *running) alone(do func() error) {
	r.t.Helper()
	eventually(r.t, "it is alone", func() bool {
		err := do()
		if err != nil && !errors.Is(err, projector.ErrRebuilding) {
			r.t.Fatal(err)
		}
		return err == nil
	})
}

// Entries leave the log only when no node needs them, those included that are away.
func TestRetentionKnowsAllNodes(t *testing.T) {
	nodes := startNodes(t, 2, func(c *config.Config) { c.Analytics.RetainAge = time.Hour })
	ctx := testContext(t)
	a, b := nodes[0], nodes[1]
	a.append(configured(1, limit(10)))
	a.append(group("g", 5)...)
	a.caughtUp()
	b.caughtUp()
	for k := range partitions {
		if floor, err := a.node.Floor(ctx, k); err != nil || floor != 0 {
			t.Errorf("partition %d: entries up to %d may leave, %v; nobody has said so", k, floor, err)
		}
	}
	for _, r := range nodes {
		r.alone(func() error { return r.node.KeepFloor(ctx) })
	}
	k := events.Partition(&events.Event{App: app, Group: "g"}, partitions)
	var want uint64
	b.alone(func() (err error) {
		want, err = b.Projector.Durable(k)
		return err
	})
	if floor, err := a.node.Floor(ctx, k); err != nil || floor == 0 || floor > want {
		t.Errorf("entries up to %d may leave, %v; b has %d", floor, err, want)
	}
	b.stop()
	a.append(group("g", 5)...)
	a.caughtUp()
	a.alone(func() error { return a.node.KeepFloor(ctx) })
	if floor, err := a.node.Floor(ctx, k); err != nil || floor > want {
		t.Errorf("entries up to %d may leave, %v; b, which is away, has %d", floor, err, want)
	}
	if safe, err := a.trimmer(nil).Safe(ctx, k); err != nil || safe > want {
		t.Errorf("a lets go of entries up to %d, %v; b, which is away, has %d", safe, err, want)
	}
	eventually(t, "b is forgotten", func() bool {
		err := a.node.Forget(ctx, "b")
		if err != nil && !errors.Is(err, cluster.ErrConflict) {
			t.Fatal(err)
		}
		return err == nil
	})
	if floor, err := a.node.Floor(ctx, k); err != nil || floor <= want {
		t.Errorf("entries up to %d may leave, %v, without b", floor, err)
	}
}
