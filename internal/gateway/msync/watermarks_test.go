package msync

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// What an author has acknowledged never goes backward, in no partition and on no device.
func TestWatermarksOnlyRise(t *testing.T) {
	for _, x := range []struct{ older, newer, want []uint64 }{
		{[]uint64{3, 5}, []uint64{4, 2}, []uint64{4, 5}},
		{[]uint64{0, 9}, []uint64{7, 9}, []uint64{7, 9}},
	} {
		got := higher(watermarks{"phone": slices.Clone(x.older), "tablet": {8}}, watermarks{"phone": slices.Clone(x.newer), "laptop": {1}})
		want := watermarks{"phone": x.want, "tablet": {8}, "laptop": {1}}
		if !maps.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%v and %v: %v, want %v", x.older, x.newer, got, want)
		}
	}
}

// seenLog records what is acknowledged.
type seenLog struct{ calls []string }

func (l *seenLog) Seen(_ context.Context, _, _, device string, upto []uint64) error {
	l.calls = append(l.calls, fmt.Sprint(device, upto))
	return nil
}

// A device that shows itself is known before what another one acknowledges at the same moment is
// gone for one who is not known.
func TestDevicesShowThemselvesFirst(t *testing.T) {
	log := new(seenLog)
	s := newSeen(log, nil)
	s.note("o#a", "alice", "aphone", []uint64{7, 2})
	s.note("o#a", "alice", "tablet", []uint64{0, 0})
	s.settle(t.Context(), "o#a", "alice")
	if want := []string{"tablet[0 0]", "aphone[7 2]"}; !slices.Equal(log.calls, want) {
		t.Errorf("%q, want %q", log.calls, want)
	}
}

// What is wanted soon does not wait for a second.
func TestWhatIsSeenIsWrittenSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		log := new(seenLog)
		s := newSeen(log, nil)
		var running sync.WaitGroup
		running.Go(func() { s.run(ctx) })
		began := time.Now()
		for i := range 50 {
			user := fmt.Sprint("u", i)
			s.note("o#a", user, "phone", []uint64{1})
			s.soon("o#a", user)
			s.soon("o#a", "another")
			synctest.Wait()
			if len(log.calls) != i+1 {
				t.Fatalf("after %v %d of %d are written", time.Since(began), len(log.calls), i+1)
			}
		}
		cancel()
		running.Wait()
	})
}
