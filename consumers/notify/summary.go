package notify

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"slices"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

var (
	// ErrBadCursor is wrapped by the error for a cursor that was not given to this user.
	ErrBadCursor = errors.New("notify: bad cursor")
	// ErrForeignCursor is the error for a cursor of another log, or of this one before it was
	// restored: what it stands for is not what this log has at those positions.
	ErrForeignCursor = errors.New("notify: cursor of another log")
)

// State is what [Summaries] asks of the state.
type State interface {
	// Summary returns what an author has not acknowledged, on a device if one is named, and for
	// each partition the sequence of the last entry that is in it. Each partition must answer
	// between two entries, never in the middle of one: then every receipt is either in the summary
	// or pushed to those who subscribed before they asked.
	Summary(app, user, device string) (s projections.Summary, upto []uint64, err error)
	// SummaryAfter is Summary of the partitions that it names, without what no entry after one of
	// theirs has changed. The sequences of all other partitions are 0.
	SummaryAfter(app, user, device string, after map[int]uint64) (s projections.Summary, upto []uint64, err error)
}

// Summaries makes the summary that authors get when they log in: which of their messages were
// received and read while they were away, those of groups with the latest count of each, and which
// single chats.
type Summaries struct {
	// State has the summaries.
	State State
	// Partitions is the number of partitions of the log.
	Partitions int
	// Log is the identity of the log, which every cursor carries.
	Log uint64
}

// Summary is what an author has not acknowledged yet.
type Summary struct {
	projections.Summary
	// Upto has for each partition the sequence the items stand at, and Cursor is the same as
	// text for the client. Both are empty on all [Summary.Pages] but the last.
	Upto   []uint64
	Cursor string
}

// Summary returns the author's summary as of now: what the device is told, or without one what no
// device was. It is valid, and has a cursor, when it has no items.
func (s *Summaries) Summary(app, user, device string) (Summary, error) {
	x, upto, err := s.State.Summary(app, user, device)
	if err != nil {
		return Summary{}, fmt.Errorf("summary: %w", err)
	}
	return Summary{Summary: x, Upto: upto, Cursor: s.Cursor(app, user, device, upto)}, nil
}

// Missed returns what a connection that was handed out everything else has to be told besides: see
// [Push.Missed]. Its Upto has the partitions in question alone; the cursor is that of a connection
// that was told the others up to these sequences.
func (s *Summaries) Missed(app, user, device string, missed map[int]uint64, told []uint64) (Summary, error) {
	x, upto, err := s.State.SummaryAfter(app, user, device, missed)
	if err != nil {
		return Summary{}, fmt.Errorf("summary of what was missed: %w", err)
	}
	return Summary{Summary: x, Upto: upto, Cursor: s.Cursor(app, user, device, Higher(told, upto))}, nil
}

// Higher returns for each partition the larger of its two sequences.
func Higher(a, b []uint64) []uint64 {
	if len(a) < len(b) {
		a, b = b, a
	}
	all := slices.Clone(a)
	for k := range b {
		all[k] = max(all[k], b[k])
	}
	return all
}

// Pages splits the summary into parts of at most n items. Only the last has the cursor, since to
// acknowledge it is to acknowledge all; all of them say what was dropped. A summary that has
// nothing to tell has no pages.
func (s Summary) Pages(n int) iter.Seq[Summary] {
	return func(yield func(Summary) bool) {
		for items, more := s.Items, len(s.Items) > 0 || s.Dropped > 0; more; {
			var page Summary
			page.Items, page.Dropped = items[:min(n, len(items))], s.Dropped
			items = items[len(page.Items):]
			if more = len(items) > 0; !more {
				page.Upto, page.Cursor = s.Upto, s.Cursor
			}
			if !yield(page) {
				return
			}
		}
	}
}

// The bytes of a cursor, before base64: version, the log's identity, one uvarint per partition,
// CRC-32 of the user, the device and all before it. Version 1 had no identity, so it may be of any
// log. The checksum is no secret: whoever makes one up can only clear their own summary. It is
// there so that a cut, mixed-up or foreign cursor is refused instead of hiding receipts.
const (
	cursorVersion    = 2
	cursorSumBytes   = 4
	cursorWithoutLog = 1
	// maxCursorBytes is a cursor's size with the most partitions there may be: a foreign one may
	// be longer than ours.
	maxCursorBytes = 1 + 8 + binary.MaxVarintLen64*events.MaxPartitions + cursorSumBytes
)

// Cursor writes positions as opaque, URL-safe text that only means something for this user and, if
// one is named, this device: another one was not sent what it stands for.
func (s *Summaries) Cursor(app, user, device string, upto []uint64) string {
	b := make([]byte, 0, 64)
	b = append(b, cursorVersion)
	b = binary.BigEndian.AppendUint64(b, s.Log)
	for _, sequence := range upto {
		b = binary.AppendUvarint(b, sequence)
	}
	b = binary.BigEndian.AppendUint32(b, cursorSum(app, user, device, b))
	return base64.RawURLEncoding.EncodeToString(b)
}

// Upto reads what [Summaries.Cursor] wrote: one sequence per partition. A cursor of when the log
// had half as many, or fewer, is good. The error wraps [ErrBadCursor] or [ErrForeignCursor].
func (s *Summaries) Upto(app, user, device, cursor string) ([]uint64, error) {
	const head = 1 + 8
	if len(cursor) > base64.RawURLEncoding.EncodedLen(maxCursorBytes) {
		return nil, fmt.Errorf("%w: too long", ErrBadCursor)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) < 1+cursorSumBytes {
		return nil, fmt.Errorf("%w: malformed", ErrBadCursor)
	}
	b, sum := b[:len(b)-cursorSumBytes], b[len(b)-cursorSumBytes:]
	switch {
	case binary.BigEndian.Uint32(sum) != cursorSum(app, user, device, b):
		return nil, fmt.Errorf("%w: not given to this user and device", ErrBadCursor)
	case b[0] == cursorWithoutLog:
		return nil, ErrForeignCursor
	case b[0] != cursorVersion || len(b) < head:
		return nil, fmt.Errorf("%w: malformed", ErrBadCursor)
	case binary.BigEndian.Uint64(b[1:]) != s.Log:
		return nil, ErrForeignCursor
	}
	upto := make([]uint64, 0, s.Partitions)
	for b = b[head:]; len(b) > 0; {
		sequence, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, fmt.Errorf("%w: malformed", ErrBadCursor)
		}
		upto = append(upto, sequence)
		b = b[n:]
	}
	// What a partition was told up to was told of those that forked from it since.
	for n := len(upto); n > 0 && n < s.Partitions; n = len(upto) {
		upto = append(upto, upto...)
	}
	if len(upto) != s.Partitions {
		return nil, fmt.Errorf("%w: for a log of %d partitions, not %d", ErrBadCursor, len(upto), s.Partitions)
	}
	return upto, nil
}

func cursorSum(app, user, device string, body []byte) uint32 {
	h := crc32.NewIEEE()
	// Ids have no control characters, so that 0 separates, and no body begins with an id.
	_, _ = h.Write([]byte(app + "\x00" + user + "\x00"))
	if device != "" {
		_, _ = h.Write([]byte(device + "\x00"))
	}
	_, _ = h.Write(body)
	return h.Sum32()
}
