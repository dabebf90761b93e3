package eventlog

import (
	"context"
	"fmt"
	"strconv"
)

// A log that was repartitioned forks: the entries of partition p up to the one that says so are
// those of partition p+P, too, whose own stream begins with the sequence after it. Whoever reads
// p+P reads one run of entries from the first on; where they lie is known here alone.

const (
	// metaParent is the partition that a stream's partition forked from, metaFork the last entry
	// that they have in common.
	metaParent = "receiptd.parent"
	metaFork   = "receiptd.fork"
)

// fork is where the entries of a partition lie.
type fork struct {
	parent int    // -1 = they have always been its own
	upto   uint64 // the last one that lies with the parent
	// layouts are how many partitions the log had, in order.
	layouts []layout
}

// layout is a number of partitions, and the entry after which the log had so many.
type layout struct {
	after      uint64
	partitions int
}

// forksOf reads the forks of a log from the metadata of its streams: those that it was made with
// come first, and each time that there were n partitions the n after them forked from these.
func forksOf(metas []map[string]string) ([]fork, error) {
	originals := 0
	for originals < len(metas) && metas[originals][metaParent] == "" {
		originals++
	}
	if n := wholeLayouts(originals, len(metas)); n != len(metas) {
		return nil, badFork(metas, min(originals, n))
	}
	forks := make([]fork, len(metas))
	half := originals
	for p := range forks {
		f := &forks[p]
		if f.parent = -1; p < originals {
			continue
		}
		if p == 2*half {
			half = p
		}
		var err error
		if f.upto, err = strconv.ParseUint(metas[p][metaFork], 10, 63); err != nil || metas[p][metaParent] != strconv.Itoa(p-half) {
			return nil, badFork(metas, p)
		}
		if f.parent = p - half; f.upto <= forks[f.parent].upto { // a later fork than the one before
			return nil, badFork(metas, p)
		}
	}
	for p := range forks {
		f := &forks[p]
		if f.parent < 0 {
			f.layouts = []layout{{0, originals}}
			continue
		}
		// Partitions that came later have higher numbers.
		parent := &forks[f.parent]
		of := layout{f.upto, 2 * parent.layouts[len(parent.layouts)-1].partitions}
		f.layouts = append(append(f.layouts, parent.layouts...), of)
		parent.layouts = append(parent.layouts, of)
	}
	return forks, nil
}

// wholeLayouts is how many of so many partitions there can be that began as originals and were
// doubled: all, if it fits.
func wholeLayouts(originals, partitions int) (n int) {
	for n = originals; n > 0 && 2*n <= partitions; n *= 2 {
	}
	return n
}

func badFork(metas []map[string]string, p int) error {
	return &StreamConfigError{
		Stream: streamName(p), Field: "metadata " + metaParent, Want: "the partition and the entry at which this one forked from it",
		Have: strconv.Quote(metas[p][metaParent] + " " + metas[p][metaFork]),
	}
}

// Fork is the partition that another one forked from, and the last entry that they have in common:
// up to it the entries of both are the same. The parent is -1, and upto 0, if it forked from none.
func (l *Log) Fork(partition int) (parent int, upto uint64) {
	f := &l.forks[partition]
	return f.parent, f.upto
}

// Shared is the last entry that a partition has of another one, from which it forked at whatever
// distance; 0 if it has none.
func (l *Log) Shared(partition, of int) (upto uint64) {
	for k := partition; k > of; {
		if k, upto = l.Fork(k); k == of {
			return upto
		}
	}
	return 0
}

// home is the partition in whose stream an entry of a partition lies, and the last entry of it that
// does; 0 = there is no last one.
func (l *Log) home(partition int, sequence uint64) (home int, upto uint64) {
	for f := &l.forks[partition]; f.parent >= 0 && sequence <= f.upto; f = &l.forks[partition] {
		partition, upto = f.parent, f.upto
	}
	return partition, upto
}

// partitionsAt is how many partitions the log had when an entry was stored.
func (l *Log) partitionsAt(partition int, sequence uint64) (n int) {
	for _, x := range l.forks[partition].layouts {
		if sequence > x.after {
			n = x.partitions
		}
	}
	return n
}

// Span is a run of entries that lie in one stream.
type Span struct {
	// Partition is where the stream's entries lie, which was one of so many partitions then.
	Partition, Partitions int
	// After is the entry before the first, Upto the last.
	After, Upto uint64
}

// Spans are where the entries of a partition after one and up to another one lie, in order.
func (l *Log) Spans(partition int, after, upto uint64) (list []Span) {
	for after < upto {
		s := Span{Partitions: l.partitionsAt(partition, after+1), After: after, Upto: upto}
		s.Partition, _ = l.home(partition, after+1)
		for _, e := range l.forks[partition].layouts {
			if e.after > after && e.after < s.Upto {
				s.Upto = e.after
			}
		}
		list = append(list, s)
		after = s.Upto
	}
	return list
}

// bounds adds the entries that a partition has in common with those that it forked from.
func (l *Log) bounds(ctx context.Context, partition int, first uint64) (uint64, error) {
	for f := &l.forks[partition]; f.parent >= 0 && first == f.upto+1; f = &l.forks[partition] {
		partition = f.parent
		state, err := l.streamState(ctx, partition)
		if err != nil {
			return 0, err
		}
		if state.Msgs == 0 || state.FirstSeq > f.upto {
			break
		}
		first = state.FirstSeq
	}
	return first, nil
}

// mayLeave is the entry before which a stream's entries may leave it: those of its own partition,
// and of partitions that forked from it, were let go of.
func (l *Log) mayLeave(stream int) uint64 {
	before := l.trims[stream]
	for p := stream + 1; p < len(l.forks); p++ {
		// Of those that forked from it, at whatever distance: up to where it has their entries.
		upto := uint64(0)
		for q := p; q > stream; q = l.forks[q].parent {
			if upto = l.forks[q].upto; l.forks[q].parent < stream {
				upto = 0
				break
			}
		}
		if upto > 0 && l.trims[p] <= upto {
			before = min(before, l.trims[p])
		}
	}
	return before
}

func (l *Log) trimHome(ctx context.Context, partition int, before uint64) error {
	l.trimming.Lock()
	defer l.trimming.Unlock()
	if l.trims == nil {
		l.trims = make([]uint64, len(l.streams))
	}
	l.trims[partition] = max(l.trims[partition], before)
	for stream := partition; stream >= 0; stream = l.forks[stream].parent {
		may := l.mayLeave(stream)
		if f := l.forks[stream]; may <= f.upto+1 {
			continue
		}
		if err := l.trimStream(ctx, stream, may); err != nil {
			return fmt.Errorf("eventlog: trim partition %d before entry %d: %w", stream, may, err)
		}
	}
	return nil
}
