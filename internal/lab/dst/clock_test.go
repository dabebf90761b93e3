package dst

import "syscall"

// nanotime is the time that a bubble does not stop, in nanoseconds.
func nanotime() int64 {
	var t syscall.Timeval
	if err := syscall.Gettimeofday(&t); err != nil {
		panic(err)
	}
	return t.Nano()
}
