package analytics_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/receiptd/receiptd/consumers"
	"github.com/receiptd/receiptd/consumers/internal/fold"
	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/consumertest"
	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/projections"
	ch "github.com/receiptd/receiptd/projections/clickhouse"
)

// gated is a sink that takes no cohorts while it is closed.
type gated struct {
	*ch.Store
	open atomic.Bool
}

func (g *gated) InsertCohorts(ctx context.Context, partition int, rows []ch.CohortRow) error {
	if !g.open.Load() {
		return errors.New("closed")
	}
	return g.Store.InsertCohorts(ctx, partition, rows)
}

// olderVersion leaves what a version without totals of days would have: empty tables of them, and a
// state folded without.
func olderVersion(s *consumertest.Sink) {
	s.T.Helper()
	ctx := testContext(s.T)
	for _, table := range []string{"group_days", "sender_days"} {
		if err := s.Conn.Exec(ctx, "TRUNCATE TABLE "+table); err != nil {
			s.T.Fatal(err)
		}
	}
	s.Dir = s.T.TempDir()
	for k := range s.Log.Partitions() {
		g := must[*fold.Generation](s.T)(fold.OpenCurrent(filepath.Join(s.Dir, fmt.Sprintf("p%03d", k)), fold.Options{
			Partition: k, CacheBytes: 1 << 20, Logger: natstest.Logger(s.T),
		}))
		apply := func(_ context.Context, x *projections.Decoded, _ *eventlog.Entry) error {
			_, err := g.Part.Apply(*x)
			return err
		}
		o := consumers.Options{Partition: k, Upto: s.Log.Last(k)}
		if err := errors.Join(consumers.Follow(ctx, s.Log, o, consumers.HandlerFunc(apply)), g.Close()); err != nil {
			s.T.Fatal(err)
		}
	}
}

// TestStateOfAnOlderVersionIsFoldedAgain: a ClickHouse that was filled without totals of days gets
// them, and until it has them all, the answers are made without.
func TestStateOfAnOlderVersionIsFoldedAgain(t *testing.T) {
	s := consumertest.NewSink(t, 2)
	g := s.Log.Traffic(smallTraffic(29), 10_000)
	p := foldAll(t, s.Log)
	f := s.Fill(s.Store)
	s.Filled(f)
	s.Stop(f)
	olderVersion(s)

	s.Store = consumertest.OpenStore(t, s.Server, time.Minute)
	sink := &gated{Store: s.Store}
	f = s.Fill(sink)
	// Time for what must not happen: totals get past the closed sink, or answers come from them.
	time.Sleep(200 * time.Millisecond)
	s.SameRates(p)
	if n := s.Number("SELECT count() FROM sender_days"); n != 0 {
		t.Fatalf("%d totals came through a closed sink", n)
	}
	sink.open.Store(true)
	s.Filled(f)
	checkCounts(t, p, g)
	s.Exact()
	s.SameAnswers(p)
	s.Stop(f)
	if n, err := fold.Generations(nil, filepath.Join(s.Dir, "p000")); err != nil || len(n) != 1 || n[0] < 2 {
		t.Errorf("the state is that of generations %v, %v", n, err)
	}
	daysAreAsked(s, p)
}

// daysAreAsked has the answers for whole days come without a cohort.
func daysAreAsked(s *consumertest.Sink, p *projector.Projector) {
	s.T.Helper()
	if err := s.Conn.Exec(testContext(s.T), "TRUNCATE TABLE cohorts"); err != nil {
		s.T.Fatal(err)
	}
	day := time.Now().UTC().Truncate(24 * time.Hour)
	for app := range p.Revisions() {
		for _, by := range []projections.RateBy{projections.ByGroup, projections.BySender} {
			q := projections.RateQuery{App: app, From: day.AddDate(0, 0, -3).UnixMilli(), To: day.AddDate(0, 0, 2).UnixMilli(), By: by, Limit: 1000}
			want := must[projections.RatePage](s.T)(p.ReadRates(testContext(s.T), q))
			got := must[projections.RatePage](s.T)(s.Store.ReadRates(testContext(s.T), q))
			consumertest.SameRows(s.T, q, got, want)
		}
	}
}

// earlierRules leaves what a version with earlier rules would have: a state of these, and tables of
// numbers that those of this version do not come to, as of the end of the log.
func earlierRules(s *consumertest.Sink) {
	s.T.Helper()
	ctx := testContext(s.T)
	lacked := map[string]string{"messages": ", '' AS chat_sender"} // in keys since
	for table, name := range map[string]string{
		"messages": "id", "cohorts": "sender", "hours": "app", "group_days": "`group`", "sender_days": "sender",
	} {
		for _, statement := range []string{
			"CREATE TABLE earlier AS " + table,
			fmt.Sprintf("INSERT INTO earlier SELECT * REPLACE (read + 7 AS read, %d AS version%s) FROM (SELECT * FROM %s FINAL)", s.Log.Last(0), lacked[table], table),
			fmt.Sprintf("INSERT INTO earlier SELECT * FROM (SELECT * REPLACE ('ghost' AS %s) FROM earlier LIMIT 1)", name),
			"EXCHANGE TABLES earlier AND " + table,
			"DROP TABLE earlier SYNC",
		} {
			if err := s.Conn.Exec(ctx, statement); err != nil {
				s.T.Fatalf("%s: %v", statement, err)
			}
		}
	}
	for k := range s.Log.Partitions() {
		root := filepath.Join(s.Dir, fmt.Sprintf("p%03d", k))
		g := must[*fold.Generation](s.T)(fold.OpenCurrent(root, fold.Options{Partition: k, ForSink: true}))
		if err := g.Close(); err != nil {
			s.T.Fatal(err)
		}
		consumertest.SetRules(s.T, g.Dir(), projections.Rules-1)
	}
}

// TestSinkOfEarlierRulesIsFilledAgain: what a version counted by earlier rules in ClickHouse is
// what this one counts, after an upgrade, though nothing is sent; what only the earlier rules knew
// is gone. Until then nobody is told so. Events are as they were decided.
func TestSinkOfEarlierRulesIsFilledAgain(t *testing.T) {
	s := consumertest.NewSink(t, 2)
	g := s.Log.Traffic(smallTraffic(31), 10_000)
	p := foldAll(t, s.Log)
	f := s.Fill(s.Store)
	s.Filled(f)
	s.Stop(f)
	decided := s.Number("SELECT sum(cityHash64(*)) FROM events")
	earlierRules(s)

	s.Store = consumertest.OpenStore(t, s.Server, time.Minute)
	sink := &gated{Store: s.Store}
	f = s.Fill(sink)
	time.Sleep(200 * time.Millisecond) // time for what must not happen
	if f.Prepared() {
		t.Error("what earlier rules counted is told by those of this version")
	}
	sink.open.Store(true)
	s.Filled(f)
	consumertest.Eventually(t, "ClickHouse is as of these rules", f.Prepared)
	ghosts := s.Number(`SELECT (SELECT count() FROM messages WHERE id = 'ghost') + (SELECT count() FROM cohorts WHERE sender = 'ghost') +
			(SELECT count() FROM hours WHERE app = 'ghost') + (SELECT count() FROM group_days WHERE ` + "`group`" + ` = 'ghost') +
			(SELECT count() FROM sender_days WHERE sender = 'ghost')`)
	if ghosts != 0 {
		t.Errorf("%d rows of what only earlier rules knew are told", ghosts)
	}
	checkCounts(t, p, g)
	s.Exact()
	s.SameAnswers(p)
	s.Stop(f)
	if n := s.Number("SELECT sum(cityHash64(*)) FROM events"); n != decided {
		t.Error("events are other ones")
	}
	daysAreAsked(s, p)
}
