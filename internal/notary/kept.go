package notary

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/internal/atomicfile"
)

// HeadsDir is the folder in a data directory where signed heads are kept, in a file for each
// partition, which only grows.
const HeadsDir = "heads"

// keptHead is a line of such a file.
type keptHead struct {
	At         time.Time `json:"at"`
	Checkpoint string    `json:"checkpoint"`
}

func keptFile(data string, partition int) string {
	return filepath.Join(data, HeadsDir, fmt.Sprintf("p%03d", partition))
}

// keep appends a signed head, durably.
func keep(data string, partition int, checkpoint string) error {
	if err := atomicfile.MkdirAll(filepath.Join(data, HeadsDir), 0o700); err != nil {
		return fmt.Errorf("notary: %w", err)
	}
	line, err := json.Marshal(keptHead{time.Now().UTC(), checkpoint})
	if err == nil {
		// What a crash left of a line ends before this one begins.
		err = atomicfile.Append(keptFile(data, partition), slices.Concat([]byte("\n"), line, []byte("\n")), 0o644)
	}
	if err != nil {
		return fmt.Errorf("notary: keep a head: %w", err)
	}
	return nil
}

// readKept returns the heads of a partition that were signed and kept in a data directory, oldest
// first. A line that the log's key did not sign is an error, unless it was cut off by a crash.
func readKept(data string, partition int) ([]merkle.Head, error) {
	text, err := os.ReadFile(keptFile(data, partition))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("notary: %w", err)
	}
	k, err := readKey(filepath.Join(data, KeyFile))
	if err != nil {
		return nil, err
	}
	verifier, err := note.NewVerifier(k.public)
	if err != nil {
		return nil, fmt.Errorf("notary: %w", err)
	}
	heads, err := parseKept(text, verifier, partition)
	if err != nil {
		return nil, fmt.Errorf("notary: %s: %w", keptFile(data, partition), err)
	}
	return heads, nil
}

// parseKept reads the text of a partition's file.
func parseKept(text []byte, verifier note.Verifier, partition int) (heads []merkle.Head, err error) {
	for line := range bytes.Lines(text) {
		var kept keptHead
		if json.Unmarshal(line, &kept) != nil {
			continue // empty, or cut off
		}
		o, head, err := merkle.OpenCheckpoint(verifier, kept.Checkpoint)
		if err != nil || o.Partition != partition {
			return nil, errors.Join(errors.New("it holds a head that this log did not sign"), err)
		}
		heads = append(heads, head)
	}
	return heads, nil
}

// Check returns nil if the key in a data directory signed all heads that are kept there, or if
// there are neither.
func Check(data string) error {
	dirs, err := filepath.Glob(filepath.Join(data, HeadsDir, "p*"))
	if err != nil {
		return err
	}
	_, err = readKey(filepath.Join(data, KeyFile))
	if errors.Is(err, os.ErrNotExist) && len(dirs) == 0 {
		return nil
	}
	for _, dir := range dirs {
		partition, bad := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), "p"))
		if bad != nil {
			continue
		}
		_, one := readKept(data, partition)
		err = errors.Join(err, one)
	}
	return err
}

// SetAside renames key and heads, so that the next start begins with new ones: for a log that is no
// longer what was signed.
func SetAside(data string, at time.Time) error {
	suffix := ".before-" + at.UTC().Format("20060102T150405")
	var err error
	for _, name := range []string{HeadsDir, KeyFile} {
		path := filepath.Join(data, name)
		if e := atomicfile.Rename(path, path+suffix); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}
