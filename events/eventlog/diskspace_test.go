package eventlog

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// The disk is asked for each entry when it is getting full, and seldom while there is ample space;
// what is written meanwhile counts.
func TestSpaceIsAskedForWhenItGetsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const reserve = 1 << 20
		free, asked := int64(reserve+ampleSpace+10), 0
		var failure error
		s := diskSpace{minFree: reserve, measure: func(string) (int64, error) { asked++; return free, failure }}
		take := func(n int64, wantAsked int, want error) {
			t.Helper()
			asked = 0
			if err := s.reserve(n); !errors.Is(err, want) || asked != wantAsked {
				t.Errorf("%d bytes: %v, asked %d times; want %v and %d", n, err, asked, want, wantAsked)
			}
		}
		take(4, 1, nil)
		take(4, 0, nil)
		take(4, 1, nil) // 12 would go into what is called ample
		free = reserve + 10
		take(4, 0, nil) // nobody knows yet
		time.Sleep(measureEvery + 1)
		take(10, 1, nil)
		take(11, 1, ErrLogFull)
		take(10, 1, nil)
		failure = errors.New("unknown")
		take(11, 1, nil)
	})
}
