package projections

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// RateRound is one round of a [RateScan], for partitions that are gone through in another process.
type RateRound struct {
	// Query has no Zone; Zone is its name.
	Query RateQuery
	Zone  string `json:",omitempty"`
	Round int
	// Wanted are the rows that the second round makes.
	Wanted []string `json:",omitempty"`
}

// RateShare is what such partitions have for a round.
type RateShare struct {
	Rows    []RateShareRow
	Visited int
}

// RateShareRow is their part of a row.
type RateShareRow struct {
	Key string
	CohortCounts
	Bins []BinCount `json:",omitempty"`
}

// At is the round that is under way.
func (s *RateScan) At() RateRound {
	r := RateRound{Query: s.q, Round: s.round}
	if s.q.Zone != nil {
		r.Zone, r.Query.Zone = s.q.Zone.String(), nil
	}
	if s.round == 2 {
		r.Wanted = slices.Sorted(maps.Keys(s.rows))
	}
	return r
}

// Scan makes a scan of that round only: partitions are stepped through, and [RateScan.Share] has
// what they had.
func (r RateRound) Scan() (*RateScan, error) {
	q := r.Query
	if r.Zone != "" {
		zone, err := time.LoadLocation(r.Zone)
		if err != nil {
			return nil, fmt.Errorf("projections: the zone of a scan: %w", err)
		}
		q.Zone = zone
	}
	s := NewRateScan(q)
	if r.Round < 1 || r.Round > s.rounds || s.first > s.last || len(r.Wanted) > s.maxRows {
		return nil, fmt.Errorf("projections: a scan has no round %d", r.Round)
	}
	s.round, s.rows = r.Round, map[string]*rateRow{}
	for _, key := range r.Wanted {
		s.rows[key] = &rateRow{}
	}
	return s, nil
}

// Share is what the partitions had that were stepped through in this round.
func (s *RateScan) Share() RateShare {
	x := RateShare{Visited: s.visited}
	for key, r := range s.rows {
		x.Rows = append(x.Rows, RateShareRow{key, r.CohortCounts, r.times.Bins()})
	}
	return x
}

// Add takes what partitions had elsewhere, as if they had been stepped through here.
func (s *RateScan) Add(x RateShare) error {
	if s.visited += max(0, x.Visited); s.visited > s.maxCohorts {
		return ErrTooManyCohorts
	}
	for i := range x.Rows {
		from := &x.Rows[i]
		row, err := s.row([]byte(from.Key))
		if err != nil {
			return err
		}
		if row == nil {
			continue
		}
		row.CohortCounts.Add(from.CohortCounts)
		for _, b := range from.Bins {
			if b.Bin >= NumBins {
				return fmt.Errorf("projections: there is no bin %d", b.Bin)
			}
			row.times.Add(b.Bin, b.Count)
		}
	}
	return nil
}
