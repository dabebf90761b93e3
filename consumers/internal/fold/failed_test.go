package fold

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/internal/lab/sim/history"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/store"
)

// A commit that failed is the last, although the store would take the next one: that has only what
// changed after the one that is missing. Nothing is handed out, and the state that is found on the
// disk is the one before.
func TestNothingIsCommittedAfterAFailedCommit(t *testing.T) {
	log := history.Logs().Example(3)
	failed := errors.New("this commit fails")
	for name, fails := range map[string]func(*Generation) error{
		"waited for": (*Generation).Checkpoint,
		"behind": func(g *Generation) error {
			if err := g.checkpointAsync(); err != nil {
				return err
			}
			return g.Checkpoint()
		},
	} {
		t.Run(name, func(t *testing.T) {
			disk := vfs.NewMem()
			g := stateOn(t, disk)
			before, after := log[:len(log)/2], log[len(log)/2:]
			foldAll(t, g, before, g.Checkpoint)
			saved := g.Saved()
			commit, commits := g.commit, 0
			g.commit = func(c *projections.Checkpoint) error {
				if commits++; commits == 1 {
					return failed
				}
				return commit(c)
			}
			foldAll(t, g, after[:1], func() error { return nil })
			if err := fails(g); !errors.Is(err, failed) {
				t.Errorf("the checkpoint returns %v", err)
			}
			foldAll(t, g, after[1:], func() error { return nil })
			for step, err := range map[string]error{
				"Checkpoint":      g.Checkpoint(),
				"checkpointAsync": g.checkpointAsync(),
				"Durable":         errorOf(g.Durable()),
				"Snapshot":        snapshotError(g),
			} {
				if !errors.Is(err, failed) {
					t.Errorf("after it, %s returns %v", step, err)
				}
			}
			got := make(chan *store.Snapshot, 1)
			g.SnapshotBehind(func(snap *store.Snapshot) { got <- snap })
			if snap := <-got; snap != nil {
				t.Error("after it, a state is handed out")
				_ = snap.Close()
			}
			if commits != 1 || g.Saved() != saved {
				t.Errorf("%d commits, the last of which is said to have %d; want 1 and %d", commits, g.Saved(), saved)
			}
			if err := g.Close(); !errors.Is(err, failed) {
				t.Errorf("Close returns %v", err)
			}
			g = stateOn(t, disk)
			if at, _ := g.Part.Position(); at != saved {
				t.Errorf("the state stands at %d, want %d", at, saved)
			}
			if err := g.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func errorOf(_ uint64, err error) error { return err }

func snapshotError(g *Generation) error {
	snap, _, err := g.Snapshot()
	if snap != nil {
		_ = snap.Close()
	}
	return err
}
