package natstest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// The ports of [FreeAddresses] are below those that systems give connections which go out: one of
// these would take the address before it is listened at, or while what listens there is restarted.
const (
	lowestPort  = 10_000
	highestPort = 32_000
)

// FreeAddresses returns loopback addresses that nobody listens at, all different.
func FreeAddresses(t testing.TB, n int) (addrs []string) {
	t.Helper()
	for tries := 0; len(addrs) < n; tries++ {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		switch {
		case err == nil:
			defer l.Close()
			addrs = append(addrs, l.Addr().String())
		case tries == 1000:
			t.Fatalf("natstest: %v", err)
		}
	}
	return addrs
}
