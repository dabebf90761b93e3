package projections

import (
	"bytes"
	"errors"
)

// sums adds the cohorts up again that are left of each total.
func (s *splitter) sums() error {
	return errors.Join(s.sumTable(tableHour, HourTotal), s.sumTable(tableGroupDay, GroupDay), s.sumTable(tableSenderDay, SenderDay))
}

func (s *splitter) sumTable(table byte, kind CohortKind) error {
	var of cohortKey // the hour, or day, that left is of
	var left map[dayKey]*cohort
	return s.p.back.Range([]byte{table}, []byte{table + 1}, func(key, _ []byte) error {
		r := reader{b: key[1:]}
		a, err := s.app(&r)
		if err != nil {
			return err
		}
		x := &cohort{kind: kind, cohortKey: cohortKey{app: a.num, hour: int64(r.uint64() ^ 1<<63)}}
		switch kind {
		case GroupDay:
			x.conv = r.uvarint()
		case SenderDay:
			x.user = string(bytes.TrimSuffix(r.b, []byte{0}))
		}
		if r.bad {
			return errCorrupt
		}
		if now := (cohortKey{app: x.app, hour: x.hour}); left == nil || now != of {
			if left, err = s.leftOf(now, kind); err != nil {
				return err
			}
			of = now
		}
		if y := left[x.dayKey()]; y != nil {
			x = y
			s.out.put(x.key(s.p.scratch.key()), x.encode(nil))
		} else {
			s.out.del(key)
		}
		// That of a group is of one partition, and as it was.
		if kind != GroupDay && s.totals != nil {
			s.cohort = append(s.cohort, x.view(a))
			if err := s.handOn(splitTotals); err != nil {
				return err
			}
		}
		return s.flush(splitRows)
	})
}

// leftOf adds up what is left of an hour, or of a day.
func (s *splitter) leftOf(of cohortKey, kind CohortKind) (map[dayKey]*cohort, error) {
	hours := int64(1)
	if kind != HourTotal {
		hours = 24
	}
	left := map[dayKey]*cohort{}
	from := hourKey(nil, tableCohort, of.app, of.hour)
	end := hourKey(nil, tableCohort, of.app, of.hour+hours)
	err := s.p.back.Range(from, end, func(key, value []byte) error {
		k, err := parseCohortKey(of.app, OneCohort, key[len(from)-8:])
		if err != nil {
			return err
		}
		c := &cohort{kind: OneCohort, cohortKey: k}
		if err := c.decode(value); err != nil {
			return err
		}
		names, err := readCohort(value, OneCohort)
		if err != nil {
			return err
		}
		x := &cohort{kind: kind, cohortKey: of}
		switch kind {
		case GroupDay:
			if x.conv, x.group = k.conv, string(names.group); x.group == "" {
				return nil
			}
		case SenderDay:
			x.user = string(names.user)
		}
		if y := left[x.dayKey()]; y != nil {
			x = y
		} else {
			left[x.dayKey()] = x
		}
		x.addUp(c)
		return nil
	})
	return left, err
}

// addUp adds the numbers of a cohort to a total.
func (c *cohort) addUp(x *cohort) {
	c.messages += x.messages
	c.eligible += x.eligible
	c.recalled += x.recalled
	c.onlyDelivered += x.onlyDelivered
	c.untimed += x.untimed
	x.eachBin(func(bin uint16, n uint64) {
		c.widen(bin)
		c.dense[bin-c.denseFrom] += uint32(n)
	})
}
