package projections

import (
	"encoding/binary"
	"errors"

	"github.com/receiptd/receiptd/events"
)

// ErrSplitDue is returned by [Partition.Apply] while the partition is to be split first: see
// [Partition.Split].
var ErrSplitDue = errors.New("the partition is to be split before it takes another entry")

// RepartitionLevel is the level of the rules from which on log.repartitioned is known.
const RepartitionLevel = 2

// share is what part of the log is this partition's.
type share struct {
	id         int
	partitions uint64 // how many the log has, by the last log.repartitioned; 0 = there was none
	splitDue   bool   // [Partition.Split] comes before the next entry
}

// repartition takes over another number of partitions, of which the state then has its part.
func (s *share) repartition(n uint64) events.Outcome {
	if n <= s.partitions || n > events.MaxPartitions {
		return events.OutcomeDuplicate
	}
	s.partitions, s.splitDue = n, true
	return events.OutcomeApplied
}

// keepsApart reports whether what is of no conversation, and is listed or counted over all
// partitions, stays with this one: with the partition that was split, not with the one that came of
// it.
func (s *share) keepsApart() bool { return uint64(s.id)%s.partitions < s.partitions/2 }

// keeps reports whether a conversation belongs to the partition after the split.
func (s *share) keeps(app string, n convName) bool {
	c := events.Conversation{App: app, Group: n.group, A: n.a, B: n.b}
	return uint64(c.Partition(int(s.partitions))) == uint64(s.id)%s.partitions
}

// encode appends nothing as long as there was no repartition.
func (s *share) encode(dst []byte) []byte {
	if s.partitions == 0 {
		return dst
	}
	due := byte(0)
	if s.splitDue {
		due = 1
	}
	return append(binary.AppendUvarint(dst, s.partitions), due)
}

// decode reads what is there, if there may be something.
func (s *share) decode(v *reader, may bool) {
	s.partitions, s.splitDue = 0, false
	if may && len(v.b) > 0 {
		s.partitions, s.splitDue = v.uvarint(), v.byte() != 0
		v.bad = v.bad || s.partitions < 2
	}
}

// repartitioned decides log.repartitioned: docs/rules.md, the section of that name.
func (p *Partition) repartitioned(i int) events.Outcome {
	if p.rules.level < RepartitionLevel {
		return events.OutcomeDuplicate
	}
	return p.share.repartition(p.scratch.attributes(i).Revision)
}

// Repartitions reports whether an entry may say that the log has another number of partitions.
func (x *Decoded) Repartitions() bool {
	if x.Poison != "" || x.Batch == nil {
		return false
	}
	for _, kind := range x.Batch.Kinds {
		if kind == events.LogRepartitioned {
			return true
		}
	}
	return false
}

// Partitions is how many partitions the log has by the last log.repartitioned; 0 = there was none.
func (p *Partition) Partitions() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.share.partitions
}

// SplitDue reports whether the last entry has the partition split: see [Partition.Split].
func (p *Partition) SplitDue() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.share.splitDue
}

// Reopen opens the partition again from its backing, with the options that it has now. The old one
// must not be used any more.
func (p *Partition) Reopen() (*Partition, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.opened
	o.Online = p.taps.online
	return Open(p.share.id, p.back, o)
}
