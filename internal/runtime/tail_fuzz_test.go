package runtime

import (
	"errors"
	"testing"

	"github.com/receiptd/receiptd/events"
)

// FuzzTailCursor: whatever cursor comes to a tail, it is refused, or has a position in each
// partition of this log, which can be told again.
func FuzzTailCursor(f *testing.F) {
	const partitions, identity = 2, 255
	told := func(positions []tailPosition) string { return formatPositions(positions, identity) }
	f.Add(told([]tailPosition{{sequence: 7, index: 3}, {}}))
	f.Add(told([]tailPosition{{sequence: 1<<63 - 1, index: events.MaxBatchEvents}, {sequence: 1}}))
	f.Add(told([]tailPosition{{sequence: 1, index: -1}, {}}))
	f.Add(told([]tailPosition{{}}))
	f.Add("ZmYvLTE6MA")
	f.Fuzz(func(t *testing.T, cursor string) {
		positions, err := parsePositions(cursor, partitions, identity)
		if err != nil {
			if positions != nil || !errors.Is(err, errBadCursor) && !errors.Is(err, errForeignCursor) {
				t.Errorf("%q: %v, %v", cursor, positions, err)
			}
			return
		}
		if len(positions) != partitions {
			t.Fatalf("%q: %+v", cursor, positions)
		}
		again, err := parsePositions(told(positions), partitions, identity)
		if err != nil {
			t.Fatalf("%q: %+v is told as %q: %v", cursor, positions, told(positions), err)
		}
		for k, p := range positions {
			if p != again[k] || int64(p.sequence) < 0 || p.index < 0 || p.index > events.MaxBatchEvents {
				t.Errorf("%q: %+v is told as %+v", cursor, p, again[k])
			}
		}
	})
}
