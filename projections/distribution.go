package projections

import (
	"math"
	"math/bits"
	"sort"

	"github.com/DataDog/sketches-go/ddsketch/mapping"
	"github.com/DataDog/sketches-go/ddsketch/store"
)

// The time from sending to reading is kept as a DDSketch: a histogram whose bins grow with the
// time, so that any percentile is accurate to a fixed fraction of itself, and histograms add up
// exactly.

const (
	// accuracyPercent is how far a percentile is off, at most.
	accuracyPercent = 1
	// timeBits bounds the times told apart, and with that the number of bins: longer times, from
	// four years on, are in the last bin.
	timeBits = 37
)

// Bin 0 is for no time at all, bin k+1 for the mapping's index k.
var timeMapping = func() *mapping.LogarithmicMapping {
	m, err := mapping.NewLogarithmicMapping(accuracyPercent / 100.0)
	if err != nil {
		panic(err) // the accuracy is a constant
	}
	return m
}()

// timeBins says where each bin ends. Times are whole milliseconds, and so are the ends: which bin a
// time falls into does not depend on the rounding of floating-point numbers, and every machine
// folds to the same state.
//
// coarse finds the bin without a search: it is cut finer than the bins are, 64 steps to a power of
// two, so that a time is in the bin where its step begins, or in the next.
var timeBins = func() (t struct {
	last   [NumBins]int64
	coarse [(timeBits-6)*64 + 64]uint16
}) {
	for b := range t.last {
		t.last[b] = int64(math.Ceil(timeMapping.LowerBound(b))) - 1
	}
	t.last[0] = 0
	t.last[NumBins-1] = math.MaxInt64
	for i := range t.coarse {
		first := int64(i)
		if octave := i>>6 - 1; octave > 0 {
			first = int64(i&63|64) << octave
		}
		t.coarse[i] = uint16(sort.Search(NumBins, func(b int) bool { return t.last[b] >= first }))
	}
	return t
}()

// NumBins is the number of bins of a distribution.
const NumBins = 1284

// TimeBin is the bin of a time in milliseconds, which is not negative.
func TimeBin(ms int64) uint16 {
	v := uint64(ms)
	if v>>timeBits != 0 {
		return NumBins - 1
	}
	octave := max(bits.Len64(v)-7, 0)
	b := timeBins.coarse[octave<<6+int(v>>octave)]
	if ms > timeBins.last[b] {
		b++
	}
	return b
}

// BinMillis is where a bin begins: the shortest time in it, in milliseconds.
func BinMillis(bin uint16) int64 {
	if bin == 0 {
		return 0
	}
	return timeBins.last[bin-1] + 1
}

// Distribution adds up times by bin. The zero value is empty.
type Distribution struct {
	zero  uint64 // in bin 0
	bins  *store.DenseStore
	total uint64
}

// Add adds n times of a bin below NumBins.
func (d *Distribution) Add(bin uint16, n uint64) {
	d.total += n
	if bin == 0 {
		d.zero += n
		return
	}
	if d.bins == nil {
		d.bins = store.NewDenseStore()
	}
	d.bins.AddWithCount(int(bin)-1, float64(n))
}

// Total is the number of times.
func (d *Distribution) Total() uint64 { return d.total }

// Bins lists the bins that are not empty, ascending.
func (d *Distribution) Bins() []BinCount {
	var list []BinCount
	if d.zero > 0 {
		list = append(list, BinCount{Bin: 0, Count: d.zero})
	}
	if d.bins != nil {
		d.bins.ForEach(func(index int, count float64) (stop bool) {
			list = append(list, BinCount{Bin: uint16(index + 1), Count: uint64(count)})
			return false
		})
	}
	return list
}

// Percentiles returns the median, the 90th and the 99th percentile in milliseconds, each within 1
// %; zeros if there are no times.
func (d *Distribution) Percentiles() (p50, p90, p99 float64) {
	if d.total == 0 {
		return 0, 0, 0
	}
	at := [...]uint64{d.rank(0.5), d.rank(0.9), d.rank(0.99)}
	var p [len(at)]float64
	k, seen := 0, uint64(0)
	for _, b := range d.Bins() {
		for seen += b.Count; k < len(at) && at[k] < seen; k++ {
			p[k] = told(b.Bin)
		}
	}
	return p[0], p[1], p[2]
}

// Reached returns the time in milliseconds, within 1 %, by which so many tenths of some readers had
// read, if the times are theirs; NotYet if there are fewer times than that, or no readers.
func (d *Distribution) Reached(readers, tenths uint64) float64 {
	left := (readers*tenths + 9) / 10
	if left == 0 || left > d.total {
		return NotYet
	}
	for _, b := range d.Bins() {
		if left <= b.Count {
			return told(b.Bin)
		}
		left -= b.Count
	}
	return NotYet
}

// rank is which of the times, from 0, in ascending order, is a percentile.
func (d *Distribution) rank(p float64) uint64 { return uint64(p * float64(d.total-1)) }

// told is the time that stands for those of a bin: within 1 % of each of them. It is a whole number
// of milliseconds if there is such a one, else it has as few decimals as will do.
func told(bin uint16) float64 {
	first, last := float64(BinMillis(bin)), float64(1<<timeBits)
	if bin < NumBins-1 {
		last = float64(timeBins.last[bin])
	}
	if first == last {
		return first
	}
	middle := 2 * first * last / (first + last) // as far from both, measured by each
	for scale := 1.0; scale <= 1000; scale *= 10 {
		if v := math.Round(scale*middle) / scale; withinAccuracy(v, first) && withinAccuracy(v, last) {
			return v
		}
	}
	return middle
}

// withinAccuracy reports whether a time is told closely enough.
func withinAccuracy(told, ms float64) bool { return 100*math.Abs(told-ms) <= accuracyPercent*ms }
