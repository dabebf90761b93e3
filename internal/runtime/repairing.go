package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/atomicfile"
)

// repairingFile lies in a data directory from before a repair changes anything until it is done.
// What the next one finds does not say what of it was lost: to the log it is whole then, and a
// state that has folded what is lost looks like any other.
const repairingFile = "repairing"

// errRepairing is returned for data whose repair was cut off.
var errRepairing = errors.New("repair_unfinished: a repair of this data was cut off; run receiptctl repair with the same options again")

// repairing returns an error if a repair of the data was cut off.
func repairing(data string) error {
	path := filepath.Join(data, repairingFile)
	switch _, err := os.Stat(path); {
	case err == nil:
		return fmt.Errorf("%w (%s)", errRepairing, path)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return fmt.Errorf("look for a repair that was cut off: %w", err)
	}
}

// beginRepair notes that a repair begins, and reports whether an earlier one was cut off.
func beginRepair(data string) (again bool, err error) {
	if err = repairing(data); errors.Is(err, errRepairing) {
		return true, nil
	}
	if err == nil {
		err = atomicfile.Write(filepath.Join(data, repairingFile), []byte("receiptctl repair\n"), 0o600)
	}
	return false, err
}

// endRepair removes the note.
func endRepair(data string) error {
	if err := os.Remove(filepath.Join(data, repairingFile)); err != nil {
		return fmt.Errorf("end a repair: %w", err)
	}
	return atomicfile.SyncDir(data)
}

// changedNothing reports whether the error of a repair of the log says so.
func changedNothing(done []eventlog.Repaired, err error) bool {
	return len(done) == 0 && (errors.Is(err, eventlog.ErrLoss) || errors.Is(err, eventlog.ErrForeignSource) || errors.Is(err, eventlog.ErrReplica))
}
