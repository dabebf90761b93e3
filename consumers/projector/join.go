package projector

import (
	"cmp"
	"errors"
	"iter"
	"slices"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// What the partitions answered to a question, put together: those of this process, or of several
// nodes. The answers come in the order of the partitions; the first error ends it.

// OnlyMessage is the only message with an id. The error is [projections.ErrNotFound] if no
// partition has one, and a [*projections.AmbiguousError], which lists nothing, if there are
// several.
func OnlyMessage(id string, answers iter.Seq2[projections.Message, error]) (projections.Message, error) {
	var only projections.Message
	found := false
	for m, err := range answers {
		switch {
		case errors.Is(err, projections.ErrNotFound):
		case err != nil:
			return projections.Message{}, err
		case found:
			return projections.Message{}, &projections.AmbiguousError{ID: id}
		default:
			only, found = m, true
		}
	}
	if !found {
		return only, projections.ErrNotFound
	}
	return only, nil
}

// JoinCounts are the counts of messages by their ids. The error is a
// [*projections.AmbiguousError], which lists nothing, for an id that several partitions know.
func JoinCounts(answers iter.Seq2[map[string]projections.Counts, error]) (map[string]projections.Counts, error) {
	var all map[string]projections.Counts
	for some, err := range answers {
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = some
			continue
		}
		for id, c := range some {
			if _, known := all[id]; known {
				return nil, &projections.AmbiguousError{ID: id}
			}
			all[id] = c
		}
	}
	return all, nil
}

// NameHolders has an error for an id of several messages list the conversations that they are of.
// Any other error stays as it is.
func NameHolders(state interface {
	Holders(app, id, user string, limit int) ([]events.Conversation, error)
}, app string, err error) error {
	several, ok := errors.AsType[*projections.AmbiguousError](err)
	if !ok {
		return err
	}
	all, err := state.Holders(app, several.ID, "", projections.MaxHolders+1)
	if err != nil {
		return err
	}
	return projections.NewAmbiguousError(several.ID, all)
}

// JoinHolders are conversations that have a message, in order, at most limit of them.
func JoinHolders(limit int, answers iter.Seq2[[]events.Conversation, error]) ([]events.Conversation, error) {
	all, err := concat(answers)
	slices.SortFunc(all, func(x, y events.Conversation) int {
		return cmp.Or(cmp.Compare(x.A, y.A), cmp.Compare(x.B, y.B), cmp.Compare(x.Group, y.Group))
	})
	return all[:min(limit, len(all))], err
}

// JoinRejections are the latest rejections, newest first, at most limit of them.
func JoinRejections(limit int, answers iter.Seq2[[]projections.Rejection, error]) ([]projections.Rejection, error) {
	all, err := concat(answers)
	slices.SortStableFunc(all, func(a, b projections.Rejection) int { return cmp.Compare(b.At, a.At) })
	return all[:min(limit, len(all))], err
}

// JoinConversations are the conversations of a user, in the order of
// [projections.SortConversations].
func JoinConversations(answers iter.Seq2[[]projections.ConversationView, error]) ([]projections.ConversationView, error) {
	all, err := concat(answers)
	projections.SortConversations(all)
	return all, err
}

// Any reports whether the answer of at least one partition is true.
func Any(answers iter.Seq2[bool, error]) (is bool, err error) {
	for here, err := range answers {
		if err != nil {
			return false, err
		}
		is = is || here
	}
	return is, nil
}

// Collect returns the answers of all partitions, in their order, or the first error.
func Collect[R any](answers iter.Seq2[R, error]) (all []R, err error) {
	for one, err := range answers {
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// concat puts the lists of all partitions one after the other.
func concat[T any](answers iter.Seq2[[]T, error]) ([]T, error) {
	lists, err := Collect(answers)
	return slices.Concat(lists...), err
}

// JoinedSummary is an author's summary put together from those of partitions.
type JoinedSummary struct {
	projections.Summary
	// Upto has for each partition the last entry that is in it; 0 where it was not asked.
	Upto []uint64
}

// NewJoinedSummary makes an empty one for so many partitions.
func NewJoinedSummary(partitions int) *JoinedSummary {
	return &JoinedSummary{Upto: make([]uint64, partitions)}
}

// Add adds what a partition has up to an entry. Items are merged by their times, those of each
// partition staying in their order.
func (j *JoinedSummary) Add(partition int, s projections.Summary, upto uint64) {
	j.Items = merge(j.Items, s.Items)
	j.Dropped += s.Dropped
	j.Upto[partition] = upto
}

// merge merges two lists of items, the earlier head first.
func merge(a, b []projections.SummaryItem) []projections.SummaryItem {
	all := make([]projections.SummaryItem, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if b[0].At() < a[0].At() {
			all, b = append(all, b[0]), b[1:]
		} else {
			all, a = append(all, a[0]), a[1:]
		}
	}
	return append(append(all, a...), b...)
}
