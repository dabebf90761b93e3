package projections

import (
	"encoding/binary"
	"slices"

	"github.com/receiptd/receiptd/events"
)

// clock is the fold's clock: docs/rules.md, "Clock, positions, outcomes". It is decided from the
// entries of the partition alone.
type clock struct {
	now int64 // T
	// skips are the latest steps over more than events.ClockStep, in their order. Only what T has
	// passed over in one of them can it go back to.
	skips []timeSpan
	// wrong are the latest times that T was taken back from: what it was then, and what it became.
	wrong []timeSpan
	// setBack is how often T was taken back.
	setBack uint64
	// changed is set when anything but now has changed since it was stored.
	changed bool
}

// timeSpan is the time from one millisecond to a later one.
type timeSpan struct{ from, to int64 }

// advance moves on to the time of an entry, and reports whether that took the clock back.
func (c *clock) advance(at int64) (back bool) {
	step := events.ClockStep.Milliseconds()
	if at < c.now-step {
		for i := len(c.skips) - 1; i >= 0; i-- {
			if x := c.skips[i]; x.from-step <= at && at < x.to-step {
				c.takeBack(i, at)
				return true
			}
		}
	}
	c.forward(at)
	return false
}

// forward moves on to a later time.
func (c *clock) forward(at int64) {
	if from := max(c.now, events.ClockStart); at-from > events.ClockStep.Milliseconds() {
		c.skips = latest(append(c.skips, timeSpan{from, at}))
		c.changed = true
	}
	c.now = max(c.now, at)
}

// takeBack refutes a skip and those after it.
func (c *clock) takeBack(skip int, at int64) {
	was := c.now
	c.now, c.skips = c.skips[skip].from, c.skips[:skip]
	c.forward(at)
	c.wrong = latest(append(c.wrong, timeSpan{c.now, was}))
	c.setBack++
	c.changed = true
}

// latest are as many of the last spans as are kept.
func latest(list []timeSpan) []timeSpan {
	if n := len(list) - events.MaxClockSkips; n > 0 {
		list = slices.Delete(list, 0, n)
	}
	return list
}

// age is how long ago something happened that the clock was at then: never less than nothing. What
// happened while the clock was wrong counts from when it was taken back.
func (c *clock) age(at int64) int64 {
	if at > c.now {
		for _, x := range c.wrong {
			if x.from < at && at <= x.to {
				at = x.from
				break
			}
		}
	}
	return c.now - at
}

// encode appends what is stored beside now.
func (c *clock) encode(dst []byte) []byte {
	dst = encodeSpans(encodeSpans(dst, c.skips), c.wrong)
	return binary.AppendUvarint(dst, c.setBack)
}

// loadClock reads what is stored beside now: nothing, by a version that did not remember steps.
func (p *Partition) loadClock() error {
	v, err := p.back.Get(append(p.scratch.key(), tableClock))
	if v == nil || err != nil {
		return err
	}
	c, r := &p.position.clock, reader{b: v}
	c.skips, c.wrong = decodeSpans(&r), decodeSpans(&r)
	c.setBack = r.uvarint()
	return r.err()
}

func encodeSpans(dst []byte, list []timeSpan) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, x := range list {
		dst = appendInt(appendInt(dst, x.from), x.to)
	}
	return dst
}

func decodeSpans(r *reader) (list []timeSpan) {
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		list = append(list, timeSpan{r.varint(), r.varint()})
	}
	return list
}

// clockBack is what a clock that was taken back does to what counts from a time: nothing has
// waited, and no event is known, since later than now.
func (p *Partition) clockBack() {
	now := p.position.clock.now
	for _, a := range p.apps.byNum {
		for _, r := range a.parked.arrivals {
			if r == nil || r.left || r.at <= now {
				continue
			}
			p.changes.undo(r.put, parkedKey(p.scratch.key(), a.num, r.seq, r.index))
			r.at = now
			r.put = p.changes.putFirst(parkedKey(p.scratch.key(), a.num, r.seq, r.index), r.encode(nil))
		}
	}
	p.repeats.clockBack(now)
}
