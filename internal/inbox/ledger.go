package inbox

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/receiptd/receiptd/internal/writebehind"
)

const (
	// maxDevices bounds the devices of a user that have a position; the one that was quiet for the
	// longest time gives way.
	maxDevices = 16
	// saveSoon is how many acknowledged messages make a user's position worth writing at once, and
	// maxUnsaved how many may be without it: then what comes next waits for it. A client is shown
	// these again after a crash, and drops what it still remembers: the SDK knows the last 100 ids,
	// those of what it sends included.
	saveSoon   = 8
	maxUnsaved = 24
	// purgeAfter is how many acknowledgements of a user make it worth removing their messages from
	// the stream.
	purgeAfter = 128
)

// ledger holds the positions of the users who are connected, and of those whose last change is not
// written yet.
type ledger struct {
	mu    sync.Mutex
	users map[string]*userDevices // by userKey
	// changed has the users to be written.
	changed *writebehind.Buffer[string, *userDevices]
}

// userDevices are the positions of one user's devices.
type userDevices struct {
	boxes   int // open mailboxes
	loaded  chan struct{}
	err     error
	devices []position
	acks    int           // since the last purge
	unsaved int           // messages acknowledged since the last position that was written
	saved   chan struct{} // if not nil: closed by the next write
	// unstored: the devices' positions are not all in the stream. They wait to be written,
	// or are just being written.
	unstored bool
}

// position is up to where one device has everything, and when it last said so, in Unix seconds.
type position struct {
	Device   string `json:"device"`
	Sequence uint64 `json:"sequence"`
	At       int64  `json:"at"`

	// Of several processes: what is stored of the device, and as which message; see devices.go.
	written, revision uint64
}

func (l *ledger) init(write func(context.Context, map[string]*userDevices) error) {
	l.users = make(map[string]*userDevices)
	l.changed = writebehind.New(write, func(_, newer *userDevices) *userDevices { return newer })
}

// open returns the position of a device, and keeps the user's positions in memory until close. The
// first mailbox of a user loads them.
func (l *ledger) open(ctx context.Context, b *Inbox, key, device string) (uint64, error) {
	l.mu.Lock()
	u := l.users[key]
	if u == nil {
		u = &userDevices{loaded: make(chan struct{})}
		l.users[key] = u
		u.boxes++
		l.mu.Unlock()
		devices, err := b.loadPositions(ctx, key)
		l.mu.Lock()
		u.devices, u.err = devices, err
		close(u.loaded)
	} else {
		u.boxes++
		l.mu.Unlock()
		select {
		case <-u.loaded:
		case <-ctx.Done():
		}
		l.mu.Lock()
	}
	defer l.mu.Unlock()
	err := u.err
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		l.release(key, u)
		return 0, err
	}
	return u.at(device), nil
}

// at is the position of a device; an unknown one starts where the user's most advanced device is.
func (u *userDevices) at(device string) (sequence uint64) {
	for _, p := range u.devices {
		if p.Device == device {
			return p.Sequence
		}
		sequence = max(sequence, p.Sequence)
	}
	return sequence
}

// acknowledge notes that a device has everything up to a sequence, n messages more than before.
func (l *ledger) acknowledge(key, device string, sequence uint64, n int) {
	now := time.Now().Unix()
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.users[key]
	i := slices.IndexFunc(u.devices, func(p position) bool { return p.Device == device })
	switch {
	case i >= 0:
		// Two tabs of one browser are one device: it has what one of them has.
		u.devices[i].Sequence, u.devices[i].At = max(u.devices[i].Sequence, sequence), now
	case len(u.devices) < maxDevices:
		u.devices = append(u.devices, position{Device: device, Sequence: sequence, At: now})
	default:
		oldest := 0
		for k := range u.devices {
			if u.devices[k].At < u.devices[oldest].At {
				oldest = k
			}
		}
		u.devices[oldest] = position{Device: device, Sequence: sequence, At: now}
	}
	u.acks++
	u.unsaved += n
	u.unstored = true
	l.changed.Put(key, u)
	if u.unsaved >= saveSoon {
		l.changed.Hurry(key)
	}
}

// settle waits while too many of the user's acknowledgements are not written.
func (l *ledger) settle(ctx context.Context, key string) error {
	for {
		l.mu.Lock()
		u := l.users[key]
		if u == nil || u.unsaved < maxUnsaved {
			l.mu.Unlock()
			return nil
		}
		if u.saved == nil {
			u.saved = make(chan struct{})
		}
		saved := u.saved
		l.mu.Unlock()
		select {
		case <-saved:
		case <-ctx.Done():
			return fmt.Errorf("inbox: positions are not written: %w", ctx.Err())
		}
	}
}

// soon has a user's positions written next, if any wait: a device that goes to another process
// begins there with what is written.
func (l *ledger) soon(key string) {
	if l.changed.Waiting(key) {
		l.changed.Hurry(key)
	}
}

func (l *ledger) close(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.release(key, l.users[key])
}

// release lets go of a user that nobody has open and that is written: one that is only being
// written would be read from the stream as it was before by a device that comes back at once. The
// lock is held.
func (l *ledger) release(key string, u *userDevices) {
	if u.boxes--; u.boxes == 0 && !u.unstored {
		delete(l.users, key)
	}
}

// floor is the sequence that every known device has reached.
func floor(devices []position) uint64 {
	if len(devices) == 0 {
		return 0
	}
	low := devices[0].Sequence
	for _, p := range devices[1:] {
		low = min(low, p.Sequence)
	}
	return low
}

// change is what has to be written of one user.
type change struct {
	key     string
	user    *userDevices
	devices []position
	purge   bool
	unsaved int // messages that this saves
}

// snapshot is what has to be written of these users. Devices that were quiet for longer than any
// message is kept are forgotten.
func (l *ledger) snapshot(users map[string]*userDevices, quiet time.Time) []change {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]change, 0, len(users))
	for key, u := range users {
		u.devices = slices.DeleteFunc(u.devices, func(p position) bool { return p.At < quiet.Unix() })
		c := change{key: key, user: u, devices: slices.Clone(u.devices), purge: u.acks >= purgeAfter, unsaved: u.unsaved}
		if c.purge {
			u.acks = 0
		}
		list = append(list, c)
	}
	return list
}

// written lets go of users that were only kept to be written.
func (l *ledger) written(list []change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range list {
		c.user.unsaved -= c.unsaved
		if c.user.saved != nil {
			close(c.user.saved)
			c.user.saved = nil
		}
		c.user.unstored = l.changed.Waiting(c.key) // something came since the snapshot
		if c.user.boxes == 0 && !c.user.unstored {
			delete(l.users, c.key)
		}
	}
}
