package projections

import "slices"

// cohortKey names a cohort: the messages of one sender, in one conversation, in one hour, with one
// label, by its number, or without one. One
// without a conversation (they are numbered from 1) names the total of its app's hour.
type cohortKey struct {
	app, sender uint32 // sender is an ordinal
	conv        uint64
	label       uint16
	hour        int64
}

// dayKey names the total of a day, by its first hour: that of a group has no user, that of a sender
// no conversation.
type dayKey struct {
	app  uint32
	hour int64
	conv uint64
	user string
}

// cohort is what the rollup holds of one cohort, or of a total: all cohorts of an app's hour, or of
// the day of a group or sender.
//
// Of the tracked messages that were not recalled, each reader's time to read is in one bin. How
// many have read is the number of these times, and of the readers of counted messages, whose times
// are not kept; and so is how many had the message delivered, but for the messages of single chats
// that were only delivered.
type cohort struct {
	node

	// The distribution of the times. Up to maxSparse are listed one by one, for most cohorts never
	// have more; beyond that they are the counts of a window of bins that begins with denseFrom.
	// The distribution comes first, beside the epoch and the total, because a receipt needs no more
	// of a cohort.
	sparse    []uint16
	dense     []uint32
	denseFrom uint16

	kind CohortKind
	// tapped: it is among those that TakeCohorts returns next.
	tapped bool

	// total is the total of the hour; nil for a total. days are the days of the sender and of the
	// group, if they are kept.
	total *cohort
	days  []*cohort

	messages, eligible, recalled, onlyDelivered, untimed uint64

	cohortKey
	// user is the sender, group the group or, in a single chat, peer the receiver. A total has what
	// it is the total of.
	user, group, peer string
}

const (
	cohortCost = 256
	// maxSparse bounds the times that are listed: from there on a window of counts takes hardly
	// more memory than they and the messages' read sets.
	maxSparse = 256
	// denseStep is what windows are rounded to.
	denseStep = 32
)

func (c *cohort) cacheNode() *node { return &c.node }
func (c *cohort) cost() int {
	return cohortCost + len(c.user) + len(c.group) + len(c.peer) + 8*cap(c.days) + 2*cap(c.sparse) + 4*cap(c.dense)
}

func (c *cohort) dayKey() dayKey {
	return dayKey{app: c.app, hour: c.hour, conv: c.conv, user: c.user}
}

func (c *cohort) forget(from *cache) {
	switch c.kind {
	case GroupDay, SenderDay:
		delete(from.totalByDay, c.dayKey())
		return
	}
	delete(from.cohortByKey, c.cohortKey)
	if c.kind == OneCohort {
		for x := range c.totals {
			x.refs--
		}
	}
}

// totals are those that a cohort is part of.
func (c *cohort) totals(yield func(*cohort) bool) {
	if !yield(c.total) {
		return
	}
	for _, x := range c.days {
		if !yield(x) {
			return
		}
	}
}

// withTotals are the cohort and its totals: all that its messages are counted in.
func (c *cohort) withTotals(yield func(*cohort) bool) {
	if yield(c) {
		c.totals(yield)
	}
}

// add counts a time, unless the cohort has to grow for it.
func (c *cohort) add(bin uint16) bool {
	if i := uint(bin) - uint(c.denseFrom); i < uint(len(c.dense)) {
		c.dense[i]++
		return true
	}
	if n := len(c.sparse); n < cap(c.sparse) {
		c.sparse = c.sparse[:n+1]
		c.sparse[n] = bin
		return true
	}
	return false
}

// grow makes room and counts the time.
func (c *cohort) grow(bin uint16) {
	if c.dense == nil && len(c.sparse) < maxSparse {
		// There cannot be more times than eligible readers, and often there are nearly as many.
		more := max(4, len(c.sparse), min(int(c.eligible), maxSparse)-len(c.sparse))
		c.sparse = append(append(make([]uint16, 0, min(len(c.sparse)+more, maxSparse)), c.sparse...), bin)
		return
	}
	c.widen(bin)
	for _, b := range c.sparse {
		c.widen(b)
		c.dense[b-c.denseFrom]++
	}
	c.sparse = nil
	c.dense[bin-c.denseFrom]++
}

// widen makes the window include a bin.
func (c *cohort) widen(bin uint16) {
	first, end := bin-bin%denseStep, min(bin-bin%denseStep+denseStep, NumBins)
	if c.dense == nil {
		c.dense, c.denseFrom = make([]uint32, end-first), first
		return
	}
	low, high := c.denseFrom, c.denseFrom+uint16(len(c.dense))
	if low <= first && end <= high {
		return
	}
	first, end = min(first, low), max(end, high)
	dense := make([]uint32, end-first)
	copy(dense[low-first:], c.dense)
	c.dense, c.denseFrom = dense, first
}

// remove takes back a time that was counted, and reports whether it was.
func (c *cohort) remove(bin uint16) bool {
	if i := int(bin) - int(c.denseFrom); i >= 0 && i < len(c.dense) && c.dense[i] > 0 {
		c.dense[i]--
		return true
	}
	i := slices.Index(c.sparse, bin)
	if i < 0 {
		return false
	}
	last := len(c.sparse) - 1
	c.sparse[i] = c.sparse[last]
	c.sparse = c.sparse[:last]
	return true
}

// eachBin calls f with the bins that are not empty, in order. It may change the order in which
// times are listed.
func (c *cohort) eachBin(f func(bin uint16, n uint64)) {
	slices.Sort(c.sparse)
	for i, n := 0, 0; i < len(c.sparse); i += n {
		for n = 1; i+n < len(c.sparse) && c.sparse[i+n] == c.sparse[i]; n++ {
		}
		f(c.sparse[i], uint64(n))
	}
	for i, n := range c.dense {
		if n != 0 {
			f(c.denseFrom+uint16(i), uint64(n))
		}
	}
}

func (c *cohort) reads() uint64 {
	n := c.untimed + uint64(len(c.sparse))
	for _, k := range c.dense {
		n += uint64(k)
	}
	return n
}

func (c *cohort) counts() CohortCounts {
	reads := c.reads()
	return CohortCounts{
		Messages: c.messages, Eligible: c.eligible, Delivered: reads + c.onlyDelivered, Read: reads, Recalled: c.recalled,
	}
}

func (c *cohort) view(a *app) Cohort {
	v := Cohort{
		Kind: c.kind, App: a.key, Hour: c.hour, Group: c.group, Peer: c.peer, Sender: c.user, Label: a.labels.name(c.label),
		CohortCounts: c.counts(),
	}
	c.eachBin(func(bin uint16, n uint64) { v.Bins = append(v.Bins, BinCount{Bin: bin, Count: n}) })
	return v
}
