package fold

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
)

// Log is what a state is compared with. [eventlog.Log] is one.
type Log interface {
	Bounds(ctx context.Context, partition int) (first, last uint64, err error)
	// Reach is Bounds for a caller who knows of an entry; see [eventlog.Log.Reach].
	Reach(ctx context.Context, partition int, sequence uint64) (first, last uint64, err error)
	EntryAt(ctx context.Context, partition int, sequence uint64) (eventlog.Entry, error)
}

// ErrCutOff is returned for a state that the log neither agrees with nor can replace.
var ErrCutOff = errors.New("the log is shorter than the state or has another entry at its position, and no longer reaches back to its start; " +
	"if ClickHouse has what is missing, move the directory of the state away and run receiptctl replay --from archive")

// agreeTimeout bounds the comparison of a state with the log.
const agreeTimeout = time.Minute

// Agrees reports whether the generation stands on an entry that the log of a partition has. It is
// false for a log that came back shorter than the state, or with another entry at its position, and
// that has all it takes to fold the state again; without that, the error is [ErrCutOff].
func (g *Generation) Agrees(ctx context.Context, log Log, partition int) (bool, error) {
	seq, fingerprint := g.Part.Position()
	return agrees(ctx, log, partition, seq, fingerprint)
}

func agrees(ctx context.Context, log Log, partition int, seq, fingerprint uint64) (bool, error) {
	if seq == 0 {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, agreeTimeout)
	defer cancel()
	first, last, err := log.Reach(ctx, partition, seq)
	if err != nil {
		return false, fmt.Errorf("compare state with log: %w", err)
	}
	// What retention took cannot be compared; what follows is contiguous, or the reader says
	// so.
	ok := seq < first
	if first <= seq && seq <= last {
		e, err := log.EntryAt(ctx, partition, seq)
		if err != nil {
			return false, fmt.Errorf("compare state with log: %w", err)
		}
		ok = eventlog.Fingerprint(e) == fingerprint
	}
	if !ok && first > 1 {
		return false, fmt.Errorf("%w: position %d, log from %d to %d", ErrCutOff, seq, first, last)
	}
	return ok, nil
}
