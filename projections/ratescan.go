package projections

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
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
//	rows, err := s.Rows()
//
// Rows by group and by sender take two rounds: the first finds out which rows are wanted, the
// second makes these. What is folded meanwhile may or may not be in the answer.
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

	round   int
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
	app     uint32
	changed []*cohort              // those that changed and are still to be visited
	seen    map[cohortKey]struct{} // those in it, now or before
	next    []byte                 // the stored key to go on with
	end     []byte
	buf     []byte

	// By hours or days: the row of the last stored cohort, where it begins, and how many rows the
	// stored cohorts have made.
	row   *rateRow
	begin int64
	rows  int
}

const (
	defaultStepChanged = 64
	defaultStepStored  = 8192
	// maxRateRows bounds the memory of the first round.
	maxRateRows = 500_000
)

// NewRateScan makes a scan that has seen nothing yet.
func NewRateScan(q RateQuery) *RateScan {
	s := &RateScan{
		q: q, table: tableCohort, stepChanged: defaultStepChanged, stepStored: defaultStepStored,
		maxCohorts: maxRateCohorts, maxRows: maxRateRows,
	}
	s.first, s.last = q.Hours()
	if q.By.InTime() && q.Group == "" && q.Sender == "" {
		s.table, s.kind = tableHour, HourTotal
	}
	return s
}

// Next begins the next round, if there is to be one, in which every partition is gone through once.
func (s *RateScan) Next() bool {
	s.round++
	s.visited, s.at = 0, scanCursor{}
	switch {
	case s.round > 2 || s.first > s.last || s.q.By.InTime() && s.round > 1:
		return false
	case s.round == 2:
		wanted := map[string]*rateRow{}
		for _, r := range SortRates(s.q, s.list()) {
			wanted[r.Key] = &rateRow{}
		}
		s.rows = wanted
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
// not know the app.
//
// What is not in the backing yet, and still to be visited, is gathered first. Everything else is in
// the backing from here on, whatever is committed meanwhile, and what is found there again has been
// seen.
func (s *RateScan) enter(p *Partition) bool {
	var a *app
	var unstored []*cohort
	p.mu.Lock()
	if a = p.apps.byKey[s.q.App]; a != nil {
		unstored = slices.Concat(p.changes.cohorts, p.changes.capturedCohorts)
	}
	p.mu.Unlock()
	if a == nil {
		return false
	}
	// What a cohort is called does not change, so this needs no lock.
	c := &s.at
	if c.part == nil {
		c.app, c.seen = a.num, map[cohortKey]struct{}{}
		c.next = hourKey(nil, s.table, a.num, s.first)
		c.end = hourKey(nil, s.table, a.num, s.last+1)
	}
	c.part = p
	for _, x := range unstored {
		c.buf = x.key(c.buf[:0])
		if bytes.Compare(c.buf, c.next) < 0 || bytes.Compare(c.buf, c.end) >= 0 {
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
		if err := s.visit(x.hour, c.buf, false); err != nil {
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
		if _, seen := c.seen[k]; seen {
			return nil
		}
		return s.visit(k.hour, value, true)
	})
	switch {
	case errors.Is(err, errStep):
		return false, nil
	case errors.Is(err, errRowsFull):
		return true, nil
	}
	return true, err
}

// parseKey takes apart the key of a cohort of the scan's app and table.
func (s *RateScan) parseKey(key []byte) (cohortKey, error) {
	prefix := len(s.at.end) - 8
	if len(key) < prefix+8 {
		return cohortKey{}, errCorrupt
	}
	r := reader{b: key[prefix+8:]}
	k := cohortKey{app: s.at.app, hour: int64(binary.BigEndian.Uint64(key[prefix:]) ^ 1<<63)}
	if s.kind == OneCohort {
		k.conv, k.sender = r.uvarint(), uint32(r.uvarint())
	}
	return k, r.err()
}

// errRowsFull ends a partition whose later hours cannot be in the answer.
var errRowsFull = errors.New("enough rows")

// visit counts a cohort, given as it is stored. Stored ones come in the order of hours.
func (s *RateScan) visit(hour int64, value []byte, stored bool) error {
	if s.visited++; s.visited > s.maxCohorts {
		return ErrTooManyCohorts
	}
	x, err := readCohort(value, s.kind)
	if err != nil {
		return err
	}
	if s.q.Group != "" && s.q.Group != string(x.group) || s.q.Sender != "" && s.q.Sender != string(x.user) {
		return nil
	}
	var row *rateRow
	switch s.q.By {
	case ByHour:
		return s.visitTime(hour, &x, stored)
	case ByDay:
		return s.visitTime(dayOf(hour), &x, stored)
	case ByGroup:
		if len(x.group) == 0 {
			return nil
		}
		row, err = s.row(x.group)
	case BySender:
		row, err = s.row(x.user)
	default:
		return fmt.Errorf("rows by %d", s.q.By)
	}
	if row == nil || err != nil {
		return err
	}
	return row.add(&x, s.round == 2)
}

// visitTime counts a cohort in the row of the hour or day that begins with the given hour.
func (s *RateScan) visitTime(begin int64, x *storedCohort, stored bool) error {
	c := &s.at
	if stored && c.row != nil && c.begin == begin {
		return c.row.add(x, true)
	}
	if stored && c.rows == s.q.Limit {
		return errRowsFull
	}
	row, err := s.row([]byte(HourKey(begin)))
	if err != nil {
		return err
	}
	if stored {
		c.rows++
		c.begin, c.row = begin, row
	}
	return row.add(x, true)
}

// row returns the row of a key; nil if it is not wanted in the second round.
func (s *RateScan) row(key []byte) (*rateRow, error) {
	row := s.rows[string(key)]
	if row != nil || s.round == 2 {
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

// Rows returns the answer, once Next has returned false.
func (s *RateScan) Rows() ([]RateRow, error) {
	rows := SortRates(s.q, s.list())
	for i := range rows {
		r := &rows[i]
		r.P50, r.P90, r.P99 = s.rows[r.Key].times.Percentiles()
		if s.q.Bins {
			r.Bins = s.rows[r.Key].times.Bins()
		}
	}
	return rows, nil
}
