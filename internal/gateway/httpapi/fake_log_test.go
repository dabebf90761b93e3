package httpapi

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
)

// fakeLog keeps what was submitted: every request becomes one entry in each of two partitions, with
// the events alternating between them.
type fakeLog struct {
	mu        sync.Mutex
	events    []events.Event
	sequence  uint64
	submitErr error
	waitErr   error
	block     chan struct{} // if set, Submit waits for it or for its context
}

func (l *fakeLog) Submit(ctx context.Context, evs []events.Event) (*eventlog.Ticket, error) {
	l.mu.Lock()
	block := l.block
	l.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return nil, eventlog.ErrOverloaded
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.submitErr != nil {
		return nil, l.submitErr
	}
	for _, e := range evs {
		// Copied, as the real log does by encoding: the gateway uses the memory again.
		for _, s := range []*string{&e.Group, &e.Peer, &e.User, &e.Message, &e.Content, &e.EventID} {
			*s = strings.Clone(*s)
		}
		e.Members, e.Admins = cloneAll(e.Members), cloneAll(e.Admins)
		l.events = append(l.events, e)
	}
	l.sequence++
	return fakeTicket(l.sequence, len(evs), l.waitErr), nil
}

func cloneAll(list []string) []string {
	list = slices.Clone(list)
	for i := range list {
		list[i] = strings.Clone(list[i])
	}
	return list
}

func (l *fakeLog) taken() []events.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.events
	l.events = nil
	return taken
}

// fakeTicket is that of n events, which alternate between two partitions. With
// context.DeadlineExceeded they are never stored.
func fakeTicket(sequence uint64, n int, err error) *eventlog.Ticket {
	if errors.Is(err, context.DeadlineExceeded) {
		sequence, err = 0, nil
	}
	locations := make([]eventlog.Location, n)
	for i := range locations {
		// Other requests' events come first in the entry.
		locations[i] = eventlog.Location{Partition: i % 2, Sequence: sequence, Index: i/2 + 3}
	}
	return eventlog.NewTicket(locations, err)
}
