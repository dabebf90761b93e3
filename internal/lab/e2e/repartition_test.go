package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
)

// repartition doubles the partitions of the running server, which serves again at the same address.
func (s *server) repartition(args ...string) (from, to int) {
	s.t.Helper()
	got := s.ctl(append([]string{"repartition", "--json"}, args...)...)
	var r struct{ From, To int }
	if err := json.Unmarshal([]byte(got.out), &r); err != nil || got.code != 0 {
		s.t.Fatalf("%v: %v", err, got)
	}
	return r.From, r.To
}

// repartitionKilled kills the server at a random moment of a repartition, and starts it again,
// until it has so many partitions.
func (s *server) repartitionKilled(r *rand.Rand, l *load, to int) (kills int) {
	s.t.Helper()
	for ; len(s.positions()) < to; kills++ {
		p, err := start("receiptctl", s.target([]string{"repartition"}), environ())
		if err != nil {
			s.t.Fatal(err)
		}
		time.Sleep(time.Duration(r.IntN(900)) * time.Millisecond) // a random moment of it
		answered := s.crash(l)
		p.signal(syscall.SIGKILL)
		if _, err := p.wait(); err != nil {
			s.t.Fatal(err)
		}
		l.atLeast(answered)
	}
	return kills
}

// TestRepartitionUnderLoad doubles the partitions of a server that takes events, and then again
// while it is killed at random moments. Whatever was answered counts once, what clients keep is
// good for afterwards, and the log proves itself, is backed up, restored and doubled once more.
func TestRepartitionUnderLoad(t *testing.T) {
	r := random(t)
	s := startServer(t, "--partitions=2")
	const app = "acme#kept"
	s.must("PUT", appPath(app), map[string]any{"group_receipts": map[string]any{"enabled": true}}, nil)
	var group []events.Event
	for i := range 30 {
		g, m := fmt.Sprintf("g%d", i), fmt.Sprintf("m%d", i)
		group = append(group, events.Event{Kind: events.GroupCreated, Group: g, User: "ann", Members: []string{"ben", "cleo"}},
			events.Event{Kind: events.MessageSent, Group: g, User: "ann", Message: m, Receipt: true},
			events.Event{Kind: events.MessageRead, Group: g, User: "ben", Message: m})
	}
	s.apply(app, group...)
	var told struct {
		Group  []json.RawMessage `json:"group_ack"`
		Cursor string
	}
	statistics := appPath(app) + "/users/ann/statistics"
	s.must("GET", statistics, nil, &told)
	if len(told.Group) != 30 {
		t.Fatalf("%d items are told", len(told.Group))
	}
	var at []string
	for k, n := range s.positions() {
		at = append(at, fmt.Sprintf("%d:%d", k, n))
	}
	l := newLoad(s, r.Uint64(), 4)
	l.start()
	eventually(t, "events are accepted", func() bool { return l.accepted() > 5000 })
	if from, to := s.repartition("--dry-run"); from != 2 || to != 4 || len(s.positions()) != 2 {
		t.Errorf("a dry run from %d to %d left %d partitions", from, to, len(s.positions()))
	}
	if got := s.ctl("repartition", "--to=6"); got.code == 0 || !strings.Contains(got.String(), "only be doubled") {
		t.Errorf("to three times as many: %v", got)
	}
	began, before := time.Now(), l.sample(200)
	if from, to := s.repartition(); from != 2 || to != 4 || len(s.positions()) != 4 {
		t.Fatalf("from %d to %d, %d partitions", from, to, len(s.positions()))
	}
	t.Logf("the first repartition took %s", time.Since(began).Round(time.Millisecond))
	l.atLeast(before)
	accepted := l.accepted()
	eventually(t, "events are accepted again", func() bool { return l.accepted() > accepted+5000 })
	t.Logf("%d kills until there were 8", s.repartitionKilled(r, l, 8))
	l.finish()
	l.exact()
	s.verify()

	// A position, an event id and a cursor of before.
	var message struct{ Read int }
	s.must("GET", appPath(app)+"/messages/m7?group=g7&at_least="+url.QueryEscape(strings.Join(at, ",")), nil, &message)
	if message.Read != 1 {
		t.Errorf("m7 has %d readers", message.Read)
	}
	s.apply(app, events.Event{Kind: events.MessageRead, Group: "g7", User: "cleo", Message: "m7"})
	s.must("POST", statistics+":ack", map[string]string{"cursor": told.Cursor}, nil)
	var left struct {
		Group []struct{ Mid string } `json:"group_ack"`
	}
	s.must("GET", statistics, nil, &left)
	if len(left.Group) != 1 || left.Group[0].Mid != "m7" {
		t.Errorf("acknowledged with a cursor of before: %+v", left.Group)
	}

	dir := filepath.Join(t.TempDir(), "backup")
	s.backup(dir)
	verifyBackup(t, dir)
	s.stop()
	if got := run(t, "receiptctl", nil, "doctor", "--data", s.data); got.code != 0 || !strings.Contains(got.out, "nothing found") {
		t.Errorf("doctor: %v", got)
	}
	again := restored(t, dir)
	again.start()
	again.verify()
	if n := len(again.positions()); n != 8 {
		t.Errorf("the restored log has %d partitions", n)
	}
	again.stop()
	if got := run(t, "receiptctl", nil, "repartition", "--data", again.data); got.code != 0 {
		t.Fatalf("repartition of a stopped server's data: %v", got)
	}
	equal(t, run(t, "receiptctl", nil, "verify", "--json", "--data", again.data))
	s.start()
	l.exact()
}

// TestRepartitionAnalytics doubles the partitions twice under load while ClickHouse is filled, and
// kills the server in between. Each event is there once, read rates are those of the embedded
// rollup, and a state that is folded from there is the live one.
func TestRepartitionAnalytics(t *testing.T) {
	t.Parallel()
	r := random(t)
	c := startTables(t)
	s := startServer(t, "--partitions=2", "--clickhouse="+c.DSN(receiptsDB))
	l := newLoad(s, r.Uint64(), 2)
	l.start()
	eventually(t, "events are accepted", func() bool { return l.accepted() > 5000 })
	s.repartition()
	// A random moment of what the sink does then.
	time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond)
	l.atLeast(s.crash(l))
	s.repartitionKilled(r, l, 8)
	l.finish()
	l.exact()
	c.has(s)
	s.verify()
	if all, different := c.number("SELECT count() FROM events"), c.number("SELECT uniqExact(partition, sequence, `index`, fact) FROM events"); all != different {
		t.Errorf("%d rows, %d different ones", all, different)
	}
	for k, last := range s.positions() {
		// What partitions have in common is there once, with the one that they forked from.
		entries, first := fmt.Sprintf("SELECT uniqExact(sequence) FROM events WHERE partition = %d", k), fmt.Sprintf("SELECT min(sequence) FROM events WHERE partition = %d", k)
		n, from := c.number(entries), c.number(first)
		if n != last-from+1 || (from == 1) != (k < 2) {
			t.Errorf("partition %d: ClickHouse has %d entries from %d on, the log ends with %d", k, n, from, last)
		}
	}
	c.counted(l)
	equal(t, s.ctl("verify", "--json", "--from=archive"))

	for _, by := range []string{"hour", "sender", "group", "day"} {
		path := appPath(l.app) + "/analytics/read-rate?limit=1000&group_by=" + by
		with := l.latestRates(path)
		c.Kill()
		l.embeddedRates(path, with)
		c.Restart()
	}
}
