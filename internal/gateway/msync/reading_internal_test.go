package msync

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/receiptd/receiptd/internal/fair"
)

// While the users of one app send more large frames than are read of all, a user of another app
// waits for what is read just now and no longer, and nobody's small frames wait.
func TestLargeFramesAreSharedByApps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, atOnce = 60 << 10, 10
		limits := Limits{ReadBytes: atOnce * size}.withDefaults()
		s := &Server{
			cfg: Config{Limits: limits}, metrics: newMetrics(nil), reading: fair.New(fair.Options{Capacity: limits.ReadBytes}),
		}
		connect := func(app, user string) *session {
			c := &session{
				srv: s, app: app, user: user, bytes: bucket(limits.BytesPerSecond), idle: time.NewTimer(limits.Idle),
			}
			c.ctx, c.end = context.WithCancelCause(t.Context())
			return c
		}
		took := func(c *session, size int) time.Duration {
			began := time.Now()
			if err := c.pace(size); err != nil {
				t.Error(err)
			}
			return time.Since(began)
		}
		var read atomic.Int64
		var loud []*session
		for i := range 100 {
			c := connect("acme#loud", fmt.Sprint("user", i))
			loud = append(loud, c)
			go func() {
				for c.pace(size) == nil {
					read.Add(1)
					time.Sleep(10 * time.Millisecond) // until the next one is there
				}
			}()
		}
		synctest.Wait()
		quiet := connect("acme#quiet", "ann")
		began := time.Now()
		for time.Since(began) < 20*time.Second {
			if d := took(quiet, size); d > time.Second {
				t.Errorf("a large frame of the quiet app waited for %s", d)
			}
			if d := took(quiet, largeFrame-1); d > 0 {
				t.Errorf("a small frame waited for %s", d)
			}
			time.Sleep(300 * time.Millisecond)
		}
		seconds := int64(time.Since(began) / time.Second)
		if n := read.Load(); n < seconds*(atOnce-4) || n > (seconds+1)*atOnce {
			t.Errorf("%d frames of the loud app were read in %d seconds, %d may be in one", n, seconds, atOnce)
		}
		for _, c := range loud {
			c.fail(errGone)
		}
		synctest.Wait() // who waits notices
		time.Sleep(2 * time.Second)
		if n := s.reading.Taken() + int64(s.reading.Waiting()); n != 0 {
			t.Errorf("%d bytes or users are left over", n)
		}
	})
}
