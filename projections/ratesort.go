package projections

import (
	"cmp"
	"slices"
)

// RateSort is the order of the rows of an answer: the largest first, but for keys and times.
type RateSort uint8

// What rows can be sorted by. Rows that are equal in it are in the order of their keys.
const (
	SortUsual RateSort = iota // rows in time by key, others by messages
	SortKey
	SortMessages
	SortEligible
	SortDelivered
	SortRead
	SortNotRead // eligible readers who have not
	SortRecalled
	SortRate // a row without anybody eligible has none, and is last either way
	SortP50  // of the readers; a row without one is last either way, here and below
	SortP90
	SortP99
	SortR50 // of the recipients
	SortR90
)

// OfTimes reports whether the order depends on the times to read.
func (s RateSort) OfTimes() bool { return s >= SortP50 }

// RatePage is a part of the rows of an answer.
type RatePage struct {
	Rows []RateRow
	// Total is how many rows there are in all parts.
	Total int
}

// Page puts rows in the order of the query and leaves out those that it does not want.
func (q *RateQuery) Page(rows []RateRow) RatePage {
	rows = slices.DeleteFunc(rows, func(r RateRow) bool { return r.Messages < q.MinMessages || !q.wants(r.Key) })
	sort := q.Sort
	if sort == SortUsual {
		sort = SortMessages
		if q.By.InTime() {
			sort = SortKey
		}
	}
	slices.SortFunc(rows, func(a, b RateRow) int { return q.compare(sort, &a, &b) })
	from := min(max(q.Offset, 0), len(rows))
	return RatePage{Rows: rows[from:min(len(rows), from+q.Limit)], Total: len(rows)}
}

// wants reports whether a row with the key is one of those that the query keeps.
func (q *RateQuery) wants(key string) bool { return q.Keys == nil || slices.Contains(q.Keys, key) }

func (q *RateQuery) compare(sort RateSort, a, b *RateRow) (c int) {
	x, xThere := a.valueOf(sort)
	y, yThere := b.valueOf(sort)
	if xThere != yThere {
		if xThere {
			return -1
		}
		return 1
	}
	if c = cmp.Compare(x, y); !sort.OfTimes() {
		c = -c
	}
	if q.Reverse {
		c = -c
	}
	if c != 0 {
		return c
	}
	if c = cmp.Compare(a.Key, b.Key); sort == SortKey && q.Reverse {
		c = -c
	}
	return c
}

// valueOf is the number or the time in milliseconds that rows are sorted by, if the row has it; all
// are equal where it is the key.
func (r *RateRow) valueOf(sort RateSort) (value float64, there bool) {
	switch sort {
	case SortMessages:
		return float64(r.Messages), true
	case SortEligible:
		return float64(r.Eligible), true
	case SortDelivered:
		return float64(r.Delivered), true
	case SortRead:
		return float64(r.Read), true
	case SortNotRead:
		return float64(r.Eligible - r.Read), true
	case SortRecalled:
		return float64(r.Recalled), true
	case SortRate:
		return r.Rate(), r.Eligible > 0
	case SortP50:
		return r.P50, r.Read > 0
	case SortP90:
		return r.P90, r.Read > 0
	case SortP99:
		return r.P99, r.Read > 0
	case SortR50:
		return r.R50, r.R50 != NotYet
	case SortR90:
		return r.R90, r.R90 != NotYet
	}
	return 0, true
}

// RateSums adds up rows that stand for parts of the rows of an answer.
type RateSums struct {
	q    RateQuery
	rows map[string]*rateRow
}

// NewRateSums makes sums of nothing for a query with rows that stand for times.
func NewRateSums(q RateQuery) *RateSums { return &RateSums{q, map[string]*rateRow{}} }

// Add adds a row, which has its bins, of what was sent in the hour or the quarter of an hour that
// begins at a time in Unix milliseconds.
func (s *RateSums) Add(ms int64, r *RateRow) {
	key := s.q.RowAt(ms)
	to := s.rows[key]
	if to == nil {
		to = &rateRow{}
		s.rows[key] = to
	}
	to.Add(r.CohortCounts)
	for _, b := range r.Bins {
		to.times.Add(b.Bin, b.Count)
	}
}

// Page is the answer.
func (s *RateSums) Page() RatePage {
	rows := make([]RateRow, 0, len(s.rows))
	for key, r := range s.rows {
		rows = append(rows, r.row(key, s.q.Bins))
	}
	return s.q.Page(rows)
}
