package admission

import "time"

// Tuning of the measured rate.
const (
	rateWindow = 100 * time.Millisecond
	// rateAtFirst is believed before anything was measured, in bytes a second.
	rateAtFirst = 32 << 20
	rateMin     = 64 << 10
)

// drainRate is how fast the queue drains, in bytes a second. While nothing waits, what drains is
// what comes, which says only that it is no less.
type drainRate struct {
	rate  float64
	since time.Time // of the window
	bytes int64     // drained in it
	idle  bool      // the queue was empty in it for a moment
}

// drained counts what has left the queue; empty says that nothing waits now.
func (r *drainRate) drained(now time.Time, n int64, empty bool) {
	r.bytes += n
	r.idle = r.idle || empty
	took := now.Sub(r.since)
	if took < rateWindow {
		return
	}
	measured := float64(r.bytes) / took.Seconds()
	switch {
	case !r.idle:
		r.rate = (r.value()*3 + measured) / 4
	case measured > r.value():
		r.rate = measured
	}
	r.since, r.bytes, r.idle = now, 0, empty
}

func (r *drainRate) value() float64 {
	if r.rate == 0 {
		return rateAtFirst
	}
	return max(r.rate, rateMin)
}

// recent counts bytes of requests for a moment after each has entered.
type recent struct {
	span  int64 // the one that began last
	bytes [recentSpans]int64
}

// What is being read is expected to be there in recentFor.
const (
	recentSpans = 4
	recentSpan  = 75 * time.Millisecond
	recentFor   = recentSpans * recentSpan
)

// spanOf is the number of the span of time in which now lies.
func spanOf(now time.Time) int64 { return now.UnixNano() / int64(recentSpan) }

func (r *recent) advance(span int64) {
	if span-r.span >= recentSpans {
		*r = recent{span: span}
		return
	}
	for r.span < span {
		r.span++
		r.bytes[r.span%recentSpans] = 0
	}
}

// add counts n bytes, n less than 0 takes them back, of a request that entered in a span.
func (r *recent) add(now, entered, n int64) {
	r.advance(now)
	if r.span-entered < recentSpans {
		r.bytes[entered%recentSpans] += n
	}
}

func (r *recent) sum(now int64) (sum int64) {
	r.advance(now)
	for _, n := range r.bytes {
		sum += n
	}
	return sum
}
