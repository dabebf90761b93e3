package clickhouse

import (
	"context"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/projections"
)

// TestEarlierRulesAreForgotten: rows of earlier rules are gone when it returns, and a server that
// cannot remove them says why instead of being waited for.
func TestEarlierRulesAreForgotten(t *testing.T) {
	ctx := context.Background()
	s := openStore(t)
	cohort := func(hour int64, version uint64) CohortRow {
		return CohortRow{Version: version, Cohort: projections.Cohort{
			App: testApp, Hour: hour, Kind: projections.HourTotal, CohortCounts: projections.CohortCounts{Messages: 1},
		}}
	}
	left := func() (n uint64) {
		t.Helper()
		must(t, s.conn.QueryRow(ctx, "SELECT count() FROM "+hoursTable.name).Scan(&n))
		return n
	}
	must(t, s.InsertCohorts(ctx, 0, []CohortRow{cohort(10, 1), cohort(11, Version(1))}))
	must(t, s.ForgetEarlierRules(ctx))
	if n := left(); n != 1 {
		t.Errorf("%d rows are left, want that of these rules", n)
	}

	must(t, s.InsertCohorts(ctx, 0, []CohortRow{cohort(12, 1)}))
	// Some versions of the server wait for it, and tell here as well.
	_ = s.conn.Exec(ctx, "ALTER TABLE "+hoursTable.name+" DELETE WHERE throwIf(version < 1000, 'a planted fault') = 1")
	if err := s.ForgetEarlierRules(ctx); err == nil || !strings.Contains(err.Error(), "a planted fault") || !strings.Contains(err.Error(), hoursTable.name) {
		t.Errorf("the server cannot remove them: %v", err)
	}
	must(t, s.conn.Exec(ctx, "KILL MUTATION WHERE table = '"+hoursTable.name+"' SYNC"))
	must(t, s.ForgetEarlierRules(ctx))
	if n := left(); n != 1 {
		t.Errorf("%d rows are left after the fault", n)
	}
}
