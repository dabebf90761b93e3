package cluster

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/receiptd/receiptd/internal/lab/chtest"
)

// archive is the ClickHouse that one of the nodes fills.
type archive struct {
	*chtest.Server
	t    testing.TB
	conn driver.Conn
}

const database = "receipts"

// startArchive starts a ClickHouse on the machine of the tests.
func startArchive(t testing.TB, n *network) *archive {
	t.Helper()
	a := &archive{Server: chtest.StartAt(t, n.hosts[len(n.hosts)-1].address), t: t}
	o, err := clickhouse.ParseDSN(a.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	if a.conn, err = clickhouse.Open(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.conn.Close() })
	return a
}

// long starts a ClickHouse if the nemesis is at work for longer than the short form.
func long(t testing.TB, n *network) *archive {
	t.Helper()
	if *duration == 0 {
		return nil
	}
	return startArchive(t, n)
}

// flags are those of a node that fills it, if there is one, beside others.
func (a *archive) flags(others ...string) []string {
	if a == nil {
		return others
	}
	return append(others, "--clickhouse", a.DSN(database))
}

func clickHouse(l *lab) string {
	if l.archive != nil {
		return ""
	}
	return "this cluster has none in the short form"
}

// filler is the node that fills ClickHouse, other than some.
func (l *lab) filler(but ...*machine) *machine {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		for _, n := range l.nodes {
			if slices.Contains(but, n) {
				continue
			}
			a, err := l.client.call(n, "GET", "/metrics", "", nil)
			if err == nil && strings.Contains(string(a.body), "\nreceiptd_analytics_sequence{") {
				return n
			}
		}
	}
	l.t.Error("nobody fills ClickHouse")
	return l.nodes[0]
}

// movingSink has the node that fills ClickHouse be gone, or stand still, until another one has
// taken over, and come back then: one that stood still believes that it is still its turn.
func (l *lab) movingSink(r *rand.Rand) {
	m := l.filler()
	began := time.Now()
	if r.IntN(3) > 0 {
		m.signal(syscall.SIGSTOP)
		l.note("pause", m)
		l.handedOver("pause of a node", m, began)
		m.signal(syscall.SIGCONT)
		return
	}
	m.kill()
	l.note("kill", m)
	l.handedOver("kill of a node", m, began)
	m.start()
}

// handedOver waits until another node fills ClickHouse.
func (l *lab) handedOver(what string, from *machine, began time.Time) {
	to := l.filler(from)
	l.handed++
	l.client.took(what, "ClickHouse", time.Since(began))
	l.t.Logf("%s fills ClickHouse instead of %s after %v", to.name, from.name, time.Since(began).Round(time.Millisecond))
}

// lostEngine has ClickHouse stand still or die, as a rule in the middle of an insert, and the node
// that sends it stand still meanwhile: when both go on there are two that send the same rows.
func (l *lab) lostEngine(r *rand.Rand) {
	m := l.filler()
	began := time.Now()
	again := l.archive.Resume
	if r.IntN(2) == 0 {
		l.archive.Pause()
	} else {
		l.archive.Kill()
		again = l.archive.Restart
	}
	time.Sleep(l.lasts(r, 3*time.Second)) // so that an insert is under way
	if r.IntN(3) == 0 {
		again() // nobody takes over
		return
	}
	m.signal(syscall.SIGSTOP)
	l.note("pause", m)
	l.handedOver("pause of a node", m, began)
	steps := []func(){again, func() { m.signal(syscall.SIGCONT) }}
	r.Shuffle(2, func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
	steps[0]()
	time.Sleep(l.lasts(r, 2*time.Second)) // the other one goes on later
	steps[1]()
}

// exact holds that ClickHouse has each row once: all entries up to those that are there for
// certain, each read that was acknowledged, and others once at most. What it has gives the state of
// the live copies.
func (a *archive) exact(c *client, h *history, least map[int]uint64) {
	a.t.Helper()
	for end := time.Now().Add(patience); !a.reached(least); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			a.t.Fatalf("ClickHouse does not come to %v", least)
		}
	}
	var rows, once, entries, between, late uint64
	a.ask("SELECT count(), uniqExact(partition, sequence, `index`, fact), uniqExact(partition, sequence) FROM events", &rows, &once, &entries)
	// A partition that forked from another one begins where it did.
	a.ask(fmt.Sprintf(`SELECT toUInt64(sum(last - first + 1)), countIf(first > 1 AND partition < %d)
		FROM (SELECT partition, min(sequence) AS first, max(sequence) AS last FROM events GROUP BY partition)`, partitions), &between, &late)
	if rows != once {
		a.t.Errorf("ClickHouse has %d rows, of which %d differ", rows, once)
	}
	if entries != between || late > 0 {
		a.t.Errorf("ClickHouse has %d of %d entries, and lacks the first of %d partitions", entries, between, late)
	}
	a.reads(h)
	for _, n := range c.nodes {
		c.verified(n, "?from=archive")
	}
	if !a.t.Failed() {
		a.t.Logf("ClickHouse has %d rows of %d entries, each once", rows, entries)
	}
}

// reached reports whether it has the entries up to some.
func (a *archive) reached(least map[int]uint64) bool {
	for k, last := range least {
		var at uint64
		if err := a.conn.QueryRow(context.Background(), fmt.Sprintf("SELECT max(sequence) FROM events WHERE partition = %d", k)).Scan(&at); err != nil || at < last {
			return false
		}
	}
	return true
}

// reads compares who has read what with what was reported.
func (a *archive) reads(h *history) {
	a.t.Helper()
	found, err := a.conn.Query(context.Background(), `SELECT message, user, count() FROM events
		WHERE fact = 0 AND kind = 'message.read' AND outcome = 'applied' GROUP BY message, user`)
	if err != nil {
		a.t.Fatal(err)
	}
	defer found.Close()
	have := map[string]map[string]bool{}
	for found.Next() {
		var message, user string
		var times uint64
		if err := found.Scan(&message, &user, &times); err != nil {
			a.t.Fatal(err)
		}
		if times != 1 || !h.tried[message][user] {
			a.t.Errorf("ClickHouse has %d times that %s has read %s; reported: %v", times, user, message, h.tried[message][user])
		}
		if have[message] == nil {
			have[message] = map[string]bool{}
		}
		have[message][user] = true
	}
	if err := found.Err(); err != nil {
		a.t.Fatal(err)
	}
	for message, users := range h.acked {
		for user := range maps.Keys(users) {
			if !have[message][user] {
				a.t.Errorf("ClickHouse does not have that %s has read %s, which was acknowledged", user, message)
			}
		}
	}
}

func (a *archive) ask(sql string, into ...any) {
	a.t.Helper()
	if err := a.conn.QueryRow(context.Background(), sql).Scan(into...); err != nil {
		a.t.Fatalf("%s: %v", sql, err)
	}
}
