package eventlog

import (
	"testing"
	"time"
)

// The queue is as deep as a few entries take, on a quick disk and on a slow one, and never so
// shallow that a slow disk gets less than it could store.
func TestQueueIsAsDeepAsEntriesTake(t *testing.T) {
	for _, c := range []struct {
		name  string
		entry int64
		took  time.Duration
		pause time.Duration
		want  int64
	}{
		{"quick", 1 << 20, 4 * time.Millisecond, 0, 13 << 20 / 4},
		{"slow", 1 << 20, 50 * time.Millisecond, 0, 21 << 20 / 10},
		{"very slow", 4 << 20, time.Second, 0, maxQueuedBytes},
		{"idle", 1 << 10, time.Millisecond, time.Second, depthMin},
	} {
		var d depth
		now := time.Unix(1, 0)
		var got int64
		for i := range 100 {
			now = now.Add(2*c.took + c.pause)
			took := c.took
			if i%7 > 0 {
				took *= 2 // as others have the processors; that is no reason for a deeper queue
			}
			got = d.stored(c.entry*int64(took/c.took), took, now)
		}
		if off := c.want * 3 / 20; got < c.want-off || got > c.want+off {
			t.Errorf("%s: %d KiB, want about %d", c.name, got>>10, c.want>>10)
		}
	}
}
