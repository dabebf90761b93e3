package projections

import (
	"encoding/binary"
	"math"
	"slices"
)

// cohortKey names a cohort: the messages of one sender, in one conversation, in one hour. One without a conversation (they
// are numbered from 1) names the total of its app's hour.
type cohortKey struct {
	app, sender uint32 // sender is an ordinal
	conv        uint64
	hour        int64
}

// dayKey names the total of a day, by its first hour: that of a group has no user, that of a sender no conversation.
type dayKey struct {
	app  uint32
	hour int64
	conv uint64
	user string
}

// cohort is what the rollup holds of one cohort, or of all the cohorts of an app's hour or of the day of a group or sender.
//
// Of the tracked messages that were not recalled, each reader's time to read is in one bin. How many have read is
// the number of these times, and so it is how many had it delivered, but for the messages of single chats that were
// only delivered.
type cohort struct {
	node

	// The distribution. A few times are kept as they come, one by one, for most cohorts never have more; many as the
	// counts of a window of bins, the first of which is low. It comes first, beside the epoch and the total, because a
	// receipt needs no more of a cohort.
	few  []uint16
	many []uint32
	low  uint16

	kind CohortKind
	// changed: it is among those that TakeCohorts returns next.
	changed bool

	// total is that of the hour; nil for a total. days are those of the group and of the sender, if they are kept.
	total *cohort
	days  []*cohort

	messages, eligible, recalled, onlyDelivered uint64

	cohortKey
	// user is the sender, group is where, or in a single chat peer to whom; a total has what it is of.
	user, group, peer string
}

const (
	cohortCost = 256
	// maxFew bounds few: from there on a window takes hardly more memory than it and the messages' read sets.
	maxFew = 256
	// windowStep is what windows are rounded to.
	windowStep = 32
)

func (c *cohort) cacheNode() *node { return &c.node }
func (c *cohort) cost() int {
	return cohortCost + len(c.user) + len(c.group) + len(c.peer) + 8*cap(c.days) + 2*cap(c.few) + 4*cap(c.many)
}

func (c *cohort) dayKey() dayKey { return dayKey{app: c.app, hour: c.hour, conv: c.conv, user: c.user} }

func (c *cohort) forget(p *Partition) {
	switch c.kind {
	case GroupDay, SenderDay:
		delete(p.days, c.dayKey())
		return
	}
	delete(p.cohorts, c.cohortKey)
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

// counted are the cohorts that a message of the cohort is counted in: its own, and its totals.
func (c *cohort) counted(yield func(*cohort) bool) {
	if yield(c) {
		c.totals(yield)
	}
}

// add counts a time, unless the cohort has to grow for it.
func (c *cohort) add(bin uint16) bool {
	if i := uint(bin) - uint(c.low); i < uint(len(c.many)) {
		c.many[i]++
		return true
	}
	if n := len(c.few); n < cap(c.few) {
		c.few = c.few[:n+1]
		c.few[n] = bin
		return true
	}
	return false
}

// grow makes room and counts the time.
func (c *cohort) grow(bin uint16) {
	if c.many == nil && len(c.few) < maxFew {
		// There cannot be more times than eligible readers, and often there are nearly as many.
		more := max(4, len(c.few), min(int(c.eligible), maxFew)-len(c.few))
		c.few = append(append(make([]uint16, 0, min(len(c.few)+more, maxFew)), c.few...), bin)
		return
	}
	c.widen(bin)
	for _, b := range c.few {
		c.widen(b)
		c.many[b-c.low]++
	}
	c.few = nil
	c.many[bin-c.low]++
}

// widen has the window take in a bin.
func (c *cohort) widen(bin uint16) {
	first, end := bin-bin%windowStep, min(bin-bin%windowStep+windowStep, NumBins)
	if c.many == nil {
		c.many, c.low = make([]uint32, end-first), first
		return
	}
	low, high := c.low, c.low+uint16(len(c.many))
	if low <= first && end <= high {
		return
	}
	first, end = min(first, low), max(end, high)
	many := make([]uint32, end-first)
	copy(many[low-first:], c.many)
	c.many, c.low = many, first
}

// remove takes back a time that was counted.
func (c *cohort) remove(bin uint16) bool {
	if i := int(bin) - int(c.low); i >= 0 && i < len(c.many) && c.many[i] > 0 {
		c.many[i]--
		return true
	}
	i := slices.Index(c.few, bin)
	if i < 0 {
		return false
	}
	last := len(c.few) - 1
	c.few[i] = c.few[last]
	c.few = c.few[:last]
	return true
}

// eachBin calls f with the bins that are not empty, in order. It may change the order in which few are kept.
func (c *cohort) eachBin(f func(bin uint16, n uint64)) {
	slices.Sort(c.few)
	for i, n := 0, 0; i < len(c.few); i += n {
		for n = 1; i+n < len(c.few) && c.few[i+n] == c.few[i]; n++ {
		}
		f(c.few[i], uint64(n))
	}
	for i, n := range c.many {
		if n != 0 {
			f(c.low+uint16(i), uint64(n))
		}
	}
}

func (c *cohort) reads() uint64 {
	n := uint64(len(c.few))
	for _, k := range c.many {
		n += uint64(k)
	}
	return n
}

func (c *cohort) view(app string) Cohort {
	v := Cohort{Kind: c.kind, App: app, Hour: c.hour, Group: c.group, Peer: c.peer, Sender: c.user, CohortCounts: c.tally()}
	c.eachBin(func(bin uint16, n uint64) { v.Bins = append(v.Bins, BinCount{Bin: bin, Count: n}) })
	return v
}

func (c *cohort) tally() CohortCounts {
	reads := c.reads()
	return CohortCounts{
		Messages: c.messages, Eligible: c.eligible, Delivered: reads + c.onlyDelivered, Read: reads, Recalled: c.recalled,
	}
}

// encode appends the stored form: the numbers, among them that of the times, so that a query that only counts need
// not look at them; a cohort's names; then for each bin that is not empty how many lie between it and the one before, and
// its count unless it is one.
func (c *cohort) encode(dst []byte) []byte {
	for _, n := range []uint64{c.messages, c.eligible, c.recalled, c.onlyDelivered, c.reads()} {
		dst = binary.AppendUvarint(dst, n)
	}
	if c.kind == OneCohort {
		dst = appendString(appendString(appendString(dst, c.user), c.group), c.peer)
	}
	next := uint16(0)
	c.eachBin(func(bin uint16, n uint64) {
		tag := uint64(bin-next) << 1
		if n == 1 {
			dst = binary.AppendUvarint(dst, tag)
		} else {
			dst = binary.AppendUvarint(dst, tag|1)
			dst = binary.AppendUvarint(dst, n)
		}
		next = bin + 1
	})
	return dst
}

// storedCohort is a cohort's stored form, taken apart as far as its numbers.
type storedCohort struct {
	messages, eligible, recalled, onlyDelivered, reads uint64

	user, group, peer []byte

	bins []byte
}

func readCohort(v []byte, kind CohortKind) (s storedCohort, err error) {
	r := reader{b: v}
	for _, n := range []*uint64{&s.messages, &s.eligible, &s.recalled, &s.onlyDelivered, &s.reads} {
		*n = r.uvarint()
	}
	if kind == OneCohort {
		s.user, s.group, s.peer = r.bytes(), r.bytes(), r.bytes()
	}
	s.bins = r.b
	return s, r.err()
}

func (s *storedCohort) eachBin(f func(bin uint16, n uint64)) error {
	r := reader{b: s.bins}
	for next := uint64(0); len(r.b) > 0; {
		tag := r.uvarint()
		bin, n := next+tag>>1, uint64(1)
		if tag&1 != 0 {
			n = r.uvarint()
		}
		if r.bad || bin >= NumBins || n > math.MaxUint32 {
			return errCorrupt
		}
		f(uint16(bin), n)
		next = bin + 1
	}
	return nil
}

// decode takes over a stored form, but for the names.
func (c *cohort) decode(v []byte) error {
	s, err := readCohort(v, c.kind)
	if err != nil {
		return err
	}
	c.messages, c.eligible, c.recalled, c.onlyDelivered = s.messages, s.eligible, s.recalled, s.onlyDelivered
	if s.reads <= maxFew {
		c.few = make([]uint16, 0, s.reads)
	}
	sum := uint64(0)
	err = s.eachBin(func(bin uint16, n uint64) {
		sum += n
		if s.reads > maxFew {
			c.widen(bin)
			c.many[bin-c.low] = uint32(n)
			return
		}
		for ; n > 0 && len(c.few) < cap(c.few); n-- {
			c.few = append(c.few, bin)
		}
	})
	if err == nil && sum != s.reads {
		err = errCorrupt
	}
	return err
}
