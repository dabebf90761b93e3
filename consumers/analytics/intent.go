package analytics

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"

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
	// Read returns the last intent that was written, whoever wrote it; zero if nothing was
	// inserted yet. The error wraps [ErrIntentLost] if what was written is not there any more.
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

// ErrIntentLost: the note of the last insert is missing, or is not as it was written.
var ErrIntentLost = errors.New("the note of the last insert is missing or damaged")

// follows reports whether the intent is the last one that was written, if the sink has all up to an
// entry: that block is there, or is what comes next.
func (i Intent) follows(stored uint64) bool { return stored == i.Last || stored+1 == i.First }

// readIntent returns the last intent that was written.
func readIntent(dir string) (Intent, error) {
	path := filepath.Join(dir, intentFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Intent{}, fmt.Errorf("%w: %w", ErrIntentLost, err)
	}
	if err != nil {
		return Intent{}, fmt.Errorf("read intent: %w", err)
	}
	i, err := parseIntent(text)
	if err != nil {
		return Intent{}, fmt.Errorf("read intent %s: %w", path, err)
	}
	return i, nil
}

// begin writes the note of a partition of which no state was kept, and no insert was noted: that it
// is missing later means that it was lost.
func (f files) begin(partition int) error {
	root := f.c.root(partition)
	if _, err := os.Stat(filepath.Join(root, intentFile)); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return writeIntent(root, Intent{})
}

// CheckIntent reads the note that lies beside the state of a partition, at the path that it
// returns. The error is [ErrIntentLost] if the next start has to wait for inserts that it does not
// know of.
func CheckIntent(root string) (path string, err error) {
	_, err = readIntent(root)
	return filepath.Join(root, intentFile), err
}

// ParseIntent reads an intent from JSON. It is a range of entries and one of the attempts at it, or
// zero, for none; anything else is refused: nobody would get to the end of a range that has none.
func ParseIntent(text []byte) (i Intent, err error) {
	if err := json.Unmarshal(text, &i, json.RejectUnknownMembers(true)); err != nil {
		return Intent{}, fmt.Errorf("%w: %w", ErrIntentLost, err)
	}
	if i != (Intent{}) && (i.First == 0 || i.First > i.Last || i.Attempt < 0) {
		return Intent{}, fmt.Errorf("%w: attempt %d at entries %d to %d", ErrIntentLost, i.Attempt, i.First, i.Last)
	}
	return i, nil
}

// parseIntent reads an intent: a line of JSON, and one with its checksum, which the first version
// did not have. A wrong one would have the block formed otherwise than it was sent, so that its
// rows could be there twice.
func parseIntent(text []byte) (i Intent, err error) {
	line, sum, _ := bytes.Cut(text, []byte("\n"))
	if len(sum) > 0 && string(sum) != intentSum(line) {
		return Intent{}, ErrIntentLost
	}
	return ParseIntent(line)
}

func formIntent(i Intent) ([]byte, error) {
	line, err := json.Marshal(i)
	if err != nil {
		return nil, err
	}
	return append(append(line, '\n'), intentSum(line)...), nil
}

func intentSum(line []byte) string {
	return fmt.Sprintf("crc32c %08x\n", crc32.Checksum(line, crc32.MakeTable(crc32.Castagnoli)))
}

// writeIntent makes an intent durable, in one step.
func writeIntent(dir string, i Intent) error {
	text, err := formIntent(i)
	if err != nil {
		return fmt.Errorf("write intent: %w", err)
	}
	if err := atomicfile.Write(filepath.Join(dir, intentFile), text, 0o600); err != nil {
		return fmt.Errorf("write intent: %w", err)
	}
	return nil
}
