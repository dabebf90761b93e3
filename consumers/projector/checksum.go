package projector

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/receiptd/receiptd/consumers/internal/fold"
	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/internal/copystate"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/store"
)

// ErrPassed is returned for a checksum at an entry that the fold has passed.
var ErrPassed = errors.New("projector: the fold has passed the entry")

// Checksum is what the state of a partition was at an entry: the head of the tree of the log up to
// there, and the digest of the state. Folds of the same log have the same checksums.
type Checksum struct {
	Head   merkle.Head
	Digest string
	// Rules is by which the state was folded: see [projections.Rules].
	Rules uint64
	// Cost is how long it took to read the state, without the time until the fold was there.
	Cost time.Duration
}

// checksumRequest is for the fold to answer when it comes to an entry.
type checksumRequest struct {
	sequence uint64
	snapshot chan *store.Snapshot // nil if there is none: the fold has passed the entry, for one
	// settled is set by whoever is first: the answer, or the one who no longer waits for it.
	settled atomic.Bool
}

// answer hands over a snapshot, or closes it if nobody waits for it.
func (m *checksumRequest) answer(snap *store.Snapshot) {
	if m.settled.CompareAndSwap(false, true) {
		m.snapshot <- snap
	} else if snap != nil {
		_ = snap.Close()
	}
}

// takeChecksum answers a request. It is called by the fold, which stands at an entry, and does not
// wait for the disk.
func (w *worker) takeChecksum(m *checksumRequest, at uint64, g *fold.Generation) {
	if !w.checksum.CompareAndSwap(m, nil) {
		return
	}
	if at != m.sequence || w.unanswered() != nil {
		m.answer(nil)
		return
	}
	g.SnapshotBehind(m.answer)
}

// ChecksumAt waits until a partition's fold comes to an entry and returns its checksum there. The
// fold waits neither for the checkpoint nor for the digest. The error is [ErrPassed] for an entry
// that it is past, and where the state could not be written in time. One caller at a time may wait
// in a partition.
func (p *Projector) ChecksumAt(ctx context.Context, partition int, sequence uint64) (Checksum, error) {
	w := p.workers[partition]
	m := &checksumRequest{sequence: sequence, snapshot: make(chan *store.Snapshot, 1)}
	w.checksum.Store(m)
	var snap *store.Snapshot
	if at := w.outcomes.last(); at >= sequence && w.checksum.CompareAndSwap(m, nil) {
		// The fold may stand still there.
		s, position, err := w.snapshot()
		if err != nil {
			return Checksum{}, err
		}
		if position != sequence {
			return Checksum{}, errors.Join(ErrPassed, s.Close())
		}
		snap = s
	} else {
		select {
		case snap = <-m.snapshot:
		case <-ctx.Done():
			w.checksum.CompareAndSwap(m, nil)
			if !m.settled.CompareAndSwap(false, true) {
				if snap = <-m.snapshot; snap != nil {
					_ = snap.Close()
				}
			}
			return Checksum{}, context.Cause(ctx)
		}
	}
	if snap == nil {
		return Checksum{}, ErrPassed
	}
	defer snap.Close()
	began := time.Now()
	tree, err := projections.StoredTree(snap.Get)
	if err != nil {
		return Checksum{}, fmt.Errorf("checksum of partition %d: %w", partition, err)
	}
	var checksum Checksum
	if checksum.Head, err = tree.Head(tree.Size); err == nil {
		checksum.Digest, _, err = snap.Digest(ctx)
	}
	if err == nil {
		checksum.Rules, err = projections.StoredRules(snap.Get)
	}
	checksum.Cost = time.Since(began)
	return checksum, err
}

// Folded is the last entry folded, of each partition; of one that is not here any more, the last
// one that was.
func (p *Projector) Folded() []uint64 {
	all := make([]uint64, len(p.workers))
	for k, w := range p.workers {
		all[k] = w.outcomes.last()
	}
	return all
}

// Condemn has the state of a partition put aside and folded again from the log, as one whose files
// are corrupt: its questions are answered by [ErrFoldingAgain] until that is done.
func (p *Projector) Condemn(partition int, reason error) error {
	return p.workers[partition].use(func(g *fold.Generation) error {
		g.Store.Condemn(reason)
		return nil
	})
}

// Refuse has the state of a partition put aside for good: nobody is answered from it and nothing is
// folded, until the copy is dropped or the process ends; its questions get errRefused. It is for
// a state that folding again does not mend.
func (p *Projector) Refuse(partition int, reason error) error {
	w := p.workers[partition]
	return w.use(func(g *fold.Generation) error {
		w.refold.refused.Store(&reason)
		g.Store.Condemn(reason)
		return nil
	})
}

// Refused says of which partition the copy was put aside for good, and why; nil if none was.
func (p *Projector) Refused() error {
	for _, w := range p.workers {
		if why := w.refold.refused.Load(); why != nil {
			return fmt.Errorf("%w: partition %d: %w", errRefused, w.partition, *why)
		}
	}
	return nil
}

// FoldingAgain reports whether the state of a partition was found wrong and is not complete again.
func (p *Projector) FoldingAgain(partition int) bool {
	w := p.workers[partition]
	return w.copyState() == copystate.Here && (w.unanswered() != nil || w.corrupt() != nil)
}
