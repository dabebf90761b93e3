package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events/eventlog/blockfile"
)

// flipReplica flips a bit of what a running node has of the log. Every bit there is of a record, so
// the node's scrub has to find it; then its replica is put aside, and it gets another one.
func (l *lab) flipReplica(r *rand.Rand, m *machine) {
	path := l.flip(r, m, "/streams/RECEIPTS_", ".blk")
	if path == "" {
		return
	}
	stream := filepath.Base(filepath.Dir(filepath.Dir(path)))
	found := l.client.scrubbed(m)
	at := slices.IndexFunc(found, func(f finding) bool { return f.Stream == stream && f.First > 0 })
	if at < 0 || found[at].File != path && found[at].File != "" || !strings.Contains(found[at].Do, "--replica "+stream) {
		l.t.Errorf("%s does not find the bit that was flipped in %s: %+v", m.name, path, found)
	} else if n := l.client.metric(m, fmt.Sprintf("receiptd_scrub_findings{code=%q}", found[at].Code)); n < 1 {
		l.t.Errorf("%s counts %v findings", m.name, n)
	}
	l.replace(m, stream)
}

// replace gives a node another replica of a stream.
func (l *lab) replace(m *machine, stream string) {
	l.client.well()
	m.stop()
	ctl := filepath.Join(filepath.Dir(program), "receiptctl")
	out, err := exec.Command(ctl, "repair", "--data", m.data, "--replica", stream).CombinedOutput()
	l.t.Logf("%s: %s", m.name, out)
	if err != nil {
		l.t.Error(err)
	}
	m.start()
	l.client.well()
	other := l.nodes[0]
	if other == m {
		other = l.nodes[1]
	}
	want := replica(l.t, other, stream)
	for end := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		got := replica(l.t, m, stream)
		if got.First == want.First && got.Last >= want.Last && len(got.Damage) == 0 {
			break
		}
		if time.Now().After(end) {
			l.t.Errorf("%s does not get %s again: it has %+v, %s %+v", m.name, stream, got, other.name, want)
			return
		}
	}
	if found := l.client.scrubbed(m); len(found) > 0 {
		l.t.Errorf("%s finds in what is new: %+v", m.name, found)
	}
}

// replica is what a node's files hold of a stream.
func replica(t testing.TB, m *machine, stream string) blockfile.Report {
	t.Helper()
	s := blockfile.Stream{Dir: filepath.Join(m.data, "log", "jetstream", "RECEIPTS", "streams", stream), Name: stream}
	r, err := s.Check(context.Background(), blockfile.Options{Contiguous: true})
	if err != nil {
		t.Error(err)
	}
	return r
}

// finding is what a scrub found.
type finding struct {
	Code, Stream, File, Do string
	First, Last            uint64
}

// scrubbed has a node read all its files, and returns what it found.
func (c *client) scrubbed(n *machine) []finding {
	c.t.Helper()
	const path = "/v1/admin/scrub"
	type pass struct {
		Number   int
		Findings []finding
		Error    string
	}
	var s struct{ Running, Last *pass }
	ask := func(method string) {
		s.Running, s.Last = nil, nil
		if err := json.Unmarshal(c.must(n, method, path, "", nil).body, &s); err != nil {
			c.t.Fatal(err)
		}
	}
	ask(http.MethodPost)
	wanted := 1
	switch { // one that is under way may have been there before
	case s.Running != nil:
		wanted = s.Running.Number + 1
	case s.Last != nil:
		wanted = s.Last.Number + 1
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if s.Last != nil && s.Last.Number >= wanted {
			if s.Last.Error != "" {
				c.t.Errorf("%s could not read everything: %s", n.name, s.Last.Error)
			}
			return s.Last.Findings
		}
		method := http.MethodGet
		if s.Running == nil {
			method = http.MethodPost
		}
		ask(method)
	}
	c.t.Fatalf("%s: the scrub does not end", n.name)
	return nil
}
