package analytics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/receiptd/receiptd/internal/atomicfile"
)

// Intent is the range of the block that is being inserted, and the number of the attempt.
// Both are on the disk before the insert is sent; the rows are not. Whoever continues after a crash
// forms the block again from the same entries of the log and sends it with the same token, so that
// an insert that is still under way somewhere and the repeated one count as one.
type Intent struct {
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"`
	Attempt int    `json:"attempt"`
}

// Intents keep the intent of each partition.
type Intents interface {
	// Read returns the last intent that was written, whoever wrote it; zero if there is none.
	Read(ctx context.Context, partition int) (Intent, error)
	// Write makes an intent durable before the insert. The error wraps [ErrFenced] if another
	// process fills the sink now.
	Write(ctx context.Context, partition int, i Intent) error
}

// ErrFenced: another process has taken over to fill the sink. It goes on with the last intent that
// was written, so nothing is missing and nothing is there twice.
var ErrFenced = errors.New("analytics: another process fills ClickHouse now")

// files are the intents of a process that is the only one, each beside the state of its partition.
type files struct{ c *Consumer }

func (f files) Read(_ context.Context, partition int) (Intent, error) {
	return readIntent(f.c.root(partition))
}

func (f files) Write(_ context.Context, partition int, i Intent) error {
	return writeIntent(f.c.root(partition), i)
}

const intentFile = "INTENT"

// readIntent returns the last intent that was written; zero if there is none.
func readIntent(dir string) (i Intent, err error) {
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
func writeIntent(dir string, i Intent) error {
	text, err := json.Marshal(i)
	if err != nil {
		return fmt.Errorf("write intent: %w", err)
	}
	if err := atomicfile.Write(filepath.Join(dir, intentFile), append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write intent: %w", err)
	}
	return nil
}
