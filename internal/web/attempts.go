package web

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/receiptd/receiptd/internal/gateway"
)

const (
	// attemptsBurst attempts may be made at once from one address, then one every attemptEvery.
	attemptsBurst = 10
	attemptEvery  = 10 * time.Second
	// From all addresses together totalBurst may be made at once, then totalPerSecond.
	totalBurst     = 200
	totalPerSecond = 5
)

// attempts limits how often the key may be guessed.
type attempts struct {
	now       func() time.Time
	total     *rate.Limiter
	byAddress *gateway.Throttle
}

func newAttempts(now func() time.Time) *attempts {
	return &attempts{
		now: now, total: rate.NewLimiter(totalPerSecond, totalBurst),
		byAddress: gateway.NewThrottle(1/attemptEvery.Seconds(), attemptsBurst).By(now),
	}
}

// allow takes an attempt from an address, as in [net/http.Request.RemoteAddr]. If there are none
// left it says how long to wait for the next.
func (a *attempts) allow(remote string) (wait time.Duration, ok bool) {
	if wait, ok = a.byAddress.Take(gateway.Address(remote), 1); !ok {
		return wait, false
	}
	if !a.total.AllowN(a.now(), 1) {
		return time.Second, false
	}
	return 0, true
}

// forgive forgets the attempts of an address that then had the right key.
func (a *attempts) forgive(remote string) { a.byAddress.Give(gateway.Address(remote), attemptsBurst) }
