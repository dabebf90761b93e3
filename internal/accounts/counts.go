package accounts

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// maxCounts bounds the counts that are kept. One that was forgotten is counted again.
const maxCounts = 100_000

// release takes back what reserve counted.
func (a *Accounts) release(prefix string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, counted := a.counts[prefix]; counted {
		a.counts[prefix]--
	}
}

// reserve counts one more key that begins with prefix, or returns full if there are as many as may
// be. What other processes store meanwhile is not in the count, so the limit is only exact for a
// single process.
func (a *Accounts) reserve(ctx context.Context, prefix string, most int, full error) error {
	a.mu.Lock()
	_, counted := a.counts[prefix]
	a.mu.Unlock()
	n := 0
	if !counted {
		info, err := a.stream.Info(ctx, jetstream.WithSubjectFilter("$KV."+bucket+"."+prefix+"*"))
		if err != nil {
			return fmt.Errorf("accounts: count: %w", err)
		}
		n = len(info.State.Subjects)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, counted := a.counts[prefix]; !counted {
		for other := range a.counts {
			if len(a.counts) < maxCounts {
				break
			}
			delete(a.counts, other)
		}
		a.counts[prefix] = n
	}
	if a.counts[prefix] >= most {
		return full
	}
	a.counts[prefix]++
	return nil
}
