package oracle

import (
	"time"

	"github.com/receiptd/receiptd/events"
)

// Clock, positions, outcomes: the fold's clock.

// clock is T, and what is remembered of how it got there.
type clock struct {
	t     int64
	steps []stretch
	wrong []stretch
}

// stretch is the time between two times that T had one after the other.
type stretch struct{ from, to int64 }

const anHour = int64(time.Hour / time.Millisecond)

// firstTime is when the first entry may be said to come at once.
var firstTime = time.Date(2020, time.January, 1, 0, 0, 0, 0, time.UTC).UnixMilli()

// tick moves T with an entry. It reports whether T was taken back.
func (c *clock) tick(at int64) bool {
	if at < c.t-anHour {
		for i := len(c.steps) - 1; i >= 0; i-- {
			step := c.steps[i]
			if at >= step.from-anHour && at < step.to-anHour {
				before := c.t
				c.steps = c.steps[:i:i]
				c.t = step.from
				c.moveOn(at)
				c.wrong = append(c.wrong, stretch{c.t, before})
				if len(c.wrong) > events.MaxClockSkips {
					c.wrong = c.wrong[1:]
				}
				return true
			}
		}
	}
	c.moveOn(at)
	return false
}

func (c *clock) moveOn(at int64) {
	since := max(c.t, firstTime)
	if at > since+anHour {
		c.steps = append(c.steps, stretch{since, at})
		if len(c.steps) > events.MaxClockSkips {
			c.steps = c.steps[1:]
		}
	}
	if at > c.t {
		c.t = at
	}
}

// age of a message that was sent at a time.
func (c *clock) age(sentAt int64) int64 {
	if sentAt > c.t {
		for _, w := range c.wrong {
			if sentAt > w.from && sentAt <= w.to {
				return c.t - w.from
			}
		}
	}
	return c.t - sentAt
}
