package fold

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/projections/store"
)

// incomingPrefix begins the names of directories in which a state arrives that was folded
// elsewhere. Those that are left over are removed by the next start.
const incomingPrefix = "incoming-"

// NewIncoming makes a directory in a partition's root for a state that was folded elsewhere.
func NewIncoming(root string) (dir string, err error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", fmt.Errorf("make state directory: %w", err)
	}
	dir, err = os.MkdirTemp(root, incomingPrefix)
	if err != nil {
		return "", fmt.Errorf("make a directory for a state: %w", err)
	}
	return dir, nil
}

// removeIncoming removes what did not arrive.
func removeIncoming(disk vfs.FS, root string) error {
	list, err := disk.List(root)
	for _, name := range list {
		if strings.HasPrefix(name, incomingPrefix) {
			err = errors.Join(err, disk.RemoveAll(disk.PathJoin(root, name)))
		}
	}
	if err != nil {
		return fmt.Errorf("remove a state that did not arrive: %w", err)
	}
	return nil
}

// OpenIncoming makes a state that has arrived, whole and synced, a generation beside the current
// one. Its directory is gone then, whatever the error.
func OpenIncoming(root, incoming string, o Options) (*Generation, error) {
	dir, err := nextDir(o.fs(), root)
	if err == nil {
		err = o.fs().Rename(incoming, dir)
	}
	if err == nil {
		err = syncDir(o.fs(), root)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("take a state: %w", err), o.fs().RemoveAll(incoming))
	}
	g, err := Open(dir, o)
	if err != nil {
		return nil, errors.Join(err, o.fs().RemoveAll(dir))
	}
	return g, nil
}

// Install makes a state that has arrived the current generation, in the place of an older one,
// which is put aside. If it fails, the old one is closed.
func Install(root, incoming string, old *Generation, o Options) (*Generation, error) {
	g, err := OpenIncoming(root, incoming, o)
	if err != nil {
		return nil, errors.Join(err, old.Close())
	}
	if err := g.MakeCurrent(root); err != nil {
		return nil, errors.Join(err, g.Remove(), old.Close())
	}
	if err := old.Retire(root); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// Export checkpoints and writes the state to a directory, which must not be there: see
// [store.Store.Export]. The snapshot is of the same state. The fold waits for no more than that the
// checkpoint is on the disk.
func (g *Generation) Export(dir string) (*store.Snapshot, error) {
	defer g.Store.Hurry()()
	g.checkpointing.Lock()
	defer g.checkpointing.Unlock()
	if err := g.checkpointLocked(); err != nil {
		return nil, err
	}
	snap := g.Store.Snapshot()
	if err := g.Store.Export(dir); err != nil {
		return nil, errors.Join(err, snap.Close())
	}
	return snap, nil
}
