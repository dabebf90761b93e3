package eventlog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/receiptd/receiptd/events/eventlog/blockfile"
)

// Range are entries of a stream whose loss is accepted, from First to Last.
type Range struct {
	Stream      string
	First, Last uint64
}

// ParseRange reads STREAM:FIRST-LAST, or STREAM:SEQUENCE for one entry.
func ParseRange(text string) (r Range, err error) {
	stream, entries, ok := strings.Cut(text, ":")
	first, last, several := strings.Cut(entries, "-")
	if !several {
		last = first
	}
	if r.First, err = strconv.ParseUint(first, 10, 64); err == nil {
		r.Last, err = strconv.ParseUint(last, 10, 64)
	}
	if r.Stream = stream; err != nil || !ok || stream == "" || r.First == 0 || r.Last < r.First {
		return Range{}, fmt.Errorf("%q is not STREAM:FIRST-LAST, such as RECEIPTS_0:17-20", text)
	}
	return r, nil
}

// Covered reports whether all entries from first to last of a stream are in ranges.
func Covered(ranges []Range, stream string, first, last uint64) bool {
	if first == 0 {
		return false // it is not said which they are
	}
	for next := first; next <= last; {
		reached := next
		for _, r := range ranges {
			if r.Stream == stream && r.First <= next && next <= r.Last {
				reached = max(reached, r.Last+1)
			}
		}
		if reached == next {
			return false
		}
		next = reached
	}
	return true
}

// unaccepted are the findings whose loss was not accepted. Whether another log is taken for this
// one, or a witness is given up, is no question of a range.
func (r *repair) unaccepted(losses []Finding) (list []Finding) {
	if r.o.AcceptLoss {
		return nil
	}
	for _, f := range losses {
		switch f.Code {
		case CodeBlockDamaged, CodeEntriesMissing, CodeShorter, CodeStreamMissing:
			if Covered(r.o.Accept, f.Stream, f.First, max(f.First, f.Last)) {
				continue
			}
		}
		list = append(list, f)
	}
	return list
}

// lossesBeyond is what a repair would lose beyond what is accepted, where only ranges are: a
// finding names where damage begins and ends, and what of that is lost shows only as it is mended.
func (r *repair) lossesBeyond(ctx context.Context, damaged []string) (list []Finding, err error) {
	if r.o.AcceptLoss {
		return nil, nil
	}
	for _, name := range damaged {
		partition := partitionOf(name)
		if partition < 0 || r.has(name, CodeStreamMissing) || r.has(name, CodeUnreadable) {
			continue
		}
		s := blockfile.Stream{Dir: streamDir(r.dir, name), Name: name}
		m := r.rewriteOf(name, partition, r.attestations[name])
		lost, err := s.Losses(m.first, m.last, m.isSound, m.replacement)
		if err != nil || m.failed != nil {
			return nil, fmt.Errorf("eventlog: repair stream %s: look for what is lost: %w", name, errors.Join(err, m.failed))
		}
		for _, l := range lost {
			if !Covered(r.o.Accept, name, l.First, l.Last) {
				list = append(list, Finding{Code: CodeEntriesMissing, Fatal: true, Stream: name, First: l.First, Last: l.Last, What: "they would be lost"})
			}
		}
	}
	return list, ctx.Err()
}
