package eventlog

import "time"

// The queue of a partition holds what is under way and what goes into the next entry, and little
// more: whoever comes waits for all of it, and a deeper queue stores nothing sooner. So its depth
// is a time: what an entry takes at least, twice, and a bit, at the rate at which entries are
// stored. What an entry takes at least is the disk's; what it takes beyond that grows with
// the entry.
const (
	depthEntries = 2
	depthBeside  = 5 * time.Millisecond
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

// stored counts an entry of n bytes of the queue, and returns how many the queue should hold.
func (d *depth) stored(n int64, took time.Duration, now time.Time) (bytes int64) {
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
	bytes = int64(d.rate * (depthEntries*least + depthBeside).Seconds())
	return min(max(bytes, depthMin), maxQueuedBytes)
}
