package httpapi

import (
	"net/http"
	"sync"

	"github.com/receiptd/receiptd/internal/fair"
)

// streamCount bounds the open streams: those of a user, and all of them, which apps share.
type streamCount struct {
	perUser int
	slots   *fair.Slots
	mu      sync.Mutex
	users   map[[2]string]int // by app and user
}

func newStreamCount(limits Limits, weight func(app string) int) *streamCount {
	return &streamCount{perUser: limits.StreamsPerUser, slots: fair.NewSlots(limits.Streams, weight), users: make(map[[2]string]int)}
}

func (n *streamCount) open() int { return n.slots.Taken() }

// admit counts a stream until release is called, or until lost is: its slot has gone to another
// app then.
func (n *streamCount) admit(app, user string, lost func()) (release func(), err error) {
	key := [2]string{app, user}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.users[key] >= n.perUser {
		return nil, newError(http.StatusTooManyRequests, "too_many_streams", "the user has too many open streams").again(5)
	}
	slot := n.slots.Take(app, lost)
	if slot == nil {
		return nil, newError(http.StatusServiceUnavailable, "too_many_streams", "the server has too many open streams").again(5)
	}
	n.users[key]++
	return func() {
		slot.Release()
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.users[key]--; n.users[key] == 0 {
			delete(n.users, key)
		}
	}, nil
}
