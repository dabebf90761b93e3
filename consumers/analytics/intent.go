package analytics

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/receiptd/receiptd/internal/atomicfile"
)

// insertIntent is the range of the block that is being inserted, and the number of the attempt.
// Both are on the disk before the insert is sent; the rows are not. Whoever continues after a crash
// forms the block again from the same entries of the log and sends it with the same token, so that
// an insert that is still under way somewhere and the repeated one count as one.
type insertIntent struct {
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"`
	Attempt int    `json:"attempt"`
}

const intentFile = "INTENT"

// readIntent returns the last intent that was written; zero if there is none.
func readIntent(dir string) (i insertIntent, err error) {
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
func writeIntent(dir string, i insertIntent) error {
	text, err := json.Marshal(i)
	if err != nil {
		return fmt.Errorf("write intent: %w", err)
	}
	if err := atomicfile.Write(filepath.Join(dir, intentFile), append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write intent: %w", err)
	}
	return nil
}
