package fold

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// Apply folds an entry, as [projections.Partition.Apply] does. If it has the partition split, that
// is done: nothing else may use the generation meanwhile, and Part is another one afterwards.
func (g *Generation) Apply(x projections.Decoded) ([]events.Outcome, error) {
	outcomes, err := g.Part.Apply(x)
	if err != nil || !g.Part.SplitDue() {
		return outcomes, err
	}
	outcomes = slices.Clone(outcomes)
	return outcomes, g.Split(nil)
}

// Split takes out of the state what belongs to the partition that forked off, or that this one
// forked from: see [projections.Partition.Split]. After a crash it is done again by the next open.
func (g *Generation) Split(totals func([]projections.Cohort) error) error {
	defer g.Store.Hurry()()
	g.checkpointing.Lock()
	defer g.checkpointing.Unlock()
	if err := g.checkpointLocked(); err != nil {
		return err
	}
	err := g.Part.Split(g.commit, totals)
	if err == nil {
		err = g.Store.Flush()
	}
	var part *projections.Partition
	if err == nil {
		part, err = g.Part.Reopen()
	}
	if err != nil {
		g.failed = fmt.Errorf("split the state: %w", err)
		return g.failed
	}
	g.Part = part
	return nil
}

// Fork has a partition that has no state begin with that of the one that it forked from, which
// stands before the entry after which they differ. The files are shared until they change.
func Fork(root string, parent *Generation, o Options) error {
	incoming, err := NewIncoming(root)
	if err != nil {
		return err
	}
	if err := os.Remove(incoming); err != nil { // it is made by the export
		return fmt.Errorf("take the state of another partition: %w", err)
	}
	snap, err := parent.Export(incoming)
	if err != nil {
		return err
	}
	if err := snap.Close(); err != nil {
		return err
	}
	g, err := OpenIncoming(root, incoming, o)
	if err != nil {
		return err
	}
	return errors.Join(g.MakeCurrent(root), g.Close())
}
