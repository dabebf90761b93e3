package runtime

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"

	"github.com/receiptd/receiptd/internal/atomicfile"
	"github.com/receiptd/receiptd/internal/config"
)

// What lies in a data directory, beside the admin key.
const (
	logDir       = "log"       // the embedded NATS server's store
	witnessDir   = "witness"   // what the log is known to hold, unless it is elsewhere
	stateDir     = "state"     // checkpoints, a directory for each partition
	analyticsDir = "analytics" // the same of the fold that fills ClickHouse
	tokenKeyFile = "token.key" // signs user tokens, mode 0600
	lockFile     = "receiptd.lock"
	nodeFile     = "node" // the name of the node that it is of
)

// witnessOf is where the witness of the log is kept.
func witnessOf(cfg config.Config) string {
	return cmp.Or(cfg.Log.Witness, filepath.Join(cfg.Data, witnessDir))
}

// ErrInUse is returned when another process works on the data directory.
var ErrInUse = errors.New("the data directory is in use by another receiptd")

// openData makes the data directory if need be and takes it for this process. It is for its owner
// only, whatever the files in it say.
func openData(dir string) (*flock.Flock, error) {
	if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	lock := flock.New(filepath.Join(dir, lockFile))
	switch ok, err := lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("data directory %s cannot be written: %w", dir, err)
	case !ok:
		return nil, fmt.Errorf("%w: %s", ErrInUse, dir)
	}
	return lock, nil
}

// errOfAnotherNode is returned for a data directory that a node of another name has used.
var errOfAnotherNode = errors.New("the data directory is that of another node")

// checkOwner refuses the data directory of a node of another name: what it says of the log that it
// no longer needs, this one would not know. One without a note, as an earlier version or a server
// that was alone leaves it, is anybody's.
func checkOwner(dir, node string) error {
	text, err := os.ReadFile(filepath.Join(dir, nodeFile))
	name := strings.TrimSpace(string(text))
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && (name == "" || name == node):
		return nil
	case err != nil:
		return fmt.Errorf("read whose data directory it is: %w", err)
	}
	return fmt.Errorf("%w: %s is that of node %q, as the file %s in it says, and this is node %q; start it with a --data of its own, or with --node %s",
		errOfAnotherNode, dir, name, nodeFile, node, name)
}

// noteOwner notes whose a data directory is.
func noteOwner(dir, node string) error {
	if err := atomicfile.Write(filepath.Join(dir, nodeFile), []byte(node+"\n"), 0o600); err != nil {
		return fmt.Errorf("note whose data directory it is: %w", err)
	}
	return nil
}
