package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/receiptd/receiptd/internal/lab/chtest"
)

const receiptsDB = "receipts"

// tables is a ClickHouse that a server fills.
type tables struct {
	*chtest.Server
	t    testing.TB
	conn driver.Conn
}

func startTables(t testing.TB) *tables {
	t.Helper()
	c := &tables{Server: chtest.Start(t), t: t}
	o, err := clickhouse.ParseDSN(c.DSN(receiptsDB))
	if err != nil {
		t.Fatal(err)
	}
	if c.conn, err = clickhouse.Open(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.conn.Close() })
	return c
}

func (c *tables) number(sql string) (n uint64) {
	c.t.Helper()
	if err := c.conn.QueryRow(context.Background(), sql).Scan(&n); err != nil {
		c.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// has waits until the tables have everything that is in the server's log.
func (c *tables) has(s *server) {
	c.t.Helper()
	for k, last := range s.positions() {
		eventually(c.t, fmt.Sprintf("ClickHouse has partition %d up to %d", k, last), func() bool {
			var at uint64
			err := c.conn.QueryRow(context.Background(), fmt.Sprintf("SELECT max(sequence) FROM events WHERE partition = %d", k)).Scan(&at)
			return err == nil && at == last
		})
	}
}

// positions are the last entries of the partitions of the log.
func (s *server) positions() (list []uint64) {
	s.t.Helper()
	var status struct{ Partitions []struct{ Stored uint64 } }
	s.must("GET", "/v1/status", nil, &status)
	for _, p := range status.Partitions {
		list = append(list, p.Stored)
	}
	return list
}

// exact compares the tables with the log and with the traffic: no event is missing, none is there
// twice, and the readers of every message are counted right.
func (c *tables) exact(l *load, eventsInLog uint64) {
	c.t.Helper()
	if n := c.number("SELECT count() FROM events WHERE fact = 0"); n != eventsInLog {
		c.t.Errorf("ClickHouse has %d events, the log %d", n, eventsInLog)
	}
	for k, last := range l.s.positions() {
		if n := c.number(fmt.Sprintf("SELECT uniqExact(sequence) FROM events WHERE partition = %d", k)); n != last {
			c.t.Errorf("partition %d: ClickHouse has %d entries, the log %d", k, n, last)
		}
	}
	c.counted(l)
}

// counted compares the readers of every message with the traffic.
func (c *tables) counted(l *load) {
	c.t.Helper()
	rows, err := c.conn.Query(context.Background(), "SELECT message, countIf(kind = 'message.read') FROM events WHERE outcome = 'applied' GROUP BY message")
	if err != nil {
		c.t.Fatal(err)
	}
	defer rows.Close()
	got := map[string]uint64{}
	for rows.Next() {
		var message string
		var n uint64
		if err := rows.Scan(&message, &n); err != nil {
			c.t.Fatal(err)
		}
		got[message] = n
	}
	if err := rows.Err(); err != nil {
		c.t.Fatal(err)
	}
	wrong := 0
	for _, client := range l.clients {
		client.generator.Expected(func(_, _, message string, readers int) {
			if got[message] != uint64(readers) {
				wrong++
			}
		})
	}
	if wrong > 0 || len(got) == 0 {
		c.t.Errorf("the readers of %d messages of %d are counted wrong", wrong, len(got))
	}
}

// TestKillAnalytics kills server and ClickHouse in turn and at random moments under load, and
// pauses ClickHouse now and then. In the end every event of the log is in ClickHouse once, and the
// state folded from there is the live one.
func TestKillAnalytics(t *testing.T) {
	kills := 30
	if testing.Short() {
		kills = 6
	}
	r := random(t)
	c := startTables(t)
	s := startServer(t, "--partitions=2", "--clickhouse="+c.DSN(receiptsDB))
	l := newLoad(s, r.Uint64(), 2)
	l.start()
	for range kills {
		// A random moment.
		time.Sleep(time.Duration(50+r.IntN(700)) * time.Millisecond)
		paused := r.IntN(4) == 0 // an insert that nobody answers is under way when the kill comes
		if paused {
			c.Pause()
			time.Sleep(time.Duration(r.IntN(500)) * time.Millisecond) // inserts wait for an answer
		}
		if r.IntN(2) == 0 {
			l.atLeast(s.crash(l))
		} else {
			c.Kill()
			// Inserts are refused meanwhile.
			time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
			c.Restart()
			paused = false
		}
		if paused {
			c.Resume()
		}
	}
	l.finish()
	l.exact()
	c.has(s)
	v := s.verify()
	c.exact(l, v.Events)
	equal(t, s.ctl("verify", "--json", "--from=archive"))
	t.Logf("%d kills, %d events", kills, v.Events)

	// The same questions have the same answers with ClickHouse and without.
	path := appPath(l.app) + "/analytics/read-rate?group_by=sender&limit=1000"
	with := l.latestRates(path)
	c.Kill()
	l.embeddedRates(path, with)
	c.Restart()
	s.stop()
	equal(t, run(t, "receiptctl", nil, "replay", "--json", "--from=archive", "--data="+s.data, "--clickhouse="+c.DSN(receiptsDB)))
	s.args = []string{"--partitions=2"}
	s.start()
	l.embeddedRates(path, with)
	l.exact()
	s.verify()
}

// rates is an answer about read rates.
type rates struct {
	Rows   json.RawMessage
	Source string
}

// latestRates waits until ClickHouse has all of the traffic, and returns what is answered then.
func (l *load) latestRates(path string) (latest rates) {
	l.s.t.Helper()
	eventually(l.s.t, "ClickHouse has the latest numbers", func() bool {
		if !l.summedUp() {
			return false
		}
		before := latest.Rows
		l.s.must("GET", path, nil, &latest)
		// For what is no part of these sums: longer than it takes by itself.
		time.Sleep(2500 * time.Millisecond)
		return slices.Equal(before, latest.Rows)
	})
	return latest
}

// embeddedRates holds that without ClickHouse the answer has the rows that it had with it.
func (l *load) embeddedRates(path string, with rates) {
	l.s.t.Helper()
	var without rates
	l.s.must("GET", path, nil, &without)
	if with.Source != "clickhouse" || without.Source != "embedded" || !slices.Equal(with.Rows, without.Rows) {
		l.s.t.Errorf("%s with ClickHouse\n%s\nwithout\n%s", path, with, without)
	}
}

// summedUp reports whether the read rates add up to all messages and reads of the traffic.
func (l *load) summedUp() bool {
	l.s.t.Helper()
	type sums struct{ Messages, Read int }
	var want, got sums
	for _, c := range l.clients {
		c.generator.Expected(func(_, _, _ string, readers int) {
			want.Messages++
			want.Read += readers
		})
	}
	var answer struct {
		Rows   []sums
		Source string
	}
	l.s.must("GET", appPath(l.app)+"/analytics/read-rate?group_by=hour", nil, &answer)
	for _, row := range answer.Rows {
		got.Messages += row.Messages
		got.Read += row.Read
	}
	return got == want && answer.Source == "clickhouse"
}

// TestClickHouseSettingsAreChecked: settings that cannot work are refused at the start.
func TestClickHouseSettingsAreChecked(t *testing.T) {
	for _, args := range [][]string{{"--clickhouse=nonsense"}, {"--retain-age=1h"}, {"--retain-size=1GiB"}} {
		if r := run(t, "receiptd", nil, append(args, "--data="+t.TempDir())...); r.code != 2 {
			t.Errorf("%v: %s", args, r)
		}
	}
}
