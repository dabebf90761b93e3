package notary

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/projections"
)

// errRewritten is returned for a log that is not what was signed or witnessed before.
var errRewritten = errors.New("notary: the log was rewritten: its tree lacks a head that it had")

const (
	// attestEvery is how often the witness is given the latest heads.
	attestEvery = time.Second
	// keepEvery is how often a head is kept of a log that grows.
	keepEvery = 10 * time.Minute
)

// Log is the log whose heads are signed. [eventlog.Log] is one.
type Log interface {
	Partitions() int
	Bounds(ctx context.Context, partition int) (first, last uint64, err error)
	EntryAt(ctx context.Context, partition int, sequence uint64) (eventlog.Entry, error)
	Read(ctx context.Context, partition int, after uint64) (*eventlog.Reader, error)
	Attested(partition int) (last uint64, tree merkle.Head)
	AttestTree(partition int, head merkle.Head)
}

// State has the trees. [projector.Projector] is one.
type State interface {
	Tree(partition int, upto uint64) (projector.Tree, error)
	MessageIn(c events.Conversation, id, user string) (projections.Found, error)
	Readers(c events.Conversation, id string, offset, limit int) (projections.ReaderPage, error)
}

// Options of a notary.
type Options struct {
	// Data is the data directory, for the key and the heads.
	Data   string
	Log    Log
	State  State
	Logger *slog.Logger
	// KeepEvery is for tests; 0 = ten minutes.
	KeepEvery time.Duration
}

// Notary signs the heads of a log. It is safe for concurrent use.
type Notary struct {
	o   Options
	key key

	mu    sync.Mutex
	trees []signedTree
}

// signedTree is what is known of a partition's tree.
type signedTree struct {
	owed   []merkle.Head // heads that it is to have when it gets there
	latest merkle.Head   // as it was attested
	last   merkle.Head   // that was kept, since the start
	kept   time.Time     // when that was
}

// Open reads the key of a log, or makes one. The error is errRewritten if a tree lacks a head
// that was kept or witnessed. Trees that have not grown so far yet are compared when they have, and
// nothing is signed for them before.
func Open(o Options) (*Notary, error) {
	if o.KeepEvery == 0 {
		o.KeepEvery = keepEvery
	}
	n := &Notary{o: o, trees: make([]signedTree, o.Log.Partitions())}
	var err error
	if n.key, err = openKey(filepath.Join(o.Data, KeyFile)); err != nil {
		return nil, err
	}
	for k := range n.trees {
		known, err := KnownHeads(o.Data, o.Log, k)
		if err != nil {
			return nil, err
		}
		n.trees[k].owed = known[max(0, len(known)-2):] // a later head has all before it
		if err := n.attempt(k); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// KnownHeads are the heads that a partition's tree had: those that were kept, and the one that the
// witness has.
func KnownHeads(data string, log interface {
	Attested(partition int) (last uint64, tree merkle.Head)
}, partition int) ([]merkle.Head, error) {
	heads, err := readKept(data, partition)
	if err != nil {
		return nil, err
	}
	if _, witnessed := log.Attested(partition); witnessed.Size > 0 {
		heads = append(heads, witnessed)
	}
	return heads, nil
}

// Run gives the witness the latest heads and keeps signed ones, the last one when the context ends,
// which ends it. The error is errRewritten.
func (n *Notary) Run(ctx context.Context) error {
	tick := time.NewTicker(attestEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return n.attestAll(true)
		}
		if err := n.attestAll(false); err != nil {
			return err
		}
	}
}

func (n *Notary) attestAll(last bool) error {
	for k := range n.trees {
		if last {
			n.mu.Lock()
			n.trees[k].kept = time.Time{}
			n.mu.Unlock()
		}
		if err := n.attempt(k); err != nil {
			return err
		}
	}
	return nil
}

// attempt attests a partition if its state can be asked. A state that is corrupt, or is folded
// again, is mended by the projector, and is asked again later.
func (n *Notary) attempt(partition int) error {
	err := n.attest(partition)
	switch {
	case err == nil, errors.Is(err, projector.ErrStopped), errors.Is(err, projector.ErrFoldingAgain):
		return nil
	case errors.Is(err, errRewritten):
		return fmt.Errorf("partition %d: %w", partition, err)
	}
	n.o.Logger.Warn("the head of a partition is not known now", "partition", partition, "error", err)
	return nil
}

// attest compares a tree with what it is to have, gives its head to the witness, and keeps it if it
// is time.
func (n *Notary) attest(partition int) error {
	tree, err := n.o.State.Tree(partition, 0)
	if err != nil {
		return err
	}
	head, err := n.check(partition, tree)
	if err = errors.Join(err, tree.Release()); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	t := &n.trees[partition]
	if head.Size == 0 || head == t.latest && head == t.last {
		return nil
	}
	n.o.Log.AttestTree(partition, head)
	t.latest = head
	if head == t.last || time.Since(t.kept) < n.o.KeepEvery {
		return nil
	}
	signed, err := n.sign(partition, head)
	if err == nil {
		err = keep(n.o.Data, partition, signed)
	}
	if err != nil { // a full disk, for one; the next time is soon
		n.o.Logger.Warn("a signed head of the log was not kept", "partition", partition, "error", err)
		return nil
	}
	t.kept, t.last = time.Now(), head
	return nil
}

// check returns the largest head of a tree that may be signed; the zero Head if none may yet.
func (n *Notary) check(partition int, tree projector.Tree) (merkle.Head, error) {
	n.mu.Lock()
	owed := n.trees[partition].owed
	latest := n.trees[partition].latest
	n.mu.Unlock()
	for len(owed) > 0 {
		want := owed[0]
		if want.Base == tree.Base { // else it is of another tree, which has another name
			if want.Size > tree.Size {
				return merkle.Head{}, nil
			}
			if err := has(partition, tree, want); err != nil {
				return merkle.Head{}, err
			}
		}
		owed = owed[1:]
	}
	n.mu.Lock()
	n.trees[partition].owed = owed
	n.mu.Unlock()
	// What power loss may take is not signed.
	last, _ := n.o.Log.Attested(partition)
	if last <= tree.Base {
		return merkle.Head{}, nil
	}
	size := min(tree.Size, last-tree.Base)
	if latest.Size > 0 && latest.Base == tree.Base {
		if latest.Size >= size {
			return latest, nil
		}
		// A replay may have switched to another one.
		if err := has(partition, tree, latest); err != nil {
			return merkle.Head{}, err
		}
	}
	return tree.Head(size)
}

// has returns an errRewritten if a tree never had a head.
func has(partition int, tree projector.Tree, want merkle.Head) error {
	have, err := tree.Head(want.Size)
	if err == nil && have != want {
		err = fmt.Errorf("%w: partition %d, entries %d to %d: the head is %v, it was %v; see receiptctl verify",
			errRewritten, partition, want.Base+1, want.Position(), have.Root, want.Root)
	}
	return err
}

func (n *Notary) sign(partition int, head merkle.Head) (string, error) {
	return merkle.Sign(n.key.signer, n.origin(partition, head), head)
}

func (n *Notary) origin(partition int, head merkle.Head) merkle.Origin {
	return merkle.Origin{Log: n.key.signer.Name(), Partition: partition, Partitions: len(n.trees), Base: head.Base}
}

// Key is the public key that checks what is signed.
func (n *Notary) Key() string { return n.key.public }
