package projections

import (
	"encoding/binary"
	"slices"
)

// numbers is a set of numbers that are given in ascending order and mostly leave in that order: a few stretches, whatever
// their length.
type numbers struct {
	stretches []stretch
	count     int
}

// stretch is the numbers from first to the one before end. There is a gap between two stretches.
type stretch struct{ first, end uint64 }

// first is the smallest number, 0 if there is none.
func (s *numbers) first() uint64 {
	if s.count == 0 {
		return 0
	}
	return s.stretches[0].first
}

// add adds a number that is larger than all before.
func (s *numbers) add(n uint64) {
	s.count++
	if k := len(s.stretches); k > 0 && s.stretches[k-1].end == n {
		s.stretches[k-1].end++
		return
	}
	s.stretches = append(s.stretches, stretch{n, n + 1})
}

// find returns the stretch that has the number.
func (s *numbers) find(n uint64) (k int, found bool) {
	return slices.BinarySearchFunc(s.stretches, n, func(x stretch, n uint64) int {
		switch {
		case x.end <= n:
			return -1
		case x.first > n:
			return 1
		}
		return 0
	})
}

func (s *numbers) has(n uint64) bool {
	_, found := s.find(n)
	return found
}

// remove takes a number out and reports whether it was there.
func (s *numbers) remove(n uint64) bool {
	k, found := s.find(n)
	if !found {
		return false
	}
	s.count--
	switch x := &s.stretches[k]; {
	case x.first+1 == x.end:
		s.stretches = slices.Delete(s.stretches, k, k+1)
	case x.first == n:
		x.first++
	case x.end == n+1:
		x.end--
	default:
		rest := stretch{n + 1, x.end}
		x.end = n
		s.stretches = slices.Insert(s.stretches, k+1, rest)
	}
	return true
}

// encode appends the stored form: how many stretches there are, and for each the distance from the one before, and its length.
func (s *numbers) encode(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s.stretches)))
	at := uint64(0)
	for _, x := range s.stretches {
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, x.first-at), x.end-x.first)
		at = x.end
	}
	return dst
}

func (s *numbers) decode(r *reader) {
	at := uint64(0)
	for k := r.uvarint(); k > 0 && !r.bad; k-- {
		x := stretch{first: at + r.uvarint()}
		n := r.uvarint()
		x.end = x.first + n
		s.stretches, s.count, at = append(s.stretches, x), s.count+int(n), x.end
	}
}
