package eventlog

import "time"

// The queue of a partition holds what is under way and what goes into the next entry, and little
// more: whoever comes waits for all of it, and a deeper queue stores nothing sooner. So its depth
// is a time: what an entry takes at least, twice, and a bit, at the rate at which entries are
// stored. What an entry takes at least is the disk's; what it takes beyond that grows with
// the entry.
//
// A tenant who is alone has nobody to hold up, and more of its events in an entry cost less: 0.53
// instead of 0.62 s of processor time a million receipts at full load. For it the queue is deeper.
const (
	depthEntries = 2
	depthBeside  = 5 * time.Millisecond
	depthAlone   = 30 * time.Millisecond
	// aloneAfter is how long the events of others count after they came.
	aloneAfter = 10 * time.Second
	// depthMin is enough for entries that are as large as pays.
	depthMin = 3 << 19
	// depthSmooth is how many entries count for the rate, about.
	depthSmooth = 8
	// depthWindow is for how long an entry counts that took little, at least.
	depthWindow = 2 * time.Second
)

// depth measures how deep the queue should be.
type depth struct {
	ended time.Time // when the last entry was stored
	rate  float64   // bytes of the queue that are stored in a second

	// least is what an entry of this window took at least, before one of the window before.
	least, before time.Duration
	began         time.Time // the window
}

// stored counts an entry of n bytes of the queue, and returns how many the queue should hold for
// one tenant alone, or for several.
func (d *depth) stored(n int64, took time.Duration, now time.Time, alone bool) (bytes int64) {
	span := max(took, now.Sub(d.ended), time.Microsecond)
	d.ended = now
	d.rate += (float64(n)/span.Seconds() - d.rate) / depthSmooth
	if now.Sub(d.began) >= depthWindow {
		d.before, d.least, d.began = d.least, took, now
	}
	d.least = min(d.least, took)
	least := d.least
	if d.before > 0 {
		least = min(least, d.before)
	}
	beside := depthBeside
	if alone {
		beside = depthAlone
	}
	bytes = int64(d.rate * (depthEntries*least + beside).Seconds())
	return min(max(bytes, depthMin), maxQueuedBytes)
}

// tenantMix knows whether events come for more than one tenant.
type tenantMix struct {
	last  []byte    // whose events came last; nil = none did
	since time.Time // that they are not those of another one
}

// came notes the app of events that came.
func (c *tenantMix) came(app string) {
	if app == string(c.last) {
		return
	}
	if c.last != nil {
		c.since = time.Now()
	}
	c.last = append(c.last[:0], app...)
}

// alone reports whether all events have been for one tenant for a while.
func (c *tenantMix) alone(now time.Time) bool { return now.Sub(c.since) >= aloneAfter }
