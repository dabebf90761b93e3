package runtime

import (
	"errors"
	"testing"

	"github.com/receiptd/receiptd/events"
)

// FuzzTailCursor: whatever cursor comes to a tail, it is refused, or has a place in each partition
// of this log, which can be told again.
func FuzzTailCursor(f *testing.F) {
	const partitions, identity = 2, 255
	told := func(places []place) string { return formatPlaces(places, identity) }
	f.Add(told([]place{{sequence: 7, index: 3}, {}}))
	f.Add(told([]place{{sequence: 1<<63 - 1, index: events.MaxBatchEvents}, {sequence: 1}}))
	f.Add(told([]place{{sequence: 1, index: -1}, {}}))
	f.Add(told([]place{{}}))
	f.Add("ZmYvLTE6MA")
	f.Fuzz(func(t *testing.T, cursor string) {
		places, err := parsePlaces(cursor, partitions, identity)
		if err != nil {
			if places != nil || !errors.Is(err, errBadCursor) && !errors.Is(err, errForeignCursor) {
				t.Errorf("%q: %v, %v", cursor, places, err)
			}
			return
		}
		if len(places) != partitions {
			t.Fatalf("%q: %+v", cursor, places)
		}
		again, err := parsePlaces(told(places), partitions, identity)
		if err != nil {
			t.Fatalf("%q: %+v is told as %q: %v", cursor, places, told(places), err)
		}
		for k, p := range places {
			if p != again[k] || int64(p.sequence) < 0 || p.index < 0 || p.index > events.MaxBatchEvents {
				t.Errorf("%q: %+v is told as %+v", cursor, p, again[k])
			}
		}
	})
}
