// Package unread has connections of clients that do not read, for tests of what a server does about
// them.
package unread

import (
	"net"
	"syscall"
	"testing"
)

// buffer is what the kernel holds for the client, in bytes.
const buffer = 4 << 10

// Dial connects to a TCP address, by a socket that takes little before it is full. The size is set
// before the connection is made: a buffer made smaller later takes back a window that the server
// was promised, the kernel drops what the server has sent into it, and with it the acknowledgements
// of what the client sends. Then neither side gets on, and the server has nothing to write that it
// could be too slow for. The connection is closed at the end of the test.
func Dial(t testing.TB, address string) net.Conn {
	t.Helper()
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) {
			failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, buffer)
		})
		if err != nil {
			return err
		}
		return failed
	}}
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
