package consumers

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/chtest"
	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/projections"
	ch "github.com/receiptd/receiptd/projections/clickhouse"
)

// streamEvents is how long the stream of TestClickHouseCountsWhatTheStateCounts is. A long one is for now and then.
var streamEvents = flag.Int("analytics.events", 20_000, "events of the stream that ClickHouse, state and books must count alike")

// sinkTest is a log, a ClickHouse, and who fills the one from the other.
type sinkTest struct {
	t      testing.TB
	log    *testLog
	server *chtest.Server
	store  *ch.Store
	conn   driver.Conn // past the store
	dir    string
}

func newSinkTest(t testing.TB, partitions int) *sinkTest {
	t.Helper()
	server := chtest.Start(t)
	return &sinkTest{
		t: t, log: openLog(t, partitions), server: server, dir: t.TempDir(),
		store: openStore(t, server, 5*time.Second), conn: connect(t, server),
	}
}

func openStore(t testing.TB, server *chtest.Server, timeout time.Duration) *ch.Store {
	t.Helper()
	s := must[*ch.Store](t)(ch.New(ch.Options{DSN: server.DSN("receipts"), Timeout: timeout}))
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func connect(t testing.TB, server *chtest.Server) driver.Conn {
	t.Helper()
	conn := must[driver.Conn](t)(clickhouse.Open(must[*clickhouse.Options](t)(clickhouse.ParseDSN(server.DSN("receipts")))))
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// filling is an Analytics with its Run under way.
type filling struct {
	*Analytics
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// fill fills a sink until stop or the end of the test, with small blocks.
func (s *sinkTest) fill(sink SinkArchive) *filling {
	s.t.Helper()
	a := must[*Analytics](s.t)(NewAnalytics(s.log, sink, AnalyticsOptions{
		Dir: s.dir, BlockRows: max(500, *streamEvents/40), BlockAge: 20 * time.Millisecond, RefreshEvery: 30 * time.Millisecond,
		CheckpointEvery: 50 * time.Millisecond, Logger: natstest.Logger(s.t),
	}))
	f := &filling{Analytics: a, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	go func() {
		defer close(f.done)
		f.err = a.Run(ctx)
	}()
	s.t.Cleanup(func() { _ = f.wait() })
	return f
}

func (f *filling) wait() error {
	f.cancel()
	<-f.done
	return errors.Join(f.err, f.Close())
}

// stop ends the filling, which must not have failed.
func (s *sinkTest) stop(f *filling) {
	s.t.Helper()
	if err := f.wait(); err != nil {
		s.t.Fatal(err)
	}
}

// filled waits until the sink has everything.
func (s *sinkTest) filled(f *filling) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute+time.Duration(*streamEvents)*100*time.Microsecond)
	defer cancel()
	for k := range s.log.Partitions() {
		for last := s.log.last(k); f.Stats()[k].Refreshed < last; {
			select {
			case <-f.done:
				s.t.Fatalf("filling ended: %v", f.err)
			case <-ctx.Done():
				s.t.Fatalf("partition %d: %+v, the log ends with %d", k, f.Stats()[k], last)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
}

// number answers a question that has one number for an answer.
func (s *sinkTest) number(sql string) (n uint64) {
	s.t.Helper()
	if err := s.conn.QueryRow(testContext(s.t), sql).Scan(&n); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// exact compares ClickHouse with the log, entry by entry: every event is there once, in blocks that are parts.
func (s *sinkTest) exact() {
	s.t.Helper()
	for k := range s.log.Partitions() {
		ctx := testContext(s.t)
		r := must[*eventlog.Reader](s.t)(s.log.Read(ctx, k, 0))
		defer r.Close()
		want := uint64(0)
		for last := s.log.last(k); r.Last() < last; {
			e := must[eventlog.Entry](s.t)(r.Next(ctx))
			var b events.Batch
			if events.DecodeEntry(e.Subject, e.Data, s.log.Partitions(), &b) != nil {
				want++
			}
			want += uint64(max(b.Len(), 0))
		}
		got := s.number(fmt.Sprintf("SELECT count() FROM events WHERE partition = %d AND fact = 0", k))
		if got != want {
			s.t.Errorf("partition %d: ClickHouse has %d events, the log %d", k, got, want)
		}
		if n := s.number(fmt.Sprintf("SELECT uniqExact(sequence) FROM events WHERE partition = %d", k)); n != s.log.last(k) {
			s.t.Errorf("partition %d: ClickHouse has %d entries, the log %d", k, n, s.log.last(k))
		}
	}
	if n := s.number("SELECT toUInt64(count() - uniqExact(partition, sequence, `index`, fact)) FROM events"); n != 0 {
		s.t.Errorf("%d rows are there more than once", n)
	}
}

// sameAnswers compares everything that is counted in ClickHouse with the live state.
func (s *sinkTest) sameAnswers(p *Projector) {
	s.t.Helper()
	ctx := testContext(s.t)
	rows := must[driver.Rows](s.t)(s.conn.Query(ctx, `
		SELECT app, id, eligible, delivered, read, recalled, sender, toUnixTimestamp64Milli(sent_at), readers
		FROM (SELECT * FROM messages FINAL) AS m LEFT JOIN
			(SELECT app, message, sender, `+"`group`"+`, if(`+"`group`"+` = '', user, '') AS receiver, countIf(kind = 'message.read') AS readers
			FROM events WHERE outcome = 'applied' AND kind IN ('message.read', 'message.delivered') GROUP BY ALL) AS e
			ON e.app = m.app AND e.message = m.id AND e.sender = m.sender AND e.receiver = m.peer AND e.`+"`group` = m.`group`"+`
		ORDER BY app, id`))
	defer rows.Close()
	checked := 0
	ids := map[string]int{}
	for rows.Next() {
		var (
			app, id, sender           string
			eligible, delivered, read uint32
			recalled                  bool
			sentAt                    int64
			readers                   uint64
		)
		if err := rows.Scan(&app, &id, &eligible, &delivered, &read, &recalled, &sender, &sentAt, &readers); err != nil {
			s.t.Fatal(err)
		}
		want := must[projections.Message](s.t)(p.Message(app, id))
		if ids[app+id]++; want.From != sender || want.SentAt != sentAt {
			continue // the id is that of several messages, and the state finds another one
		}
		got := projections.Counts{Eligible: int(eligible), Delivered: int(delivered), Read: int(read)}
		if got != want.Counts || recalled != want.Recalled || !recalled && readers != uint64(want.Read) {
			s.t.Errorf("message %s: ClickHouse has %+v, recalled %v, %d rows of reads; the state %+v, recalled %v",
				id, got, recalled, readers, want.Counts, want.Recalled)
		}
		checked++
	}
	if err := rows.Err(); err != nil || checked == 0 {
		s.t.Fatalf("%d messages, %v", checked, err)
	}
	s.sameRates(p)
}

// sameRates asks both for read rates, in every way.
func (s *sinkTest) sameRates(p *Projector) {
	s.t.Helper()
	ctx := testContext(s.t)
	for app := range p.Revisions() {
		// To the end of this hour, and to the end of a day.
		all := projections.RateQuery{App: app, From: time.Now().Add(-100 * time.Hour).UnixMilli(), To: time.Now().UnixMilli() + 1, Limit: 1000, Bins: true}
		days := all
		days.To = time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 2).UnixMilli()
		queries := []projections.RateQuery{all}
		for _, by := range []projections.RateBy{projections.ByGroup, projections.BySender} {
			q := days
			q.By = by
			queries = append(queries, q)
			q = all
			q.By = by
			rows := must[[]projections.RateRow](s.t)(p.ReadRates(ctx, q))
			queries = append(queries, q)
			for _, r := range rows[:min(3, len(rows))] {
				q := all
				if by == projections.ByGroup {
					q.Group = r.Key
				} else {
					q.Sender = r.Key
				}
				queries = append(queries, q)
				q.By, q.Limit = projections.BySender, 2
				queries = append(queries, q)
			}
		}
		for _, q := range queries {
			want := must[[]projections.RateRow](s.t)(p.ReadRates(ctx, q))
			got := must[[]projections.RateRow](s.t)(s.store.ReadRates(ctx, q))
			sameRows(s.t, q, got, want)
		}
	}
}

func sameRows(t testing.TB, q projections.RateQuery, got, want []projections.RateRow) {
	t.Helper()
	if got, want := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); got != want {
		t.Errorf("%+v:\nClickHouse %.2000s\nstate      %.2000s", q, got, want)
	}
}
