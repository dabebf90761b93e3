package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// maxDevices bounds the devices of a user that have a position of their own; the one that was quiet longest gives way.
	maxDevices = 16
	// positionEvery is how often positions are written.
	positionEvery = time.Second
	// positionTurns spreads the users over that time: all at once they would hold up what else the server stores.
	positionTurns = 20
	// saveSoon is how many acknowledged messages make a user's position worth writing at once, maxUnsaved how many may be
	// without it: then what is next waits for it. A client is shown these again after a crash, and drops what it still knows:
	// the SDK's memory is the last 100 ids, of what it sends too.
	saveSoon   = 8
	maxUnsaved = 24
	// purgeAfter is how many acknowledgements of a user make it worth removing his messages from the stream.
	purgeAfter = 128
)

// ledger holds the positions of the users who are connected, and of those whose last change is not written yet.
type ledger struct {
	mu    sync.Mutex
	users map[string]*account // by userKey
	dirty [positionTurns]map[string]*account
	seed  maphash.Seed // of the turns
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

// position is up to where one device has everything, and when it last said so (Unix seconds).
type position struct {
	Device   string `json:"device"`
	Sequence uint64 `json:"sequence"`
	At       int64  `json:"at"`
}

func (l *ledger) init() {
	l.users, l.seed = make(map[string]*account), maphash.MakeSeed()
	for k := range l.dirty {
		l.dirty[k] = make(map[string]*account)
	}
}

// changed has the accounts that are to be written in the turn of a user.
func (l *ledger) changed(key string) map[string]*account {
	return l.dirty[l.turn(key)]
}

func (l *ledger) turn(key string) int { return int(maphash.String(l.seed, key) % positionTurns) }

// open returns where the device is, and keeps the user's positions until close. The first mailbox of a user loads them.
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

// at is where a device is; one that is not known starts where the user's most advanced device is.
func (a *account) at(device string) (sequence uint64) {
	for _, p := range a.devices {
		if p.Device == device {
			return p.Sequence
		}
		sequence = max(sequence, p.Sequence)
	}
	return sequence
}

// acknowledge notes that a device has everything up to a sequence, n messages more than before. It returns how many are not
// written yet, and the user's turn.
func (l *ledger) acknowledge(key, device string, sequence uint64, n int) (unsaved, turn int) {
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
	l.changed(key)[key] = a
	return a.unsaved, l.turn(key)
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
	if a.boxes--; a.boxes == 0 && l.changed(key)[key] == nil {
		delete(l.users, key)
	}
}

// floor is the position that every known device has reached.
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

// change is what is to be written of one user.
type change struct {
	key     string
	account *account
	devices []position
	purge   bool
	unsaved int // messages that this saves
}

// changes takes what is to be written in a turn. Devices that were quiet for longer than any message is kept are forgotten.
func (l *ledger) changes(turn int, quiet time.Time) []change {
	l.mu.Lock()
	defer l.mu.Unlock()
	dirty := l.dirty[turn]
	list := make([]change, 0, len(dirty))
	for key, a := range dirty {
		a.devices = slices.DeleteFunc(a.devices, func(p position) bool { return p.At < quiet.Unix() })
		c := change{key: key, account: a, devices: slices.Clone(a.devices), purge: a.acks >= purgeAfter, unsaved: a.unsaved}
		if c.purge {
			a.acks = 0
		}
		list = append(list, c)
	}
	clear(dirty)
	return list
}

// written lets go of accounts that were only kept to be written, or, after an error, has them written again.
func (l *ledger) written(list []change, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range list {
		if err != nil {
			l.changed(c.key)[c.key] = c.account
			continue
		}
		c.account.unsaved -= c.unsaved
		if c.account.saved != nil {
			close(c.account.saved)
			c.account.saved = nil
		}
		if c.account.boxes == 0 && l.changed(c.key)[c.key] == nil && l.users[c.key] == c.account {
			delete(l.users, c.key)
		}
	}
}

// keepPositions writes positions until the inbox is closed.
func (b *Inbox) keepPositions() {
	ticker := time.NewTicker(positionEvery / positionTurns)
	defer ticker.Stop()
	for next := 0; ; {
		turn := next
		select {
		case <-ticker.C:
			next = (next + 1) % positionTurns
		case turn = <-b.saveNow:
		case <-b.ctx.Done():
			return
		}
		if err := b.flushTurn(b.ctx, turn); err != nil && b.ctx.Err() == nil {
			b.logger.Warn("positions could not be written, trying again", "error", err)
		}
	}
}

// flushPositions writes all that changed.
func (b *Inbox) flushPositions(ctx context.Context) (err error) {
	for turn := range positionTurns {
		err = errors.Join(err, b.flushTurn(ctx, turn))
	}
	return err
}

// flushTurn writes what changed, many users with one sync, and removes what all devices have.
func (b *Inbox) flushTurn(ctx context.Context, turn int) error {
	list := b.ledger.changes(turn, time.Now().Add(-b.cfg.MaxAge))
	var failed error
	for part := range slices.Chunk(list, maxBatch) {
		err := failed
		if err == nil {
			err = b.publishPositions(ctx, part)
		}
		b.ledger.written(part, err)
		failed = err
	}
	if failed != nil {
		return fmt.Errorf("inbox: write positions: %w", failed)
	}
	for _, c := range list {
		if low := floor(c.devices); c.purge && low > 0 {
			// What stays behind for an error here leaves by age.
			if b.messages.Purge(ctx, jetstream.WithPurgeSubject(messagePrefix+c.key), jetstream.WithPurgeSequence(low+1)) == nil {
				b.metrics.purged.Inc()
			}
		}
	}
	return nil
}

func (b *Inbox) publishPositions(ctx context.Context, part []change) error {
	msgs := make([]*nats.Msg, len(part))
	for i, c := range part {
		data, err := json.Marshal(c.devices)
		if err != nil {
			return err
		}
		msgs[i] = &nats.Msg{Subject: positionPrefix + c.key, Data: data, Header: nats.Header{}}
	}
	return b.publish(ctx, msgs)
}

func (b *Inbox) loadPositions(ctx context.Context, key string) (devices []position, err error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	msg, err := b.positions.GetLastMsgForSubject(ctx, positionPrefix+key)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("inbox: load positions: %w", err)
	}
	if err := json.Unmarshal(msg.Data, &devices); err != nil {
		return nil, fmt.Errorf("inbox: load positions: %w", err)
	}
	return devices, nil
}
