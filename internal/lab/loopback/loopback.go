// Package loopback finds addresses of this machine for servers under test.
package loopback

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// The ports of [Free] are below those that systems give connections which go out: one of these
// would take the address before it is listened at, or while what listens there is restarted.
const (
	lowestPort  = 10_000
	highestPort = 32_000
)

// tries is how many ports are tried before it is given up.
const tries = 1000

// Free returns addresses that nobody listens at, all different.
func Free(n int) (addrs []string, err error) {
	for left := tries; len(addrs) < n; left-- {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		switch {
		case err == nil:
			defer l.Close() // once all are found, so that they differ
			addrs = append(addrs, l.Addr().String())
		case left == 0:
			return nil, fmt.Errorf("loopback: no address is free: %w", err)
		}
	}
	return addrs, nil
}
