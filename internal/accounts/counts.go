package accounts

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// maxCounts bounds the tallies that are kept. One that was forgotten is counted again.
	maxCounts = 100_000
	// countAfter is after how many times as long as counting took keys are counted anew where other
	// processes store some, too.
	countAfter = 50
)

// tally is how many keys match a filter.
type tally struct {
	stored  int // when they were counted, and what was stored and removed here since
	pending int // those that are about to be stored here
	made    int // those that were stored here, ever
	counted time.Time
	took    time.Duration
}

// reserve counts one more key that matches filter, which is about to be stored, or returns full if
// there are as many as may be. Whoever stores it says by done whether it was. The limit is exact
// for a single process; several may pass it by what the others store until they are counted.
func (a *Accounts) reserve(ctx context.Context, filter string, most int, full error) (done func(stored bool), err error) {
	t, err := a.count(ctx, filter)
	if err != nil {
		return nil, fmt.Errorf("accounts: count: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.stored+t.pending >= most {
		return nil, full
	}
	t.pending++
	return func(stored bool) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if t.pending--; stored {
			t.stored++
			t.made++
		}
	}, nil
}

// count returns the tally of a filter, counted anew if that is due.
func (a *Accounts) count(ctx context.Context, filter string) (*tally, error) {
	began := time.Now()
	a.mu.Lock()
	t, made := a.counts[filter], 0
	if t != nil {
		if !a.cfg.Shared || began.Sub(t.counted) <= countAfter*t.took {
			a.mu.Unlock()
			return t, nil
		}
		t.counted, made = began, t.made // nobody else need count
	}
	a.mu.Unlock()
	keys, err := a.keys(ctx, filter)
	a.mu.Lock()
	defer a.mu.Unlock()
	known := a.counts[filter]
	switch {
	case err != nil && t == nil:
		return nil, err
	case err != nil: // what was known has to do
	case t == nil && known != nil: // somebody else was faster
		t = known
	case t == nil:
		a.forgetCounts()
		t = &tally{stored: len(keys), counted: began}
		a.counts[filter] = t
	default:
		// What was stored here meanwhile may be among them, or not.
		t.stored = len(keys) + t.made - made
	}
	t.took = time.Since(began)
	return t, nil
}

// forgetCounts makes room for another tally. a.mu is held.
func (a *Accounts) forgetCounts() {
	for filter, t := range a.counts {
		if len(a.counts) < maxCounts {
			return
		}
		if t.pending == 0 {
			delete(a.counts, filter)
		}
	}
}

// release counts one key less, which was removed.
func (a *Accounts) release(filter string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t := a.counts[filter]; t != nil {
		t.stored--
	}
}

// recount has a filter counted anew, with what other processes stored or removed. Nothing that
// matches it may be about to be stored here.
func (a *Accounts) recount(filter string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.counts, filter)
}

// keys are those that match a filter, in no order, as the stream's leader has them.
func (a *Accounts) keys(ctx context.Context, filter string) ([]string, error) {
	info, err := a.stream.Info(ctx, jetstream.WithSubjectFilter(subject(filter)))
	if err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(info.State.Subjects))
	for s := range info.State.Subjects {
		keys = append(keys, strings.TrimPrefix(s, subject("")))
	}
	return keys, nil
}
