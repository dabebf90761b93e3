package eventlog

import (
	"testing"
	"testing/synctest"
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
		alone bool
		want  int64
	}{
		{"quick", 1 << 20, 4 * time.Millisecond, 0, false, 13 << 20 / 4},
		{"quick, for one tenant", 1 << 18, 4 * time.Millisecond, 0, true, 19 << 20 / 8},
		{"slow", 1 << 20, 50 * time.Millisecond, 0, false, 21 << 20 / 10},
		{"very slow", 4 << 20, time.Second, 0, true, maxQueuedBytes},
		{"idle", 1 << 10, time.Millisecond, time.Second, true, depthMin},
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
			got = d.stored(c.entry*int64(took/c.took), took, now, c.alone)
		}
		if off := c.want * 3 / 20; got < c.want-off || got > c.want+off {
			t.Errorf("%s: %d KiB, want about %d", c.name, got>>10, c.want>>10)
		}
	}
}

// A tenant is alone once no other one has submitted for a while.
func TestTenantsAreAloneAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c tenantMix
		for _, step := range []struct {
			app   string
			after time.Duration
			alone bool
		}{
			{"acme#chat", time.Millisecond, true},
			{"acme#chat", aloneAfter, true},
			{"acme#shop", time.Millisecond, false},
			{"acme#shop", aloneAfter, true},
			{"acme#chat", aloneAfter / 2, false},
			{"acme#shop", aloneAfter / 2, false},
		} {
			c.came(step.app)
			time.Sleep(step.after)
			if got := c.alone(time.Now()); got != step.alone {
				t.Errorf("%s, and %v: %v", step.app, step.after, got)
			}
		}
	})
}
