package eventlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/receiptd/receiptd/events/eventlog/blockfile"
	"github.com/receiptd/receiptd/internal/atomicfile"
)

var (
	// ErrReplica is returned for a repair of a node's part of the log as if it were the only copy:
	// what stands for a lost entry here would be another entry than the other nodes have.
	ErrReplica = errors.New("eventlog: these are replicas, which the other nodes have whole: a damaged one is put aside, and they give it again (receiptctl repair --replica STREAM)")
	// ErrNoReplica is returned for a stream that a node has no replica of.
	ErrNoReplica = errors.New("eventlog: there is no replica of that stream here")
)

// SetReplicaAside moves the replica of a stream that the server of a stopped node has out of the
// way, whatever is wrong with it, and removes nothing. When the node starts, the server makes an
// empty one and gets everything from the one that leads; meanwhile it neither leads nor counts as
// one that has what it lacks. What it has voted and promised stays, since that is kept elsewhere.
// All other servers should have everything: until it is complete they are all there is.
func SetReplicaAside(dir, stream string) (done Repaired, err error) {
	if !IsPeer(dir) {
		return done, fmt.Errorf("%w: %s is no store of a node", ErrNoReplica, dir)
	}
	lock := flock.New(filepath.Join(dir, "lock"))
	if ok, err := lock.TryLock(); err != nil || !ok {
		return done, errors.Join(fmt.Errorf("%w: %s", ErrInUse, dir), err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	from := blockfile.Stream{Dir: streamDir(dir, stream), Name: stream}
	if _, err := os.Stat(from.Dir); err != nil || stream == "" || strings.ContainsAny(stream, `./\`) {
		return done, fmt.Errorf("%w: %q", ErrNoReplica, stream)
	}
	done = Repaired{
		Stream: stream, Partition: partitionOf(stream), What: "its replica is put aside; the servers of the other nodes give it again when this node starts",
		Aside: filepath.Join(dir, asideDir, "replica-"+time.Now().UTC().Format("20060102T150405.000"), stream),
	}
	if err := atomicfile.MkdirAll(filepath.Dir(done.Aside), 0o700); err != nil {
		return done, fmt.Errorf("eventlog: put a replica aside: %w", err)
	}
	if err := atomicfile.Rename(from.Dir, done.Aside); err != nil {
		return done, fmt.Errorf("eventlog: put a replica aside: %w", err)
	}
	return done, nil
}
