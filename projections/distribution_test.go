package projections

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The table is a faster way to the bins of the library's mapping.
func TestTimeBinIsThatOfTheMapping(t *testing.T) {
	bin := func(ms int64) uint16 {
		if ms == 0 {
			return 0
		}
		return uint16(min(timeMapping.Index(float64(ms))+1, NumBins-1))
	}
	check := func(ms int64) {
		t.Helper()
		if got := TimeBin(ms); got != bin(ms) {
			t.Fatalf("%d ms are in bin %d; mapping: %d", ms, got, bin(ms))
		}
	}
	for ms := range int64(1 << 20) {
		check(ms)
	}
	for _, last := range timeBins.last {
		for ms := max(0, last-2); ms < min(last, math.MaxInt64-2)+3; ms++ {
			check(ms)
		}
	}
	for range 1 << 20 {
		check(rand.Int64N(1 << (1 + rand.IntN(62))))
	}
	check(math.MaxInt64)
}

func TestABinBeginsAtItsShortestTime(t *testing.T) {
	for ms := range int64(1 << 16) {
		b := TimeBin(ms)
		if BinMillis(b) > ms || b+1 < NumBins && ms >= BinMillis(b+1) {
			t.Fatalf("%d ms are in bin %d, from %d to before %d", ms, b, BinMillis(b), BinMillis(b+1))
		}
	}
}

// Which bin a time is in must not depend on how a machine rounds: no whole number is so close
// to the end of a bin that it could.
func TestNoTimeIsAtTheEdgeOfABin(t *testing.T) {
	for b := 2; b < NumBins; b++ {
		edge := timeMapping.LowerBound(b - 1)
		if off := math.Abs(edge-math.Round(edge)) / edge; off < 1e-14 {
			t.Errorf("bin %d begins at %.17g", b, edge)
		}
	}
}

// exact is the percentile that a sketch approximates.
func exact(sorted []int64, q float64) int64 { return sorted[int(q*float64(len(sorted)-1))] }

func TestPercentilesAreWithinTheirAccuracy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		times := rapid.SliceOfN(rapid.OneOf(rapid.Int64Range(0, 100), rapid.Int64Range(0, 1<<timeBits-1)), 1, 200).Draw(t, "times")
		var a, b Distribution
		for i, ms := range times {
			if i%3 == 0 {
				a.Add(TimeBin(ms), 1)
			} else {
				b.Add(TimeBin(ms), 1)
			}
		}
		a.Merge(&b)
		slices.Sort(times)
		p50, p90, p99 := a.Percentiles()
		for q, got := range map[float64]float64{0.5: p50, 0.9: p90, 0.99: p99} {
			want := exact(times, q)
			if math.Abs(got-float64(want)) > float64(want)/100 {
				t.Fatalf("percentile %v of %v is %v, not %d", q, times, got, want)
			}
		}
	})
}

// Every time is told within 1 %, whatever bin it is in: 164 ms was told as 162, and 380 as 376.
func TestEveryTimeIsToldWithinItsAccuracy(t *testing.T) {
	told := func(ms int64) float64 {
		var d Distribution
		d.Add(TimeBin(ms), 1)
		p50, _, _ := d.Percentiles()
		return p50
	}
	check := func(ms int64) {
		if got := told(ms); math.Abs(got-float64(ms)) > float64(ms)/100 {
			t.Errorf("%d ms are told as %v", ms, got)
		}
	}
	for b := range uint16(NumBins - 1) {
		check(BinMillis(b))
		check(timeBins.last[b])
	}
	for _, ms := range []int64{0, 1, 164, 380, 5000} {
		check(ms)
	}
	if got := told(math.MaxInt64); math.Abs(got-1<<timeBits) > 1<<timeBits/100 {
		t.Errorf("what is too long is told as %v", got)
	}
}

// TestReachedCountsThoseWhoHaveNotRead: it is the smallest time within which the part of all
// readers had read, and none while fewer have.
func TestReachedCountsThoseWhoHaveNotRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		times := rapid.SliceOfN(rapid.Int64Range(0, 1<<30), 0, 40).Draw(t, "times")
		readers := uint64(len(times)) + rapid.Uint64Range(0, 60).Draw(t, "not read")
		tenths := rapid.SampledFrom([]uint64{5, 9}).Draw(t, "tenths")
		var d Distribution
		for _, ms := range times {
			d.Add(TimeBin(ms), 1)
		}
		slices.Sort(times)
		want := float64(NotYet)
		for i, ms := range times {
			if uint64(i+1)*10 >= tenths*readers {
				want = float64(ms)
				break
			}
		}
		if got := d.Reached(readers, tenths); want == NotYet && got != want || math.Abs(got-want) > want/100 && want != NotYet {
			t.Fatalf("%d tenths of %d readers, who took %v: %v, not %v", tenths, readers, times, got, want)
		}
	})
}
