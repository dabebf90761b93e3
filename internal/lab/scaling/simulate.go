package main

import (
	"math"
	"math/rand/v2"
	"slices"
)

// A scenario is a plan at peak, and what happens to it.
type scenario struct {
	plan  plan
	cores float64 // processors of a node
	seed  uint64
	// crash is when a node is gone, with the broker beside it; back is when it is there again, with
	// everything to fold that came meanwhile; end is when the simulation ends. In seconds.
	crash, back, end float64
}

// A result is what became of it, in seconds.
type result struct {
	// p99 and worst are how long the oldest receipt had been in the log that the best copy of a
	// partition, by which questions are answered, had not folded.
	p99, worst float64
	// waited is how long producers waited at most for a receipt to be stored.
	waited float64
	// caughtUp is how long the node that came back took to be level with the others; infinite if it
	// did not get there.
	caughtUp float64
	// busiest is the share of its processors that a node used at most in ten seconds without an
	// election and without catching up.
	busiest float64
}

const (
	tick = 0.01 // seconds
	// burst is how uneven arrivals are: their standard deviation in a tick, against the mean.
	burst = 0.5
	// ahead is how much may be stored and not folded at an edge, in seconds of folding: the bound
	// of eventlog, by which producers wait and answers stay young.
	ahead = 0.1
	// aheadMost is how many receipts of a partition that are at most.
	aheadMost = 65536
)

// A line is receipts that pass in their order. It remembers how many came by when.
type line struct {
	came  []float64 // in all, by tick
	gone  float64   // in all
	front int       // the first tick of which something is left
}

func (l *line) add(n float64) { l.came = append(l.came, l.total()+n) }

func (l *line) total() float64 {
	if len(l.came) == 0 {
		return 0
	}
	return l.came[len(l.came)-1]
}

func (l *line) left() float64 { return l.total() - l.gone }

// age is how long ago the first that is left came, in seconds.
func (l *line) age() float64 {
	const dust = 1e-3 // of a receipt: what adding up fractions leaves
	for l.front < len(l.came) && l.came[l.front] <= l.gone+dust {
		l.front++
	}
	return float64(len(l.came)-l.front) * tick
}

// simulate runs a scenario in steps of a tick. In each, receipts arrive for the partitions, evenly
// but for chance, and are stored, unless the partition's leader is gone or the folds are behind;
// each node spends its processors first on taking in its share of them, then on its copies, each of
// which uses one processor at most and folds at most foldRate. Partitions that the broker of the
// dead node led take nothing for the longest election. Copies of a dead node are not placed anew:
// that would only help.
func simulate(s scenario) result {
	var (
		p        = s.plan
		rng      = rand.New(rand.NewPCG(s.seed, 0))
		rate     = p.peak / float64(p.partitions)
		foldable = foldRate(p.day * stateDays.value)
		holders  = place(p, rng)
		waiting  = make([]line, p.partitions)
		copies   = make([][]line, p.partitions)
		lags     []float64
		res      = result{caughtUp: math.Inf(1)}
		window   = make([]float64, p.nodes)
	)
	for i := range copies {
		copies[i] = make([]line, p.copies)
	}
	for step := 0; float64(step)*tick < s.end; step++ {
		now := float64(step) * tick
		down := now >= s.crash && now < s.back
		live := float64(p.nodes)
		if down {
			live--
		}
		stored := 0.0
		for i := range copies {
			waiting[i].add(max(0, rate*tick*(1+burst*rng.NormFloat64())))
			room := max(0, live*min(ahead*foldable, aheadMost)-best(copies[i], holders[i], down, (*line).left))
			if i%p.brokers == 0 && now >= s.crash && now < s.crash+election.value {
				room = 0
			}
			came := min(waiting[i].left(), room)
			waiting[i].gone += came
			stored += came
			for c := range copies[i] {
				copies[i][c].add(came)
			}
			res.waited = max(res.waited, waiting[i].age())
		}
		budget := make([]float64, p.nodes)
		for n := range budget {
			if n != 0 || !down {
				budget[n] = max(0, s.cores*tick-stored/live/1e6*p.cost.edge)
			}
		}
		spend(budget, copies, holders, step, foldable*tick, p.cost.copy)
		level := true
		for i := range copies {
			lag := best(copies[i], holders[i], down, (*line).age)
			lags, res.worst = append(lags, lag), max(res.worst, lag)
			for c, n := range holders[i] {
				level = level && (n != 0 || copies[i][c].age() <= lagBound.value)
			}
		}
		if now >= s.back && level {
			res.caughtUp = min(res.caughtUp, now-s.back)
		}
		for n := range window {
			if n != 0 || !down {
				window[n] += (s.cores*tick - budget[n]) / (s.cores * 10)
			}
		}
		if (step+1)%1000 == 0 {
			if now < s.crash || now > s.crash+2*election.value && now < s.back {
				res.busiest = max(res.busiest, slices.Max(window))
			}
			clear(window)
		}
	}
	slices.Sort(lags)
	res.p99 = lags[len(lags)*99/100]
	return res
}

// best is the least value of the copies that are there; node 0 is the one that may be down.
func best(copies []line, holders []int, down bool, of func(*line) float64) float64 {
	least := math.Inf(1)
	for c, n := range holders {
		if n != 0 || !down {
			least = min(least, of(&copies[c]))
		}
	}
	return least
}

// spend has the nodes fold, each as far as its processors go, beginning with another partition each
// time.
func spend(budget []float64, copies [][]line, holders [][]int, first int, limit, copyCost float64) {
	for k := range copies {
		i := (first + k) % len(copies)
		for c, n := range holders[i] {
			folded := min(copies[i][c].left(), limit, budget[n]/copyCost*1e6)
			copies[i][c].gone += folded
			budget[n] -= folded / 1e6 * copyCost
		}
	}
}

// place draws the nodes of each partition's copies.
func place(p plan, rng *rand.Rand) [][]int {
	holders := make([][]int, p.partitions)
	for i := range holders {
		holders[i] = rng.Perm(p.nodes)[:p.copies]
	}
	return holders
}
