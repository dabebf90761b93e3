package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/receiptd/receiptd/projections"
)

// A table of latest numbers keeps, of the rows with one key, that with the largest version. What
// was counted by later rules wins over what earlier rules counted, whatever their positions: else a
// state that is folded again would lose to the one it replaces until it is where that was, and for
// good where nothing changes any more.

// rulesShift is how far up in a version the number of the rules is; below it is the position.
const rulesShift = 48

// Version is the version column of a row with the numbers as of the entry with a sequence, counted
// by this program's rules: of two rows with the same key the larger version wins.
func Version(sequence uint64) uint64 { return projections.Rules<<rulesShift | sequence }

// latestTables are those that keep the rows with the largest version.
var latestTables = []*table{messagesTable, cohortsTable, hoursTable, groupDaysTable, senderDaysTable}

// forgetPoll is the time between looks at whether the server has removed what it is to remove.
const forgetPoll = 200 * time.Millisecond

// ForgetEarlierRules removes the numbers that only earlier rules counted, such as those of a
// message that the rules of this program refuse, and those under a key that had fewer columns. It
// is called when everything has been counted by these, and returns when nothing of that is left.
func (s *Store) ForgetEarlierRules(ctx context.Context) error {
	for _, t := range latestTables {
		if err := s.forgetEarlierRules(ctx, t); err != nil {
			return fmt.Errorf("remove what earlier rules left in %s: %w", t.name, err)
		}
	}
	return nil
}

// forgetEarlierRules has the server remove the rows of earlier rules from a table, which it does in
// the background, again if there are some when it has ended: a node with an older program may have
// stored them meanwhile. A removal that fails is tried again by the server for as long as it fails;
// the error says why it does.
func (s *Store) forgetEarlierRules(ctx context.Context, t *table) error {
	earlier := fmt.Sprintf("version < %d", Version(0))
	for {
		some, err := s.exists(ctx, t.name+" WHERE "+earlier)
		if err != nil || !some {
			return err
		}
		underWay, problem, err := s.mutation(ctx, t)
		switch {
		case err != nil:
			return err
		case problem != "":
			return errors.New(problem)
		case !underWay:
			if err := s.conn.Exec(ctx, fmt.Sprintf("ALTER TABLE %s DELETE WHERE %s", t.name, earlier)); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(forgetPoll):
		}
	}
}

// mutation reports whether the server changes a table in the background, and what has kept it from
// that when it tried last.
func (s *Store) mutation(ctx context.Context, t *table) (underWay bool, problem string, err error) {
	var n uint64
	err = s.conn.QueryRow(ctx, `SELECT count(), max(latest_fail_reason) FROM system.mutations
WHERE database = currentDatabase() AND table = '`+t.name+`' AND NOT is_done`).Scan(&n, &problem)
	return n > 0, problem, err
}

// exists reports whether a SELECT from something finds a row.
func (s *Store) exists(ctx context.Context, from string) (bool, error) {
	var n uint64
	err := s.conn.QueryRow(ctx, "SELECT count() FROM (SELECT 1 FROM "+from+" LIMIT 1)").Scan(&n)
	return n > 0, err
}
