package projector

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/lab/oracle"
	"github.com/receiptd/receiptd/internal/lab/sim"
	"github.com/receiptd/receiptd/projections"
)

// allRates is a query for all rates of an app.
func allRates(app string, by projections.RateBy) projections.RateQuery {
	return projections.RateQuery{App: app, From: math.MinInt64, To: math.MaxInt64, By: by, Limit: 1000}
}

func compareRates(t *testing.T, p *Projector, models *oracle.Cluster, app string) {
	t.Helper()
	for _, by := range []projections.RateBy{projections.ByHour, projections.ByGroup, projections.BySender, projections.ByLabel} {
		got := must[projections.RatePage](t)(p.ReadRates(testContext(t), allRates(app, by))).Rows
		want, _ := models.Rates(allRates(app, by))
		if len(got) != len(want) {
			t.Errorf("rates of %s by %d: %+v; model: %+v", app, by, got, want)
			continue
		}
		for i := range got {
			if what := want[i].Differs(got[i]); what != "" {
				t.Errorf("rates of %s by %d, row %d: %s: %+v; model: %+v", app, by, i, what, got[i], want[i])
			}
		}
	}
}

// sum adds up the rows of an answer.
func sum(t testing.TB, p *Projector, app string, by projections.RateBy) (s projections.CohortCounts) {
	t.Helper()
	rows := must[projections.RatePage](t)(p.ReadRates(testContext(t), allRates(app, by))).Rows
	for _, r := range rows {
		s.Add(r.CohortCounts)
	}
	return s
}

// Beside the fold, its checkpoints and a switch to rebuilt state, a query counts everything that
// was folded when it was asked, and nothing twice.
func TestRatesBesideEverythingElse(t *testing.T) {
	log := openLog(t, 2)
	config := sim.DefaultConfig()
	config.Groups, config.Members = 20, 10
	r := start(t, log, Options{CacheBytes: 1 << 16, CheckpointEvery: 3 * time.Millisecond})
	done := make(chan *sim.Generator)
	go func() { done <- log.Traffic(config, 60_000) }()
	var g *sim.Generator
	before := map[projections.RateBy]projections.CohortCounts{}
	rebuilt := make(chan error, 1)
	go func() {
		time.Sleep(20 * time.Millisecond) // so that it begins amid the traffic
		_, err := r.Rebuild(context.Background(), RebuildOptions{Switch: true})
		rebuilt <- err
	}()
	asked := 0
	const app = "bench#app1"
	for g == nil {
		for _, by := range []projections.RateBy{projections.ByHour, projections.BySender} {
			asked++
			s := sum(t, r.Projector, app, by)
			if b := before[by]; s.Messages < b.Messages || s.Read < b.Read || s.Eligible < b.Eligible {
				t.Errorf("by %d there were %+v, and then %+v", by, b, s)
			}
			if s.Read > s.Eligible {
				t.Errorf("by %d: %+v", by, s)
			}
			before[by] = s
		}
		select {
		case g = <-done:
		default:
		}
	}
	if err := <-rebuilt; err != nil {
		t.Fatal(err)
	}
	r.caughtUp()
	totals := g.Totals()
	read := uint64(0)
	g.Expected(func(_, _, _ string, readers int) { read += uint64(readers) })
	for _, by := range []projections.RateBy{projections.ByHour, projections.BySender} {
		if s := sum(t, r.Projector, app, by); s.Messages != uint64(totals.Messages) || s.Read != read {
			t.Errorf("by %d: %+v, want %d messages and %d reads", by, s, totals.Messages, read)
		}
	}
	if asked < 10 {
		t.Errorf("only %d questions", asked)
	}
}

// A query that waits for its turn gives up when its asker does.
func TestOneRateQueryAtATime(t *testing.T) {
	r := start(t, openLog(t, 1), Options{})
	r.scanSlot <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if rows, err := r.ReadRates(ctx, allRates(app, projections.ByHour)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, %v", rows, err)
	}
	<-r.scanSlot
	if rows, err := r.ReadRates(t.Context(), allRates(app, projections.ByHour)); len(rows.Rows) != 0 || err != nil {
		t.Errorf("%v, %v for an app that there is not", rows, err)
	}
	r.stop()
	if _, err := r.ReadRates(t.Context(), allRates(app, projections.ByHour)); !errors.Is(err, ErrStopped) {
		t.Errorf("%v from a projector that has stopped", err)
	}
}
