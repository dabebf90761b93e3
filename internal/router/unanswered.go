package router

import (
	"context"
	"errors"
	"fmt"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/internal/cluster"
)

// Why a question is not answered, be it by another node. It is [projector.ErrFoldingAgain] if the
// copy here is folded again and no other one is heard of.
var (
	// ErrNoCopy: there is no copy of the partition here that answers, and none is heard of
	// elsewhere.
	ErrNoCopy = errors.New("router: no node that is heard of has a copy of the partition that answers")
	// ErrLate: there is a copy, and none had the answer in time, with all in it that was answered
	// before: its node is busy, behind or out of reach.
	ErrLate = fmt.Errorf("router: the nodes that have a copy of the partition did not answer in time: %w", context.DeadlineExceeded)
)

// unanswered is why partitions are not answered for, from why other nodes did not do it.
func (r *Router) unanswered(err error) error {
	switch none, ok := errors.AsType[*cluster.NoCopyError](err); {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", ErrLate, err)
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
		return fmt.Errorf("%w: the fold here is behind what was answered before: %w", ErrLate, err)
	}
	return fmt.Errorf("%w: %w", ErrNoCopy, err)
}

// untold is why what happens in a partition is not told by anybody.
func (r *Router) untold(partition int, err error) error {
	if preferred, others := r.asker.Copies(partition); len(preferred)+len(others) > 0 {
		return fmt.Errorf("%w: %w", ErrLate, err)
	}
	return r.nobody(partition, err)
}
