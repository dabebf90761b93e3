package projections

import (
	"errors"

	"github.com/receiptd/receiptd/events"
)

// ErrSplitDue is returned by [Partition.Apply] while the partition is to be split first: see
// [Partition.Split].
var ErrSplitDue = errors.New("the partition is to be split before it takes another entry")

// RepartitionLevel is the level of the rules from which on log.repartitioned is known.
const RepartitionLevel = 2

// repartitioned decides log.repartitioned: docs/rules.md, the section of that name.
func (p *Partition) repartitioned(i int) events.Outcome {
	n := p.scratch.attributes(i).Revision
	if p.level < RepartitionLevel || n <= p.partitions || n > events.MaxPartitions {
		return events.OutcomeDuplicate
	}
	p.partitions, p.splitting = n, true
	return events.OutcomeApplied
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
	return p.partitions
}

// SplitDue reports whether the last entry has the partition split: see [Partition.Split].
func (p *Partition) SplitDue() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.splitting
}

// keepsApart reports whether what is of no conversation, and is listed or counted over all
// partitions, stays with this one: with the partition that was split, not with the one that came of
// it.
func (p *Partition) keepsApart() bool { return uint64(p.id)%p.partitions < p.partitions/2 }

// keeps reports whether a conversation belongs to the partition after the split.
func (p *Partition) keeps(app string, n convName) bool {
	c := events.Conversation{App: app, Group: n.group, A: n.a, B: n.b}
	return uint64(c.Partition(int(p.partitions))) == uint64(p.id)%p.partitions
}

// Reopen opens the partition again from its backing, with the options that it has now. The old one
// must not be used any more.
func (p *Partition) Reopen() (*Partition, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.opened
	o.Online = p.taps.online
	return Open(p.id, p.back, o)
}
