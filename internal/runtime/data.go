package runtime

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

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
	if err := os.MkdirAll(dir, 0o700); err != nil {
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
