package analytics

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/receiptd/receiptd/internal/atomicfile"
)

// intent is the block that is being inserted. It is on the disk before the insert is sent: whoever
// continues after a crash sends the very same block with the very same token, so that an insert
// that is still under way somewhere and the repeated one are one.
type intent struct {
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"`
	Attempt int    `json:"attempt"`
}

const intentFile = "INTENT"

// readIntent returns the last one that was written; zero if there is none.
func readIntent(dir string) (i intent, err error) {
	text, err := os.ReadFile(filepath.Join(dir, intentFile))
	if errors.Is(err, os.ErrNotExist) {
		return i, nil
	}
	if err != nil {
		return i, fmt.Errorf("read intent: %w", err)
	}
	if err := json.Unmarshal(text, &i); err != nil {
		return i, fmt.Errorf("read intent %s: %w", filepath.Join(dir, intentFile), err)
	}
	return i, nil
}

// writeIntent makes an intent durable, in one step.
func writeIntent(dir string, i intent) error {
	text, err := json.Marshal(i)
	if err != nil {
		return fmt.Errorf("write intent: %w", err)
	}
	if err := atomicfile.Write(filepath.Join(dir, intentFile), append(text, '\n'), 0o666); err != nil {
		return fmt.Errorf("write intent: %w", err)
	}
	return nil
}
