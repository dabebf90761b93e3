package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// read returns the complete lines that have come, or all that is left at the end of the body, with
// the reason why nothing comes any more. They are valid until the next call.
func (u *upload) read(ctx context.Context) (lines []byte, end error) {
	held := copy(*u.buffer, (*u.buffer)[u.taken:])
	*u.buffer, u.taken = (*u.buffer)[:held], 0
	u.fit()
	for {
		if held == cap(*u.buffer) {
			if held >= uploadLine {
				return nil, errUploadLine
			}
			if err := u.grow(2 * held); err != nil {
				return nil, err
			}
		}
		if err := u.wait(ctx); err != nil {
			return nil, err
		}
		b := *u.buffer
		n, err := u.c.r.Body.Read(b[held:cap(b)])
		b = b[:held+n]
		*u.buffer, u.used = b, len(b)
		switch {
		case errors.Is(err, io.EOF):
			u.taken = len(b)
			return b, err
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, err
		case err != nil:
			return nil, bodyError(err) // a line that was cut off is none
		}
		if last := bytes.LastIndexByte(b[held:], '\n'); last >= 0 {
			u.taken = held + last + 1
			u.partial = time.Time{}
			return b[:u.taken], nil
		}
		held = len(b)
	}
}

// grow gives the buffer room for size bytes.
func (u *upload) grow(size int) error {
	had := 0
	if u.buffer != nil {
		had = cap(*u.buffer)
	}
	if err := u.room.Hold(int64(bodies.size(size) - had)); err != nil {
		return err
	}
	u.move(size)
	return nil
}

// fit has the buffer be as large as what came last, and larger if that was all that it could take:
// a stream on which little comes holds little.
func (u *upload) fit() {
	had := cap(*u.buffer)
	size := bodies.size(u.used)
	if u.used == had {
		size = max(had, min(2*had, uploadChunk))
	}
	if size != had && u.room.Fit(int64(size-had)) {
		u.move(size)
	}
}

// move puts what is held into a buffer of another size.
func (u *upload) move(size int) {
	b := bodies.get(size)
	if u.buffer != nil {
		*b = append(*b, *u.buffer...)
		bodies.put(u.buffer)
	}
	u.buffer = b
}

// leave gives back what the stream has.
func (u *upload) leave() {
	bodies.put(u.buffer)
	u.buffer = nil
	u.room.Release()
}

// wait bounds the read that follows: by the time between two lines, or by that which a line may
// take.
func (u *upload) wait(ctx context.Context) error {
	deadline := time.Now()
	if len(*u.buffer) == 0 {
		deadline = deadline.Add(u.a.cfg.Limits.UploadIdle)
	} else {
		if u.partial.IsZero() {
			u.partial = deadline
		}
		deadline = u.partial.Add(u.a.cfg.Limits.Request)
	}
	// One that is a little early is as good.
	if late := deadline.Sub(u.deadline); late < 0 || late > u.a.cfg.Limits.UploadIdle/8 {
		u.deadline = deadline
		_ = u.control.SetReadDeadline(deadline) // where there are none, as in tests, there are none
	}
	// After that, since an interrupt may just have been overwritten.
	if ctx.Err() != nil || u.a.draining.Err() != nil {
		return os.ErrDeadlineExceeded
	}
	return nil
}
