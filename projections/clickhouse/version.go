package clickhouse

import (
	"context"
	"fmt"

	"github.com/receiptd/receiptd/projections"
)

// A table of latest numbers keeps, of the rows with one key, that with the largest version. What
// was counted by later rules wins over what earlier rules counted, whatever their positions: else a
// state that is folded again would lose to the one it replaces until it is where that was, and for
// good where nothing changes any more.

// rulesShift is how far up in a version the number of the rules is; below it is the position.
const rulesShift = 48

// Version is that of numbers as of the entry with a sequence, by the rules of this program.
func Version(sequence uint64) uint64 { return projections.Rules<<rulesShift | sequence }

// latestTables are those that keep the rows with the largest version.
var latestTables = []*table{messagesTable, cohortsTable, hoursTable, groupDaysTable, senderDaysTable}

// ForgetEarlierRules removes the numbers that only earlier rules counted, such as those of a
// message that the rules of this program refuse. It is called when everything has been counted by
// these. The server removes them in the background.
func (s *Store) ForgetEarlierRules(ctx context.Context) error {
	for _, t := range latestTables {
		earlier := fmt.Sprintf("version < %d", Version(0))
		var some uint64
		row := s.conn.QueryRow(ctx, fmt.Sprintf("SELECT count() FROM (SELECT 1 FROM %s WHERE %s LIMIT 1)", t.name, earlier))
		if err := row.Scan(&some); err != nil {
			return fmt.Errorf("look for what earlier rules left in %s: %w", t.name, err)
		}
		if some == 0 {
			continue
		}
		if err := s.conn.Exec(ctx, fmt.Sprintf("ALTER TABLE %s DELETE WHERE %s", t.name, earlier)); err != nil {
			return fmt.Errorf("remove what earlier rules left in %s: %w", t.name, err)
		}
	}
	return nil
}
