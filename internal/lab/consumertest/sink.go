package consumertest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/receiptd/receiptd/consumers/analytics"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/chtest"
	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/projections"
	ch "github.com/receiptd/receiptd/projections/clickhouse"
)

// Sink is a log, a ClickHouse, and what fills the one from the other.
type Sink struct {
	T      testing.TB
	Log    *Log
	Server *chtest.Server
	Store  *ch.Store
	Conn   driver.Conn // past the store
	// Dir is where what fills it has its state.
	Dir string
	// Events is how many events a test is about; blocks have a fortieth of them.
	Events int
}

// NewSink starts both; nothing is filled yet.
func NewSink(t testing.TB, partitions int) *Sink {
	t.Helper()
	server := chtest.Start(t)
	return &Sink{
		T: t, Log: Open(t, partitions), Server: server, Dir: t.TempDir(), Events: 20_000,
		Store: OpenStore(t, server, time.Minute), Conn: connect(t, server),
	}
}

// OpenStore opens the tables of a server.
func OpenStore(t testing.TB, server *chtest.Server, timeout time.Duration) *ch.Store {
	t.Helper()
	s := Must[*ch.Store](t)(ch.New(ch.Options{DSN: server.DSN("receipts"), Timeout: timeout}))
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func connect(t testing.TB, server *chtest.Server) driver.Conn {
	t.Helper()
	conn := Must[driver.Conn](t)(clickhouse.Open(Must[*clickhouse.Options](t)(clickhouse.ParseDSN(server.DSN("receipts")))))
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Filling is an [analytics.Consumer] with its Run under way.
type Filling struct {
	*analytics.Consumer
	cancel context.CancelFunc
	// Done is closed when Run has returned Err.
	Done chan struct{}
	Err  error
}

// Fill fills a sink until stop or the end of the test, with small blocks.
func (s *Sink) Fill(sink analytics.Sink) *Filling {
	s.T.Helper()
	a := Must[*analytics.Consumer](s.T)(analytics.New(s.Log, sink, analytics.Options{
		Dir: s.Dir, BlockRows: max(500, s.Events/40), BlockAge: 20 * time.Millisecond, RefreshEvery: 30 * time.Millisecond,
		CheckpointEvery: 50 * time.Millisecond, InsertMost: 100 * time.Millisecond, Logger: natstest.Logger(s.T),
	}))
	f := &Filling{Consumer: a, Done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	go func() {
		defer close(f.Done)
		f.Err = a.Run(ctx)
	}()
	s.T.Cleanup(func() { _ = f.Wait() })
	return f
}

// Wait ends the filling and returns what was wrong with it.
func (f *Filling) Wait() error {
	f.cancel()
	<-f.Done
	return errors.Join(f.Err, f.Close())
}

// Stop ends the Filling, which Must not have failed.
func (s *Sink) Stop(f *Filling) {
	s.T.Helper()
	if err := f.Wait(); err != nil {
		s.T.Fatal(err)
	}
}

// Filled waits until the sink has everything.
func (s *Sink) Filled(f *Filling) {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute+time.Duration(s.Events)*100*time.Microsecond)
	defer cancel()
	for k := range s.Log.Partitions() {
		for last := s.Log.Last(k); f.Stats()[k].Refreshed < last; {
			select {
			case <-f.Done:
				s.T.Fatalf("filling ended: %v", f.Err)
			case <-ctx.Done():
				s.T.Fatalf("partition %d: %+v, the log ends with %d", k, f.Stats()[k], last)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
}

// Number answers a question that has one number for an answer.
func (s *Sink) Number(sql string) (n uint64) {
	s.T.Helper()
	if err := s.Conn.QueryRow(Context(s.T), sql).Scan(&n); err != nil {
		s.T.Fatalf("%s: %v", sql, err)
	}
	return n
}

// Exact compares ClickHouse with the log, entry by entry: every event is there once, in blocks that
// are parts.
func (s *Sink) Exact() {
	s.T.Helper()
	for k := range s.Log.Partitions() {
		ctx := Context(s.T)
		r := Must[*eventlog.Reader](s.T)(s.Log.Read(ctx, k, 0))
		defer r.Close()
		want := uint64(0)
		for last := s.Log.Last(k); r.Last() < last; {
			e := Must[eventlog.Entry](s.T)(r.Next(ctx))
			var b events.Batch
			if events.DecodeEntry(e.Subject, e.Data, e.MsgID, s.Log.Partitions(), &b) != nil {
				want++
			}
			want += uint64(max(b.Len(), 0))
		}
		got := s.Number(fmt.Sprintf("SELECT count() FROM events WHERE partition = %d AND fact = 0", k))
		if got != want {
			s.T.Errorf("partition %d: ClickHouse has %d events, the log %d", k, got, want)
		}
		if n := s.Number(fmt.Sprintf("SELECT uniqExact(sequence) FROM events WHERE partition = %d", k)); n != s.Log.Last(k) {
			s.T.Errorf("partition %d: ClickHouse has %d entries, the log %d", k, n, s.Log.Last(k))
		}
	}
	if n := s.Number("SELECT toUInt64(count() - uniqExact(partition, sequence, `index`, fact)) FROM events"); n != 0 {
		s.T.Errorf("%d rows are there more than once", n)
	}
}

// SameAnswers compares everything that is counted in ClickHouse with the live state.
func (s *Sink) SameAnswers(p State) {
	s.T.Helper()
	ctx := Context(s.T)
	rows := Must[driver.Rows](s.T)(s.Conn.Query(ctx, `
		SELECT app, id, m.`+"`group`"+`, peer, eligible, delivered, read, recalled, sender, toUnixTimestamp64Milli(sent_at), readers
		FROM (SELECT * FROM messages FINAL) AS m LEFT JOIN
			(SELECT app, message, sender, `+"`group`"+`, if(`+"`group`"+` = '', user, '') AS receiver, countIf(kind = 'message.read') AS readers
			FROM events WHERE outcome = 'applied' AND kind IN ('message.read', 'message.delivered') GROUP BY ALL) AS e
			ON e.app = m.app AND e.message = m.id AND e.sender = m.sender AND e.receiver = m.peer AND e.`+"`group` = m.`group`"+`
		ORDER BY app, id`))
	defer rows.Close()
	checked := 0
	for rows.Next() {
		var (
			app, id, group, peer      string
			sender                    string
			eligible, delivered, read uint32
			recalled                  bool
			sentAt                    int64
			readers                   uint64
		)
		if err := rows.Scan(&app, &id, &group, &peer, &eligible, &delivered, &read, &recalled, &sender, &sentAt, &readers); err != nil {
			s.T.Fatal(err)
		}
		named := projections.Message{From: sender, Group: group, To: peer}
		want := Must[projections.Found](s.T)(p.MessageIn(named.Conversation(app), id, ""))
		if want.From != sender || want.SentAt != sentAt {
			s.T.Errorf("message %s: ClickHouse has it of %s at %d; the state of %s at %d", id, sender, sentAt, want.From, want.SentAt)
		}
		got := projections.Counts{Eligible: int(eligible), Delivered: int(delivered), Read: int(read)}
		if got != want.Counts || recalled != want.Recalled || !recalled && readers != uint64(want.Read) {
			s.T.Errorf("message %s: ClickHouse has %+v, recalled %v, %d rows of reads; the state %+v, recalled %v",
				id, got, recalled, readers, want.Counts, want.Recalled)
		}
		checked++
	}
	if err := rows.Err(); err != nil || checked == 0 {
		s.T.Fatalf("%d messages, %v", checked, err)
	}
	s.SameRates(p)
}

// SameRates asks both for read rates, in every way.
func (s *Sink) SameRates(p State) {
	s.T.Helper()
	ctx := Context(s.T)
	for app := range p.Revisions() {
		// To the end of this hour, and to the end of a day.
		all := projections.RateQuery{App: app, From: time.Now().Add(-100 * time.Hour).UnixMilli(), To: time.Now().UnixMilli() + 1, Limit: 1000, Bins: true}
		days := all
		days.To = time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 2).UnixMilli()
		queries := []projections.RateQuery{all}
		for _, by := range []projections.RateBy{projections.ByGroup, projections.BySender, projections.ByLabel, projections.ByWeekHour} {
			q := days
			q.By = by
			queries = append(queries, q)
			q = all
			q.By = by
			rows := Must[projections.RatePage](s.T)(p.ReadRates(ctx, q)).Rows
			queries = append(queries, q)
			for _, r := range rows[:min(3, len(rows))] {
				q := all
				switch by {
				case projections.ByGroup:
					q.Group = r.Key
				case projections.BySender:
					q.Sender = r.Key
				case projections.ByLabel:
					q.Label = r.Key
				}
				queries = append(queries, q)
				q.By, q.Limit = projections.BySender, 2
				queries = append(queries, q)
			}
		}
		for _, q := range queries {
			want := Must[projections.RatePage](s.T)(p.ReadRates(ctx, q))
			got := Must[projections.RatePage](s.T)(s.Store.ReadRates(ctx, q))
			SameRows(s.T, q, got, want)
		}
	}
}

// SameRows compares two answers to a query.
func SameRows(t testing.TB, q projections.RateQuery, got, want projections.RatePage) {
	t.Helper()
	if got, want := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); got != want {
		t.Errorf("%+v:\nClickHouse %.2000s\nstate      %.2000s", q, got, want)
	}
}
