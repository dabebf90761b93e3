package msync

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/receiptd/receiptd/internal/fair"
)

const (
	// loginBytes bounds the frame by which a client says who it is.
	loginBytes = 16 << 10
	// largeFrame is the size from which on a frame takes some of what all users may send in a
	// second. What smaller ones cost is bounded by their number.
	largeFrame = 4 << 10
	// bytesPerSend is what a user may send with each of their sends, on average.
	bytesPerSend = 10 << 10
)

// Why a connection is not read for a while: labels of the metric.
const (
	delayedUser  = "user"
	delayedShare = "share"
)

// bucket holds ten seconds' worth of what comes at a rate.
func bucket(perSecond int) *rate.Limiter { return rate.NewLimiter(rate.Limit(perSecond), 10*perSecond) }

// charge counts the bytes of a frame that was read.
func (c *session) charge(size int) {
	c.bytes.ReserveN(time.Now(), size) // beyond what there is, the user is in debt
}

// pace waits until the connection may be read again, of which the last frame had so many bytes: as
// long as its user is in debt, and until it is their turn and their app's. Meanwhile the network
// holds the client back, so that what would be refused is not even read, and nothing of it is kept.
func (c *session) pace(size int) error {
	if debt := c.bytes.ReserveN(time.Now(), 0).Delay(); debt > 0 {
		c.delayed(delayedUser)
		select {
		case <-time.After(debt):
		case <-c.ctx.Done():
		}
		c.idle.Reset(c.srv.cfg.Limits.Idle)
	}
	if size < largeFrame {
		return c.why()
	}
	reading, waited := c.srv.reading, false
	// An error is why the session ended.
	taken, _ := reading.AcquireFunc(c.ctx, fair.Key{App: c.app, User: c.user}, int64(size), func() {
		c.delayed(delayedShare)
		waited = true
	})
	if waited {
		c.idle.Reset(c.srv.cfg.Limits.Idle)
	}
	time.AfterFunc(time.Second, func() { reading.Release(taken) })
	return c.why()
}

// delayed notes that the connection has to wait to be read.
func (c *session) delayed(by string) {
	c.srv.metrics.delayed.WithLabelValues(by).Inc()
	c.idle.Stop() // it is not the client who is silent
}
