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

// errIntentDamaged: the note of the block that was being inserted is not as it was written.
var errIntentDamaged = errors.New("the note of the insert that was under way is damaged; when no insert of it can be under way any more, a minute after the last stop, remove it")

// readIntent returns the last intent that was written; zero if there is none.
func readIntent(dir string) (Intent, error) {
	path := filepath.Join(dir, intentFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Intent{}, nil
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

// ParseIntent reads an intent from JSON. It is a range of entries and one of the attempts at it, or
// zero, for none; anything else is refused: nobody would get to the end of a range that has none.
func ParseIntent(text []byte) (i Intent, err error) {
	if err := json.Unmarshal(text, &i, json.RejectUnknownMembers(true)); err != nil {
		return Intent{}, fmt.Errorf("%w: %w", errIntentDamaged, err)
	}
	if i != (Intent{}) && (i.First == 0 || i.First > i.Last || i.Attempt < 0) {
		return Intent{}, fmt.Errorf("%w: attempt %d at entries %d to %d", errIntentDamaged, i.Attempt, i.First, i.Last)
	}
	return i, nil
}

// parseIntent reads an intent: a line of JSON, and one with its checksum, which the first version
// did not have. A wrong one would have the block formed otherwise than it was sent, so that its
// rows could be there twice.
func parseIntent(text []byte) (i Intent, err error) {
	line, sum, _ := bytes.Cut(text, []byte("\n"))
	if len(sum) > 0 && string(sum) != intentSum(line) {
		return Intent{}, errIntentDamaged
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
