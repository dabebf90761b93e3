package projections

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// RateScan gathers the answer to a RateQuery from the cohorts of one or more partitions, step by
// step, so that neither a fold nor a switch to rebuilt state waits for it:
//
//	for s.Next() {
//		for each partition {
//			for done := false; !done && err == nil; {
//				done, err = s.Step(partition)
//			}
//		}
//	}
//	page, err := s.Page()
//
// Rows that stand for no time take two rounds, unless they are sorted by the times to read: the
// first finds out which rows are wanted, the second makes these. What is folded meanwhile may or
// may not be in the answer.
type RateScan struct {
	q           RateQuery
	first, last int64 // hours
	table       byte
	kind        CohortKind // of what the table has

	// How many cohorts a step visits: few enough that it holds the fold for less than a
	// millisecond, and a switch to rebuilt state for some.
	stepChanged, stepStored int
	// The most cohorts visited in a round, and the most rows counted.
	maxCohorts, maxRows int

	keys    map[string]bool // of the rows that are kept; nil for all
	rounds  int
	round   int
	total   int
	rows    map[string]*rateRow
	visited int

	at scanCursor
}

type rateRow struct {
	CohortCounts
	times Distribution
}

// scanCursor is where the scan is in a partition.
type scanCursor struct {
	part    *Partition
	apps    []*app                 // of the partition, by number
	changed []*cohort              // those that changed and are still to be visited
	seen    map[cohortKey]struct{} // those in it, now or before
	next    []byte                 // the stored key to go on with
	end     []byte
	buf     []byte
	labels  []string // of the app, if there is one, by number from 1

	// Of rows that stand for times: that of the last stored cohort, and its hour.
	row  *rateRow
	hour int64
}

const (
	defaultStepChanged = 64
	defaultStepStored  = 8192
	// maxRateRows bounds the memory of the first round.
	maxRateRows = 500_000
	// maxTimedRows bounds it where the first round has to keep all times.
	maxTimedRows = 20_000
)

// NewRateScan makes a scan that has seen nothing yet.
func NewRateScan(q RateQuery) *RateScan {
	s := &RateScan{
		q: q, table: tableCohort, stepChanged: defaultStepChanged, stepStored: defaultStepStored,
		maxCohorts: maxRateCohorts, maxRows: maxRateRows,
	}
	s.first, s.last = q.Hours()
	if q.Keys != nil {
		s.keys = map[string]bool{}
		for _, key := range q.Keys {
			s.keys[key] = true
		}
	}
	if (q.By.InTime() || q.By == ByApp) && q.Group == "" && q.Sender == "" && q.Label == "" {
		s.table, s.kind = tableHour, HourTotal
	}
	switch {
	case q.By.InTime() || q.By == ByApp:
		s.rounds = 1
	case q.Sort.OfTimes():
		s.rounds, s.maxRows = 1, maxTimedRows
	default:
		s.rounds = 2
	}
	return s
}

// Next begins the next round, if there is to be one, in which every partition is gone through once.
func (s *RateScan) Next() bool {
	s.round++
	s.visited, s.at = 0, scanCursor{}
	switch {
	case s.round > s.rounds || s.first > s.last:
		return false
	case s.round == 2:
		wanted := map[string]*rateRow{}
		page := s.q.Page(s.list())
		for _, r := range page.Rows {
			wanted[r.Key] = &rateRow{}
		}
		s.rows, s.total = wanted, page.Total
		return len(wanted) > 0
	}
	s.rows = map[string]*rateRow{}
	return true
}

// Step visits some more of a partition's cohorts and reports whether those were the last of them in
// this round. The partition may become another object on the way, if that stands for the same
// state.
func (s *RateScan) Step(p *Partition) (done bool, err error) {
	c := &s.at
	if c.part != p && !s.enter(p) {
		return true, nil
	}
	if len(c.changed) > 0 {
		return false, s.visitChanged(p)
	}
	if done, err = s.visitStored(p); done || err != nil {
		s.at = scanCursor{}
	}
	return done, err
}

// enter begins with a partition, or goes on in another object that stands for it; false if it does
// not know the app, if there is one.
//
// What is not in the backing yet, and still to be visited, is gathered first. Everything else is in
// the backing from here on, whatever is committed meanwhile, and what is found there again has been
// seen.
func (s *RateScan) enter(p *Partition) bool {
	c := &s.at
	var a *app
	var unstored []*cohort
	p.mu.Lock()
	if a = p.apps.byKey[s.q.App]; a != nil {
		c.labels = a.labels.names // what is added later is behind its end, here and below
	}
	if a != nil || s.q.App == "" {
		c.apps = p.apps.byNum
		unstored = slices.Concat(p.changes.cohorts, p.changes.capturedCohorts)
	}
	p.mu.Unlock()
	if a == nil && s.q.App != "" {
		return false
	}
	// What a cohort is called does not change, so this needs no lock.
	if c.part == nil {
		c.seen = map[cohortKey]struct{}{}
		if a != nil {
			c.next = hourKey(nil, s.table, a.num, s.first)
			c.end = hourKey(nil, s.table, a.num, s.last+1)
		} else {
			c.next, c.end = []byte{s.table}, []byte{s.table + 1}
		}
	}
	c.part = p
	for _, x := range unstored {
		c.buf = x.key(c.buf[:0])
		if bytes.Compare(c.buf, c.next) < 0 || bytes.Compare(c.buf, c.end) >= 0 || x.hour < s.first || x.hour > s.last {
			continue
		}
		if _, seen := c.seen[x.cohortKey]; !seen {
			c.seen[x.cohortKey] = struct{}{}
			c.changed = append(c.changed, x)
		}
	}
	return true
}

// visitChanged visits some of the changed cohorts. One that was evicted meanwhile still has the
// values it was committed with.
func (s *RateScan) visitChanged(p *Partition) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil {
		return p.failed
	}
	c := &s.at
	n := min(len(c.changed), s.stepChanged)
	for _, x := range c.changed[:n] {
		c.buf = x.encode(c.buf[:0])
		if err := s.visit(&x.cohortKey, c.buf, false); err != nil {
			return err
		}
	}
	c.changed = c.changed[n:]
	return nil
}

// errStep ends a step.
var errStep = errors.New("the step is done")

// visitStored visits some of the stored cohorts. The partition is not locked: it goes on folding.
func (s *RateScan) visitStored(p *Partition) (done bool, err error) {
	c := &s.at
	n := 0
	err = p.back.Range(c.next, c.end, func(key, value []byte) error {
		if n == s.stepStored {
			c.next = slices.Clone(key)
			return errStep
		}
		n++
		k, err := s.parseKey(key)
		if err != nil {
			return err
		}
		if next := s.skip(&k); next != nil {
			c.next = next
			return errStep
		}
		if _, seen := c.seen[k]; seen {
			return nil
		}
		return s.visit(&k, value, true)
	})
	switch {
	case errors.Is(err, errStep):
		return false, nil
	}
	return true, err
}

// skip is the key to go on with behind what of all apps is not in the span; nil for what is.
func (s *RateScan) skip(k *cohortKey) []byte {
	switch {
	case k.hour < s.first:
		return hourKey(nil, s.table, k.app, s.first)
	case k.hour > s.last: // behind all hours of the app
		return append(hourKey(nil, s.table, k.app, math.MaxInt64), 0xff)
	}
	return nil
}

// parseKey takes apart the key of a cohort of the scan's table.
func (s *RateScan) parseKey(key []byte) (cohortKey, error) {
	app, width := binary.Uvarint(key[1:])
	if width <= 0 || app > math.MaxUint32 {
		return cohortKey{}, errCorrupt
	}
	return parseCohortKey(uint32(app), s.kind, key[1+width:])
}

// label is a cohort's; empty for none, and for one that is newer than the scan.
func (s *RateScan) label(k *cohortKey) string {
	if k.label == 0 || int(k.label) > len(s.at.labels) {
		return ""
	}
	return s.at.labels[k.label-1]
}

// visit counts a cohort, given as it is stored. Stored ones come in the order of hours.
func (s *RateScan) visit(k *cohortKey, value []byte, stored bool) error {
	if s.visited++; s.visited > s.maxCohorts {
		return ErrTooManyCohorts
	}
	x, err := readCohort(value, s.kind)
	if err != nil {
		return err
	}
	if s.q.Group != "" && s.q.Group != string(x.group) || s.q.Sender != "" && s.q.Sender != string(x.user) ||
		s.q.Label != "" && s.q.Label != s.label(k) {
		return nil
	}
	var row *rateRow
	switch s.q.By {
	case ByHour, ByDay, ByWeek, ByWeekHour:
		row, err = s.rowAt(k.hour, stored)
	case ByApp:
		if int(k.app) >= len(s.at.apps) {
			return nil // newer than the scan
		}
		row, err = s.row([]byte(s.at.apps[k.app].key))
	case ByGroup:
		if len(x.group) == 0 {
			return nil
		}
		row, err = s.row(x.group)
	case BySender:
		row, err = s.row(x.user)
	case ByLabel:
		label := s.label(k)
		if label == "" {
			return nil
		}
		row, err = s.row([]byte(label))
	default:
		return fmt.Errorf("rows by %d", s.q.By)
	}
	if row == nil || err != nil {
		return err
	}
	return row.add(&x, s.round == s.rounds)
}

// rowAt is the row of an hour.
func (s *RateScan) rowAt(hour int64, stored bool) (*rateRow, error) {
	c := &s.at
	if stored && c.row != nil && c.hour == hour {
		return c.row, nil
	}
	row, err := s.row([]byte(s.q.RowAt(hour * HourMillis)))
	if stored && err == nil {
		c.row, c.hour = row, hour
	}
	return row, err
}

// row returns the row of a key; nil if it is not wanted.
func (s *RateScan) row(key []byte) (*rateRow, error) {
	row := s.rows[string(key)]
	if row != nil || s.round == 2 || s.keys != nil && !s.keys[string(key)] {
		return row, nil
	}
	if len(s.rows) == s.maxRows {
		return nil, ErrTooManyCohorts
	}
	row = &rateRow{}
	s.rows[string(key)] = row
	return row, nil
}

func (r *rateRow) add(x *storedCohort, times bool) error {
	r.Add(x.counts())
	if !times {
		return nil
	}
	return x.eachBin(r.times.Add)
}

// list is what was counted, in no order and without percentiles.
func (s *RateScan) list() []RateRow {
	list := make([]RateRow, 0, len(s.rows))
	for key, r := range s.rows {
		list = append(list, RateRow{Key: key, CohortCounts: r.CohortCounts})
	}
	return list
}

// Page returns the answer, once Next has returned false.
func (s *RateScan) Page() (RatePage, error) {
	rows := make([]RateRow, 0, len(s.rows))
	for key, r := range s.rows {
		rows = append(rows, r.row(key, s.q.Bins))
	}
	if s.rounds == 1 {
		return s.q.Page(rows), nil
	}
	q := s.q
	q.Offset, q.MinMessages = 0, 0 // these are the wanted rows
	page := q.Page(rows)
	page.Total = s.total
	return page, nil
}

// row is what was counted, as a row of an answer.
func (r *rateRow) row(key string, bins bool) RateRow {
	row := RateRow{Key: key, CohortCounts: r.CohortCounts}
	row.SetTimes(&r.times)
	if bins {
		row.Bins = r.times.Bins()
	}
	return row
}
