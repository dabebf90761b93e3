package events

import "unsafe"

// arena holds the bytes of a batch's strings. What it allocated stays in place until reset, so that
// strings may point into it; reset keeps the memory for the next batch.
type arena struct {
	buf []byte // the free part is buf[len(buf):cap(buf)]
}

const minArena = 4 << 10

func (a *arena) reset() { a.buf = a.buf[:0] }

// alloc returns n bytes. When the block is full, a larger one takes its place; strings in the old
// block keep it alive until they are overwritten.
func (a *arena) alloc(n int) []byte {
	if n > cap(a.buf)-len(a.buf) {
		a.buf = make([]byte, 0, max(2*cap(a.buf), n, minArena))
	}
	from := len(a.buf)
	a.buf = a.buf[:from+n]
	return a.buf[from : from+n : from+n]
}

func (a *arena) copyString(s string) string {
	b := a.alloc(len(s))
	copy(b, s)
	return aliasString(b)
}

func (a *arena) copyBytes(s []byte) string {
	b := a.alloc(len(s))
	copy(b, s)
	return aliasString(b)
}

// aliasString is b as a string, without a copy: the string changes when b does. Its users tell
// their callers: the strings of a batch are valid until the batch is filled again.
func aliasString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
