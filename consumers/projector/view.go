package projector

import (
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/receiptd/receiptd/consumers/internal/fold"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/copystate"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/store"
)

// The questions of the edges, answered over all partitions. A message, a group and what is in it
// lie in one partition; a user's conversations, summaries and rejections in any.

// ask runs a query on a partition's state, which is not switched meanwhile. The error is
// [ErrFoldingAgain] while that state is not complete.
func (w *worker) ask(f func(*projections.Partition) error) error {
	return w.use(func(g *fold.Generation) error {
		if err := w.unanswered(); err != nil {
			return err
		}
		return w.answered(g, f(g.Part))
	})
}

// ofAll asks a question of all partitions, one after the other.
func ofAll[R any](p *Projector, ask func(*projections.Partition) (R, error)) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		for _, w := range p.workers {
			var r R
			err := w.ask(func(part *projections.Partition) (err error) {
				r, err = ask(part)
				return err
			})
			if !yield(r, err) {
				return
			}
		}
	}
}

// Settings returns the settings of an app that are in force in every partition that is here, and
// their revision.
func (p *Projector) Settings(app string) (s events.Settings, revision uint64, ok bool) {
	for _, w := range p.workers {
		if !w.configured() {
			continue
		}
		x, r, known := w.settings(app)
		switch {
		case !known:
			return events.Settings{}, 0, false
		case !ok || r < revision:
			s, revision, ok = x, r, true
		}
	}
	return s, revision, ok
}

// ErrNoApp: the app was never configured.
var ErrNoApp = errors.New("projector: no such app")

// FindApp is Settings with [ErrNoApp] for an app that has none.
func (p *Projector) FindApp(app string) (s events.Settings, revision uint64, err error) {
	s, revision, ok := p.Settings(app)
	if !ok {
		err = ErrNoApp
	}
	return s, revision, err
}

// Apps returns the keys of the apps that have settings in force in every partition that is here, in
// order.
func (p *Projector) Apps() []string {
	in, of := map[string]int{}, 0
	for _, w := range p.workers {
		if !w.configured() {
			continue
		}
		of++
		for app := range w.revisions() {
			in[app]++
		}
	}
	var apps []string
	for app, n := range in {
		if n == of {
			apps = append(apps, app)
		}
	}
	slices.Sort(apps)
	return apps
}

// Configured reports whether a partition is here that knows what apps there are.
func (p *Projector) Configured() bool { return slices.ContainsFunc(p.workers, (*worker).configured) }

// in asks the partition of a conversation.
func (p *Projector) in(c *events.Conversation, f func(*projections.Partition) error) error {
	return p.workers[c.Partition(len(p.workers))].ask(f)
}

// Message returns the message with the id. The error is [projections.ErrNotFound] if the app has
// none, and a [*projections.AmbiguousError] if several of its conversations have one.
func (p *Projector) Message(app, id string) (projections.Message, error) {
	m, err := OnlyMessage(id, ofAll(p, func(part *projections.Partition) (projections.Message, error) { return part.Message(app, id) }))
	return m, NameHolders(p, app, err)
}

// Ask runs a query on the state of a partition, which is not switched meanwhile. The error is that
// of the query, or [ErrFoldingAgain] while that state is not complete.
func (p *Projector) Ask(partition int, f func(*projections.Partition) error) error {
	return p.workers[partition].ask(f)
}

// Unanswered is why questions to a partition are not answered now; nil if they are.
func (p *Projector) Unanswered(partition int) error { return p.workers[partition].unanswered() }

// Serves reports whether a partition is answered for, from a state that has folded an entry.
func (p *Projector) Serves(partition int, sequence uint64) bool {
	w := p.workers[partition]
	return w.unanswered() == nil && (sequence == 0 || w.outcomes.last() >= sequence)
}

// Holders returns conversations that have a message with the id, at most limit of them, in order.
// With a user they are among those that the user is or was in; see
// [projections.Partition.Holders].
func (p *Projector) Holders(app, id, user string, limit int) ([]events.Conversation, error) {
	return JoinHolders(limit, ofAll(p, func(part *projections.Partition) ([]events.Conversation, error) {
		return part.Holders(app, id, user, limit)
	}))
}

// MessageIn returns the message of a conversation, and what a user is to it; see
// [projections.Partition.MessageIn].
func (p *Projector) MessageIn(c events.Conversation, id, user string) (m projections.Found, err error) {
	err = p.in(&c, func(part *projections.Partition) (err error) {
		m, err = part.MessageIn(c, id, user)
		return err
	})
	return m, err
}

// Readers returns a page of a message's readers; see [projections.Partition.Readers].
func (p *Projector) Readers(c events.Conversation, id string, offset, limit int) (page projections.ReaderPage, err error) {
	err = p.in(&c, func(part *projections.Partition) (err error) {
		page, err = part.Readers(c, id, offset, limit)
		return err
	})
	return page, err
}

// NonReaders returns a page of those who have not read a message; see
// [projections.Partition.NonReaders].
func (p *Projector) NonReaders(c events.Conversation, id string, after, limit int) (page projections.NonReaderPage, err error) {
	err = p.in(&c, func(part *projections.Partition) (err error) {
		page, err = part.NonReaders(c, id, after, limit)
		return err
	})
	return page, err
}

// Remaining returns a message without those who have left the group; see
// [projections.Partition.Remaining].
func (p *Projector) Remaining(c events.Conversation, id string) (m projections.Message, err error) {
	err = p.in(&c, func(part *projections.Partition) (err error) {
		m, err = part.Remaining(c, id)
		return err
	})
	return m, err
}

// RemainingReaders is [Projector.Readers] without those who have left the group.
func (p *Projector) RemainingReaders(c events.Conversation, id string, offset, limit int) (page projections.ReaderPage, err error) {
	err = p.in(&c, func(part *projections.Partition) (err error) {
		page, err = part.RemainingReaders(c, id, offset, limit)
		return err
	})
	return page, err
}

// RemainingNonReaders is [Projector.NonReaders] without those who have left the group.
func (p *Projector) RemainingNonReaders(c events.Conversation, id string, after, limit int) (page projections.NonReaderPage, err error) {
	err = p.in(&c, func(part *projections.Partition) (err error) {
		page, err = part.RemainingNonReaders(c, id, after, limit)
		return err
	})
	return page, err
}

// Counts returns the numbers of the messages that are known. If several conversations use one of
// the ids, it fails as Message does.
func (p *Projector) Counts(app string, ids []string) (map[string]projections.Counts, error) {
	all, err := JoinCounts(ofAll(p, func(part *projections.Partition) (map[string]projections.Counts, error) {
		return part.Counts(app, ids)
	}))
	return all, NameHolders(p, app, err)
}

// Rejections returns the latest rejections of an app, newest first.
func (p *Projector) Rejections(app string, limit int) ([]projections.Rejection, error) {
	return JoinRejections(limit, ofAll(p, func(part *projections.Partition) ([]projections.Rejection, error) {
		return part.Rejections(app, limit), nil
	}))
}

// Revisions returns for each app the revision of its settings in each partition, 0 where it is
// unknown or is not here.
func (p *Projector) Revisions() map[string][]uint64 {
	all := map[string][]uint64{}
	for k, w := range p.workers {
		for app, revision := range w.revisions() {
			if all[app] == nil {
				all[app] = make([]uint64, len(p.workers))
			}
			all[app][k] = revision
		}
	}
	return all
}

// SettingsAt returns the settings of an app as one partition has them, and their revision.
func (p *Projector) SettingsAt(partition int, app string) (s events.Settings, revision uint64, ok bool) {
	return p.workers[partition].settings(app)
}

// PartitionStats are a partition's figures for metrics.
type PartitionStats struct {
	projections.Stats
	// DiskBytes is the size of the checkpoint's files.
	DiskBytes uint64
	// CopyState is whether there is one: all else is zero without.
	CopyState copystate.State
	// FoldingAgain is set while the state is not answered from, since it was found corrupt.
	// Corruptions is how often it was, since the start.
	FoldingAgain bool
	Corruptions  uint64
	// DiskFull is set while a checkpoint waits for room on the disk.
	DiskFull bool
}

// Stats returns the figures of each partition.
func (p *Projector) Stats() []PartitionStats {
	out := make([]PartitionStats, len(p.workers))
	for k, w := range p.workers {
		_ = w.use(func(g *fold.Generation) error { // only fails when closed or not here
			out[k] = PartitionStats{
				Stats: g.Part.Stats(), DiskBytes: g.Store.DiskBytes(), DiskFull: g.Store.DiskFull(), CopyState: w.copyState(),
				FoldingAgain: w.copyState() == copystate.Here && w.unanswered() != nil, Corruptions: w.refold.count.Load(),
			}
			return nil
		})
	}
	return out
}

// Poison returns the entries that could not be decoded: how many, and the latest. Of a partition
// whose state is folded again it has those that were folded so far.
func (p *Projector) Poison() (total uint64, latest []projections.PoisonEntry) {
	for _, w := range p.workers {
		_ = w.use(func(g *fold.Generation) error { // only fails when closed
			n, some := g.Part.Poison()
			total += n
			latest = append(latest, some...)
			return nil
		})
	}
	return total, latest
}

// SummaryAt is Summary of one partition.
func (p *Projector) SummaryAt(partition int, app, user, device string) (s projections.Summary, upto uint64, err error) {
	return p.summaryAfter(partition, app, user, device, 0)
}

func (p *Projector) summaryAfter(partition int, app, user, device string, after uint64) (s projections.Summary, upto uint64, err error) {
	err = p.workers[partition].ask(func(part *projections.Partition) (err error) {
		s, upto, err = part.SummaryAfter(app, user, device, after)
		return err
	})
	return s, upto, err
}

// OlderRules reports whether the state of a partition that is here was folded by the rules of an
// earlier version.
func (p *Projector) OlderRules() (older bool, err error) {
	for _, w := range p.here() {
		err := w.ask(func(part *projections.Partition) error {
			older = older || part.OlderRules()
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	return older, nil
}

// Levels are the levels of the rules in force, of each partition, 0 of one that is not here: see
// [projections.Level].
func (p *Projector) Levels() []uint64 {
	all := make([]uint64, len(p.workers))
	for k, w := range p.workers {
		_ = w.use(func(g *fold.Generation) error { // only fails when closed
			all[k] = g.Part.Level()
			return nil
		})
	}
	return all
}

// KnowsDevice reports whether a partition need not be told again that an author has a device.
func (p *Projector) KnowsDevice(partition int, app, user, device string) (known bool, err error) {
	err = p.workers[partition].ask(func(part *projections.Partition) (err error) {
		known, err = part.KnowsDevice(app, user, device)
		return err
	})
	return known, err
}

// WaitFor waits until a partition has folded an entry.
func (p *Projector) WaitFor(ctx context.Context, partition int, sequence uint64) error {
	_, err := p.workers[partition].outcomes.wait(ctx, sequence)
	if errors.Is(err, ErrOutcomeGone) { // folded, long ago
		return nil
	}
	return err
}

// Compact rewrites the state of every partition that is here so that it is as small as it gets; it
// is for measuring and for quiet hours. The error is ErrRebuilding while a rebuild is under way.
func (p *Projector) Compact(ctx context.Context) error {
	// It takes long: a switch or Close that waited for it would hold up everything else.
	if !p.rebuilding.TryLock() {
		return ErrRebuilding
	}
	defer p.rebuilding.Unlock()
	for _, w := range p.here() {
		var st *store.Store
		err := w.use(func(g *fold.Generation) error {
			st = g.Store
			return g.Checkpoint()
		})
		if err == nil {
			err = st.Compact(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
