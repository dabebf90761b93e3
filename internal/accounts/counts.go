package accounts

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// maxCounts bounds the counts that are kept. One that was forgotten is counted again.
const maxCounts = 100_000

// release takes back what reserve counted.
func (a *Accounts) release(filter string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, counted := a.counts[filter]; counted {
		a.counts[filter]--
	}
}

// reserve counts one more key that matches filter, or returns full if there are as many as may be.
// What other processes store meanwhile is not in the count, so the limit is only exact for a
// single process.
func (a *Accounts) reserve(ctx context.Context, filter string, most int, full error) error {
	a.mu.Lock()
	_, counted := a.counts[filter]
	a.mu.Unlock()
	n := 0
	if !counted {
		keys, err := a.keys(ctx, filter)
		if err != nil {
			return fmt.Errorf("accounts: count: %w", err)
		}
		n = len(keys)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, counted := a.counts[filter]; !counted {
		for other := range a.counts {
			if len(a.counts) < maxCounts {
				break
			}
			delete(a.counts, other)
		}
		a.counts[filter] = n
	}
	if a.counts[filter] >= most {
		return full
	}
	a.counts[filter]++
	return nil
}

// recount has a filter counted anew, with what other processes stored or removed.
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
