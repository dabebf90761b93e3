package web

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// attemptsBurst attempts may be made at once from one address, then one every attemptEvery.
	attemptsBurst = 10
	attemptEvery  = 10 * time.Second
	// maxAddresses bounds the addresses that are remembered. Beyond it they are all forgotten, and
	// the limit over all addresses, totalBurst at once and totalPerSecond after that, is what
	// holds.
	maxAddresses   = 4096
	totalBurst     = 200
	totalPerSecond = 5
)

// attempts limits how often the key may be guessed.
type attempts struct {
	now func() time.Time

	mu        sync.Mutex
	total     *rate.Limiter
	byAddress map[netip.Addr]*rate.Limiter
}

func newAttempts(now func() time.Time) *attempts {
	return &attempts{now: now, total: rate.NewLimiter(totalPerSecond, totalBurst), byAddress: map[netip.Addr]*rate.Limiter{}}
}

// allow takes an attempt from an address, as in [net/http.Request.RemoteAddr]. If there are none
// left it says how long to wait for the next.
func (a *attempts) allow(remote string) (wait time.Duration, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := addressOf(remote)
	one := a.byAddress[at]
	if one == nil {
		if len(a.byAddress) >= maxAddresses {
			clear(a.byAddress)
		}
		one = rate.NewLimiter(rate.Every(attemptEvery), attemptsBurst)
		a.byAddress[at] = one
	}
	now := a.now()
	if !one.AllowN(now, 1) {
		return attemptEvery, false
	}
	if !a.total.AllowN(now, 1) {
		return time.Second, false
	}
	return 0, true
}

// forgive forgets the attempts of an address that then had the right key.
func (a *attempts) forgive(remote string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.byAddress, addressOf(remote))
}

// addressOf is the address by which attempts are counted: for IPv6 the network, since one host has
// many addresses of it.
func addressOf(remote string) netip.Addr {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{} // all that cannot be told apart share one
	}
	address = address.Unmap().WithZone("")
	if address.Is6() {
		network, _ := address.Prefix(64)
		address = network.Addr()
	}
	return address
}
