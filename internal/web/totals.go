package web

import "github.com/receiptd/receiptd/projections"

// totals are the sums over the cohorts of some span of time.
type totals struct {
	projections.CohortCounts
	times projections.Distribution
	// bins are the reads by time to read; nil if the answer had none.
	bins map[uint16]uint64
}

func (c *totals) add(row *projections.RateRow) {
	c.CohortCounts.Add(row.CohortCounts)
	if c.bins == nil && len(row.Bins) > 0 {
		c.bins = map[uint16]uint64{}
	}
	for _, b := range row.Bins {
		c.times.Add(b.Bin, b.Count)
		c.bins[b.Bin] += b.Count
	}
}

// percentiles of the time to read in milliseconds; ok is false if nothing was read.
func (c *totals) percentiles() (p [3]float64, ok bool) {
	if c.times.Total() == 0 {
		return p, false
	}
	p[0], p[1], p[2] = c.times.Percentiles()
	return p, true
}

// reached is within which time so many tenths of the recipients have read; ok is false if the
// answer had no times.
func (c *totals) reached(tenths uint64) (within string, ok bool) {
	if c.times.Total() == 0 {
		return "", false
	}
	if ms := c.times.Reached(c.Eligible, tenths); ms != projections.NotYet {
		return millis(ms), true
	}
	return "not yet", true
}

// timeBounds are the bounds of a histogram of times to read, in milliseconds.
var timeBounds = []int64{
	10, 100, 1000, 5000, 15_000, 60_000, 300_000, 900_000, 3_600_000, 4 * 3_600_000, 12 * 3_600_000, 24 * 3_600_000, 3 * 24 * 3_600_000,
}

// bucket is a part of a histogram: the reads that took up to a time, and longer than those of the
// bucket before.
type bucket struct {
	label string
	reads uint64
}

// minBuckets are shown at least, even if all reads are in one.
const minBuckets = 5

// histogram has the reads by the time they took, without the empty buckets at either end. A bin of
// the distribution counts as a whole where it begins.
func (c *totals) histogram() []bucket {
	buckets := make([]bucket, len(timeBounds)+1)
	for i, ms := range timeBounds {
		buckets[i].label = millis(float64(ms))
	}
	buckets[len(timeBounds)].label = "more"
	for bin, n := range c.bins {
		k := 0
		for k < len(timeBounds) && projections.BinMillis(bin) > timeBounds[k] {
			k++
		}
		buckets[k].reads += n
	}
	for len(buckets) > minBuckets && buckets[len(buckets)-1].reads == 0 {
		buckets = buckets[:len(buckets)-1]
	}
	for len(buckets) > minBuckets && buckets[0].reads == 0 {
		buckets = buckets[1:]
	}
	return buckets
}
