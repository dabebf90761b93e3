package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/notary"
)

// treeRepair notices whether a repair changes the Merkle trees of the log.
type treeRepair struct {
	leaves  eventlog.Leaves
	unknown bool // the hash of a lost entry is
}

func (t *treeRepair) leaf(partition int, sequence uint64) merkle.Hash {
	leaf := t.leaves(partition, sequence)
	t.unknown = t.unknown || leaf == merkle.Hash{}
	return leaf
}

// changed reports whether a tree is no longer what was signed: a hash is not known, or another log
// was taken for the right one.
func (t *treeRepair) changed(list []eventlog.Repaired) bool {
	return t.unknown || slices.ContainsFunc(list, func(r eventlog.Repaired) bool { return r.Partition >= 0 && r.OtherLog })
}

// Repair mends what a start refuses, in the data of a stopped server; see [eventlog.Repair]. A
// state that stands beyond the log is folded again, and so is every state if entries are lost; the
// old ones are kept unless the new ones are equal. If the trees of the log are then other ones than
// were signed, key and heads are put aside too. It returns what it did to the log, and folds up to
// its end. Wherever it is cut off, no start takes the data for repaired, and the next call with the
// same options finishes it.
func Repair(ctx context.Context, cfg config.Config, o eventlog.RepairOptions, logger *slog.Logger) (list []eventlog.Repaired, err error) {
	lock, err := openData(cfg.Data)
	if err != nil {
		return nil, err
	}
	again, err := beginRepair(cfg.Data)
	if err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	var before []string
	if !again {
		before = keptStates(cfg)
	}
	leaves, closeStates := projector.StoredLeaves(filepath.Join(cfg.Data, stateDir))
	tree := treeRepair{leaves: leaves}
	o.Leaves, o.Again = tree.leaf, again
	list, err = eventlog.Repair(ctx, filepath.Join(cfg.Data, logDir), witnessOf(cfg), o)
	err = errors.Join(err, closeStates())
	if err == nil {
		var ahead []eventlog.Repaired
		ahead, err = statesAhead(ctx, cfg, o)
		list = append(list, ahead...)
	}
	if err == nil && (tree.changed(list) || o.AcceptLoss && notary.Check(cfg.Data) != nil) {
		var aside []eventlog.Repaired
		aside, err = setHeadsAside(cfg.Data)
		list = append(list, aside...)
	}
	if !again && changedNothing(list, err) {
		err = errors.Join(err, endRepair(cfg.Data))
	}
	if err = errors.Join(err, lock.Unlock()); err != nil {
		return list, err
	}
	again = again || slices.ContainsFunc(list, func(r eventlog.Repaired) bool { return len(r.Lost) > 0 })
	done, err := foldRepaired(ctx, cfg, again, logger)
	list = append(list, done...)
	for _, dir := range keptStates(cfg) {
		if !slices.Contains(before, dir) {
			list = append(list, eventlog.Repaired{Partition: -1, Aside: dir, What: "a state differs from what the log says now, and is kept: it may be the only trace of what is lost"})
		}
	}
	if err == nil || errors.Is(err, projector.ErrNeedsArchive) { // which takes another tool
		err = errors.Join(err, endRepair(cfg.Data))
	}
	return list, err
}

// foldRepaired brings the states to what a repaired log says. With lost, they may have folded what
// it has lost, and the heads may be of another tree.
func foldRepaired(ctx context.Context, cfg config.Config, lost bool, logger *slog.Logger) (done []eventlog.Repaired, err error) {
	core, err := openCore(ctx, cfg, keepOld, logger)
	if err != nil {
		return nil, err
	}
	_, err = core.Projector.CatchUp(ctx)
	if errors.Is(err, projector.ErrNeedsArchive) {
		err = fmt.Errorf("the log is repaired; %w", err)
	}
	rewritten := false
	if err == nil && lost {
		// Without this a state would never be what the log says. A log whose first entries have
		// left it cannot say, and what the state has is all there is.
		var result projector.RebuildResult
		result, err = core.Projector.Rebuild(ctx, projector.RebuildOptions{Switch: true, Heads: core.KnownHeads})
		if errors.Is(err, projector.ErrNeedsArchive) {
			err = nil
		}
		rewritten = slices.ContainsFunc(result.Partitions, func(p projector.PartitionResult) bool { return p.Rewritten != nil })
	}
	if err = errors.Join(err, core.Close(context.WithoutCancel(ctx))); err == nil && rewritten {
		return setHeadsAside(cfg.Data)
	}
	return nil, err
}

// setHeadsAside moves key and heads of a log aside that is no longer what was signed.
func setHeadsAside(data string) ([]eventlog.Repaired, error) {
	return []eventlog.Repaired{{
		Partition: -1, What: "the log's key and its signed heads are moved aside; the next start begins with new ones",
	}}, notary.SetAside(data, time.Now())
}

// keptStates are the states that repairs have kept.
func keptStates(cfg config.Config) []string {
	// The pattern is a good one.
	list, _ := filepath.Glob(filepath.Join(cfg.Data, stateDir, "p*", projector.KeptPrefix+"*"))
	return list
}

// statesAhead says which states are going to be folded again since the log does not have what they
// stand on. The error is [eventlog.ErrLoss] if what they have and the log does not is not accepted
// to be lost.
func statesAhead(ctx context.Context, cfg config.Config, o eventlog.RepairOptions) (list []eventlog.Repaired, err error) {
	var x Examination
	if err := errors.Join(x.log(ctx, cfg), x.states(ctx, cfg)); err != nil {
		return nil, err
	}
	for _, f := range x.Findings {
		if f.Code == foundStateAhead {
			if !o.AcceptLoss && !eventlog.Covered(o.Accept, f.Stream, f.First, f.Last) {
				return list, fmt.Errorf("%w: %s", eventlog.ErrLoss, f.String())
			}
			list = append(list, eventlog.Repaired{Stream: f.Stream, What: f.What + "; it is folded again from the log, and what was acknowledged besides is lost, of accounts and inboxes, too, if they are as old"})
		}
	}
	return list, nil
}

// SetReplicaAside has the node whose data it is get a stream again from the others when it starts;
// see [eventlog.SetReplicaAside].
func SetReplicaAside(cfg config.Config, stream string) (done eventlog.Repaired, err error) {
	lock, err := openData(cfg.Data)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	return eventlog.SetReplicaAside(filepath.Join(cfg.Data, logDir), stream)
}
