package loopback

import (
	"net/netip"
	"testing"
)

// A port is none of those that the system gives by itself, which somebody else may have by the time
// a server listens there.
func TestPortsAreNotTheSystems(t *testing.T) {
	addrs, err := Free(100)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, addr := range addrs {
		a, err := netip.ParseAddrPort(addr)
		if err != nil || !a.Addr().IsLoopback() || a.Port() < lowestPort || a.Port() >= highestPort || seen[addr] {
			t.Errorf("%s: %v", addr, err)
		}
		seen[addr] = true
	}
}
