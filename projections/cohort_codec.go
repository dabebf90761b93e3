package projections

import (
	"encoding/binary"
	"math"
)

// key appends the cohort's key in the state.
func (c *cohort) key(dst []byte) []byte {
	switch c.kind {
	case HourTotal:
		return hourKey(dst, tableHour, c.app, c.hour)
	case GroupDay:
		return binary.AppendUvarint(hourKey(dst, tableGroupDay, c.app, c.hour), c.conv)
	case SenderDay:
		return appendID(hourKey(dst, tableSenderDay, c.app, c.hour), c.user)
	}
	dst = binary.AppendUvarint(hourKey(dst, tableCohort, c.app, c.hour), c.conv)
	dst = binary.AppendUvarint(dst, uint64(c.sender))
	if c.label != 0 {
		dst = binary.AppendUvarint(dst, uint64(c.label))
	}
	return dst
}

// parseCohortKey takes apart what follows the app in the key of a cohort, or of the total of
// an hour.
func parseCohortKey(app uint32, kind CohortKind, rest []byte) (cohortKey, error) {
	r := reader{b: rest}
	k := cohortKey{app: app, hour: int64(r.uint64() ^ 1<<63)}
	if kind == OneCohort {
		k.conv, k.sender = r.uvarint(), uint32(r.uvarint())
		if len(r.b) > 0 {
			k.label = uint16(r.uvarint())
		}
	}
	return k, r.err()
}

// encode appends the stored layout: the numbers, among them that of the reads, so that a query that
// only counts need not look at their times; a cohort's names; then for each bin that is not empty
// how many lie between it and the one before, and its count unless it is one.
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

// storedCohort is a stored value, taken apart except for the times.
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

func (s *storedCohort) counts() CohortCounts {
	return CohortCounts{
		Messages: s.messages, Eligible: s.eligible, Delivered: s.reads + s.onlyDelivered, Read: s.reads, Recalled: s.recalled,
	}
}

// decode takes over a stored value, except for the names.
func (c *cohort) decode(v []byte) error {
	s, err := readCohort(v, c.kind)
	if err != nil {
		return err
	}
	c.messages, c.eligible, c.recalled, c.onlyDelivered = s.messages, s.eligible, s.recalled, s.onlyDelivered
	times := uint64(0)
	if err := s.eachBin(func(_ uint16, n uint64) { times += n }); err != nil {
		return err
	}
	if times > s.reads {
		return errCorrupt
	}
	c.untimed = s.reads - times
	if times <= maxSparse {
		c.sparse = make([]uint16, 0, times)
	}
	return s.eachBin(func(bin uint16, n uint64) {
		if times > maxSparse {
			c.widen(bin)
			c.dense[bin-c.denseFrom] = uint32(n)
			return
		}
		for ; n > 0 && len(c.sparse) < cap(c.sparse); n-- {
			c.sparse = append(c.sparse, bin)
		}
	})
}
