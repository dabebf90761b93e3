package router

import (
	"context"
	"errors"
	"fmt"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/internal/cluster"
)

// unanswered is why partitions are not answered for, from why other nodes did not do it:
// [projector.ErrLate], [projector.ErrNoCopy], or [projector.ErrFoldingAgain] if the copy here is
// folded again and no other one is heard of.
func (r *Router) unanswered(err error) error {
	switch none, ok := errors.AsType[*cluster.NoCopyError](err); {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", projector.ErrLate, err)
	case ok:
		return r.nobody(none.Partition, err)
	}
	return err // whoever asks is gone
}

// nobody is why a partition is not answered for of which no other copy is heard.
func (r *Router) nobody(partition int, err error) error {
	switch {
	case r.FoldingAgain(partition):
		return fmt.Errorf("%w, and no other node answers for it: %w", projector.ErrFoldingAgain, err)
	case r.Serves(partition, 0):
		return fmt.Errorf("%w: the fold here is behind what was answered before: %w", projector.ErrLate, err)
	}
	return fmt.Errorf("%w: %w", projector.ErrNoCopy, err)
}

// untold is why what happens in a partition is not told by anybody.
func (r *Router) untold(partition int, err error) error {
	if preferred, others := r.asker.Copies(partition); len(preferred)+len(others) > 0 {
		return fmt.Errorf("%w: %w", projector.ErrLate, err)
	}
	return r.nobody(partition, err)
}
