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
	users map[string]*account // by userKey
	// changed has the accounts to be written.
	changed *writebehind.Turns[string, *account]
}

// account is the positions of one user's devices.
type account struct {
	boxes   int // open mailboxes
	loaded  chan struct{}
	err     error
	devices []position
	acks    int           // since the last purge
	unsaved int           // messages acknowledged since the last position that was written
	saved   chan struct{} // if not nil: closed by the next write
}

// position is up to where one device has everything, and when it last said so, in Unix seconds.
type position struct {
	Device   string `json:"device"`
	Sequence uint64 `json:"sequence"`
	At       int64  `json:"at"`
}

func (l *ledger) init(write func(context.Context, map[string]*account) error) {
	l.users = make(map[string]*account)
	l.changed = writebehind.New(write, func(_, newer *account) *account { return newer })
}

// open returns the position of a device, and keeps the user's positions in memory until close. The
// first mailbox of a user loads them.
func (l *ledger) open(ctx context.Context, b *Inbox, key, device string) (uint64, error) {
	l.mu.Lock()
	a := l.users[key]
	if a == nil {
		a = &account{loaded: make(chan struct{})}
		l.users[key] = a
		a.boxes++
		l.mu.Unlock()
		devices, err := b.loadPositions(ctx, key)
		l.mu.Lock()
		a.devices, a.err = devices, err
		close(a.loaded)
	} else {
		a.boxes++
		l.mu.Unlock()
		select {
		case <-a.loaded:
		case <-ctx.Done():
		}
		l.mu.Lock()
	}
	defer l.mu.Unlock()
	err := a.err
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		l.release(key, a)
		return 0, err
	}
	return a.at(device), nil
}

// at is the position of a device; an unknown one starts where the user's most advanced device is.
func (a *account) at(device string) (sequence uint64) {
	for _, p := range a.devices {
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
	a := l.users[key]
	i := slices.IndexFunc(a.devices, func(p position) bool { return p.Device == device })
	switch {
	case i >= 0:
		// Two tabs of one browser are one device: it has what one of them has.
		a.devices[i].Sequence, a.devices[i].At = max(a.devices[i].Sequence, sequence), now
	case len(a.devices) < maxDevices:
		a.devices = append(a.devices, position{device, sequence, now})
	default:
		oldest := 0
		for k := range a.devices {
			if a.devices[k].At < a.devices[oldest].At {
				oldest = k
			}
		}
		a.devices[oldest] = position{device, sequence, now}
	}
	a.acks++
	a.unsaved += n
	l.changed.Put(key, a)
	if a.unsaved >= saveSoon {
		l.changed.Hurry(key)
	}
}

// settle waits while too many of the user's acknowledgements are not written.
func (l *ledger) settle(ctx context.Context, key string) error {
	for {
		l.mu.Lock()
		a := l.users[key]
		if a == nil || a.unsaved < maxUnsaved {
			l.mu.Unlock()
			return nil
		}
		if a.saved == nil {
			a.saved = make(chan struct{})
		}
		saved := a.saved
		l.mu.Unlock()
		select {
		case <-saved:
		case <-ctx.Done():
			return fmt.Errorf("inbox: positions are not written: %w", ctx.Err())
		}
	}
}

func (l *ledger) close(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.release(key, l.users[key])
}

// release lets go of an account that nobody has open and that is written. The lock is held.
func (l *ledger) release(key string, a *account) {
	if a.boxes--; a.boxes == 0 && !l.changed.Waiting(key) {
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
	account *account
	devices []position
	purge   bool
	unsaved int // messages that this saves
}

// snapshot is what has to be written of these accounts. Devices that were quiet for longer than any
// message is kept are forgotten.
func (l *ledger) snapshot(accounts map[string]*account, quiet time.Time) []change {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]change, 0, len(accounts))
	for key, a := range accounts {
		a.devices = slices.DeleteFunc(a.devices, func(p position) bool { return p.At < quiet.Unix() })
		c := change{key: key, account: a, devices: slices.Clone(a.devices), purge: a.acks >= purgeAfter, unsaved: a.unsaved}
		if c.purge {
			a.acks = 0
		}
		list = append(list, c)
	}
	return list
}

// written lets go of accounts that were only kept to be written.
func (l *ledger) written(list []change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range list {
		c.account.unsaved -= c.unsaved
		if c.account.saved != nil {
			close(c.account.saved)
			c.account.saved = nil
		}
		if c.account.boxes == 0 && !l.changed.Waiting(c.key) && l.users[c.key] == c.account {
			delete(l.users, c.key)
		}
	}
}
