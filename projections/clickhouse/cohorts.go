package clickhouse

import (
	"context"

	"github.com/receiptd/receiptd/projections"
)

// CohortRow is the latest numbers of a cohort or of a total, of one partition.
type CohortRow struct {
	projections.Cohort
	// Version is the [Version] as of which these are the numbers.
	Version uint64
}

// The tables of cohorts and of their totals.
var (
	cohortsTable    = tableOf[cohortColumns]("cohorts")
	hoursTable      = tableOf[hourColumns]("hours")
	groupDaysTable  = tableOf[groupDayColumns]("group_days")
	senderDaysTable = tableOf[senderDayColumns]("sender_days")
)

// rollupTables are where cohorts and totals are stored, by kind.
var rollupTables = [...]struct {
	table   *table
	columns func() rollupColumns
}{
	projections.OneCohort: {cohortsTable, func() rollupColumns { return &cohortColumns{} }},
	projections.HourTotal: {hoursTable, func() rollupColumns { return &hourColumns{} }},
	projections.GroupDay:  {groupDaysTable, func() rollupColumns { return &groupDayColumns{} }},
	projections.SenderDay: {senderDaysTable, func() rollupColumns { return &senderDayColumns{} }},
}

// rollupColumns are the columns of one of these tables.
type rollupColumns interface {
	set(i, partition int, r *CohortRow)
}

type cohortColumns struct {
	App    lowCardinality `ch:"app"`
	Hour   hours          `ch:"hour"`
	Group  texts          `ch:"group"`
	Peer   texts          `ch:"peer"`
	Sender texts          `ch:"sender"`
	countColumns
	Label texts `ch:"label"`
}

func (c *cohortColumns) set(i, _ int, r *CohortRow) {
	c.App.keys[i], _ = c.App.key(r.App)
	c.Hour.set(i, r.Hour)
	c.Group.values[i] = r.Group
	c.Peer.values[i] = r.Peer
	c.Sender.values[i] = r.Sender
	c.setCounts(i, r)
	c.Label.values[i] = r.Label
}

type hourColumns struct {
	App       lowCardinality  `ch:"app"`
	Hour      hours           `ch:"hour"`
	Partition numbers[uint16] `ch:"partition"`
	countColumns
}

func (c *hourColumns) set(i, partition int, r *CohortRow) {
	c.App.keys[i], _ = c.App.key(r.App)
	c.Hour.set(i, r.Hour)
	c.Partition.values[i] = uint16(partition)
	c.setCounts(i, r)
}

type groupDayColumns struct {
	App   lowCardinality `ch:"app"`
	Day   hours          `ch:"day"`
	Group texts          `ch:"group"`
	countColumns
}

func (c *groupDayColumns) set(i, _ int, r *CohortRow) {
	c.App.keys[i], _ = c.App.key(r.App)
	c.Day.set(i, r.Hour)
	c.Group.values[i] = r.Group
	c.setCounts(i, r)
}

type senderDayColumns struct {
	App       lowCardinality  `ch:"app"`
	Day       hours           `ch:"day"`
	Sender    texts           `ch:"sender"`
	Partition numbers[uint16] `ch:"partition"`
	countColumns
}

func (c *senderDayColumns) set(i, partition int, r *CohortRow) {
	c.App.keys[i], _ = c.App.key(r.App)
	c.Day.set(i, r.Hour)
	c.Sender.values[i] = r.Sender
	c.Partition.values[i] = uint16(partition)
	c.setCounts(i, r)
}

// summed is the group of columns that [Store.ReadRates] adds up.
const summed = "sum"

// countColumns are the columns that all these tables have after their keys.
type countColumns struct {
	Messages  numbers[uint64] `ch:"messages,sum"`
	Eligible  numbers[uint64] `ch:"eligible,sum"`
	Delivered numbers[uint64] `ch:"delivered,sum"`
	Read      numbers[uint64] `ch:"read,sum"`
	Recalled  numbers[uint64] `ch:"recalled,sum"`
	Bins      arrays[uint16]  `ch:"bins"`
	Counts    arrays[uint64]  `ch:"counts"`
	Version   numbers[uint64] `ch:"version"`
}

func (c *countColumns) setCounts(i int, r *CohortRow) {
	c.Messages.values[i] = r.Messages
	c.Eligible.values[i] = r.Eligible
	c.Delivered.values[i] = r.Delivered
	c.Read.values[i] = r.Read
	c.Recalled.values[i] = r.Recalled
	for _, b := range r.Bins {
		c.Bins.add(b.Bin)
		c.Counts.add(b.Count)
	}
	c.Bins.end(i)
	c.Counts.end(i)
	c.Version.values[i] = r.Version
}

// InsertCohorts stores the latest numbers of cohorts and totals of one partition, in one insert for
// each kind among them. Storing them again does no harm.
func (s *Store) InsertCohorts(ctx context.Context, partition int, rows []CohortRow) error {
	var kinds [len(rollupTables)][]*CohortRow
	for i := range rows {
		kind := rows[i].Kind
		kinds[kind] = append(kinds[kind], &rows[i])
	}
	for kind, rows := range kinds {
		if len(rows) == 0 {
			continue
		}
		to := &rollupTables[kind]
		c := to.columns()
		columns := to.table.extended(c, len(rows))
		for i, r := range rows {
			c.set(i, partition, r)
		}
		if err := s.insertLatest(ctx, to.table, columns); err != nil {
			return err
		}
	}
	return nil
}
