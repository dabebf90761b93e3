package consumers

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/projections"
	ch "github.com/receiptd/receiptd/projections/clickhouse"
)

// held is a sink that takes no cells while it is closed.
type held struct {
	*ch.Store
	open atomic.Bool
}

func (h *held) InsertCohorts(ctx context.Context, partition int, rows []ch.CohortRow) error {
	if !h.open.Load() {
		return errors.New("closed")
	}
	return h.Store.InsertCohorts(ctx, partition, rows)
}

// olderVersion leaves what a version without totals of days would have: empty tables of them, and a state folded without.
func (s *sinkTest) olderVersion() {
	s.t.Helper()
	for _, table := range []string{"group_days", "sender_days"} {
		if err := s.conn.Exec(testContext(s.t), "TRUNCATE TABLE "+table); err != nil {
			s.t.Fatal(err)
		}
	}
	s.dir = s.t.TempDir()
	a := must[*Analytics](s.t)(NewAnalytics(s.log, s.store, AnalyticsOptions{Dir: s.dir}))
	roots := make([]string, len(a.workers))
	for k, w := range a.workers {
		roots[k] = w.gen.dir
	}
	if err := a.Close(); err != nil {
		s.t.Fatal(err)
	}
	for k, dir := range roots {
		o := a.genOptions(k)
		o.blocks, o.analytics = nil, false
		g := must[*generation](s.t)(openGeneration(dir, o))
		r := must[*eventlog.Reader](s.t)(s.log.Read(testContext(s.t), k, 0))
		defer r.Close()
		for last := s.log.last(k); r.Last() < last; {
			e := must[eventlog.Entry](s.t)(r.Next(testContext(s.t)))
			if _, err := g.apply(&e, s.log.Partitions()); err != nil {
				s.t.Fatal(err)
			}
		}
		if err := g.close(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// TestStateOfAnOlderVersionIsFoldedAgain: a ClickHouse that was filled without totals of days gets them, and until it has them
// all, the answers are made without.
func TestStateOfAnOlderVersionIsFoldedAgain(t *testing.T) {
	s := newSinkTest(t, 2)
	g := s.log.traffic(smallTraffic(29), 10_000)
	r := start(t, s.log, Options{})
	r.caughtUp()
	f := s.fill(s.store)
	s.filled(f)
	s.stop(f)
	s.olderVersion()

	s.store = openStore(t, s.server, 5*time.Second)
	sink := &held{Store: s.store}
	f = s.fill(sink)
	time.Sleep(200 * time.Millisecond) // for what must not happen: totals that pass the closed sink, or are asked
	s.sameRates(r.Projector)
	if n := s.number("SELECT count() FROM sender_days"); n != 0 {
		t.Fatalf("%d totals came through a closed sink", n)
	}
	sink.open.Store(true)
	s.filled(f)
	checkCounts(t, r.Projector, g)
	s.exact()
	s.sameAnswers(r.Projector)
	s.stop(f)
	if n, err := generations(filepath.Join(s.dir, "p000")); err != nil || len(n) != 1 || n[0] < 2 {
		t.Errorf("the state is that of generations %v, %v", n, err)
	}
	s.daysAreAsked(r.Projector)
}

// daysAreAsked has the answers for whole days come without a cohort.
func (s *sinkTest) daysAreAsked(p *Projector) {
	s.t.Helper()
	if err := s.conn.Exec(testContext(s.t), "TRUNCATE TABLE cohorts"); err != nil {
		s.t.Fatal(err)
	}
	day := time.Now().UTC().Truncate(24 * time.Hour)
	for app := range p.Revisions() {
		for _, by := range []projections.RateBy{projections.ByGroup, projections.BySender} {
			q := projections.RateQuery{App: app, From: day.AddDate(0, 0, -3).UnixMilli(), To: day.AddDate(0, 0, 2).UnixMilli(), By: by, Limit: 1000}
			want := must[[]projections.RateRow](s.t)(p.ReadRates(testContext(s.t), q))
			got := must[[]projections.RateRow](s.t)(s.store.ReadRates(testContext(s.t), q))
			sameRows(s.t, q, got, want)
		}
	}
}
