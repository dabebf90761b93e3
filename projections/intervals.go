package projections

import (
	"encoding/binary"
	"math"
	"slices"
)

// intervals is a set of numbers that are added in ascending order and mostly removed in that order:
// a few intervals, whatever their length. There is a gap between any two.
type intervals struct {
	first uint64 // the smallest number, 0 if there is none
	count int    // of the numbers
	list  []interval
}

// interval is the numbers from first to the one before end.
type interval struct{ first, end uint64 }

// add adds a number that is larger than all before.
func (s *intervals) add(n uint64) {
	if s.count == 0 {
		s.first = n
	}
	s.count++
	if k := len(s.list); k > 0 && s.list[k-1].end == n {
		s.list[k-1].end++
		return
	}
	s.list = append(s.list, interval{n, n + 1})
}

// find returns the interval that contains the number.
func (s *intervals) find(n uint64) (k int, found bool) {
	return slices.BinarySearchFunc(s.list, n, func(x interval, n uint64) int {
		switch {
		case x.end <= n:
			return -1
		case x.first > n:
			return 1
		}
		return 0
	})
}

func (s *intervals) has(n uint64) bool {
	_, found := s.find(n)
	return found
}

// hasAny reports whether there is a number from one to the one before another.
func (s *intervals) hasAny(first, end uint64) bool {
	k, _ := s.find(first) // or else where the next one is
	return k < len(s.list) && s.list[k].first < end
}

// remove takes a number out and reports whether it was there.
func (s *intervals) remove(n uint64) bool {
	k, found := s.find(n)
	if !found {
		return false
	}
	s.count--
	switch x := &s.list[k]; {
	case x.first+1 == x.end:
		s.list = slices.Delete(s.list, k, k+1)
	case x.first == n:
		x.first++
	case x.end == n+1:
		x.end--
	default:
		rest := interval{n + 1, x.end}
		x.end = n
		s.list = slices.Insert(s.list, k+1, rest)
	}
	s.findFirst()
	return true
}

func (s *intervals) findFirst() {
	s.first = 0
	if s.count > 0 {
		s.first = s.list[0].first
	}
}

// encode appends the stored layout: how many intervals there are, and for each the distance from
// the one before, and its length.
func (s *intervals) encode(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s.list)))
	at := uint64(0)
	for _, x := range s.list {
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, x.first-at), x.end-x.first)
		at = x.end
	}
	return dst
}

func (s *intervals) decode(r *reader) {
	at := uint64(0)
	for k := r.uvarint(); k > 0 && !r.bad; k-- {
		x := interval{first: at + r.uvarint()}
		n := r.uvarint()
		x.end = x.first + n
		r.bad = r.bad || n == 0 || x.first < at || x.end < x.first || x.end > math.MaxInt64
		s.list, s.count, at = append(s.list, x), s.count+int(n), x.end
	}
	s.findFirst()
}
