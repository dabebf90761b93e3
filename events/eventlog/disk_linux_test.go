package eventlog_test

import (
	"os"
	"runtime"
	"syscall"
)

// asOrdinaryUser calls f as somebody whom file modes bind: for root, on a thread that is nobody as
// far as files are concerned, and that ends with f.
func asOrdinaryUser(f func() error) error {
	if os.Geteuid() != 0 {
		return f()
	}
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := syscall.Setfsuid(65534); err != nil {
			result <- err
			return
		}
		result <- f()
	}()
	return <-result
}
