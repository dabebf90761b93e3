// Package witness keeps a record of what a log is known to hold, away from the log.
//
// A log that lost entries looks like one that never had them: its files end earlier, and nothing in
// them says so. The witness is what says so. It holds an attestation for each stream, which is
// behind what was acknowledged by a fraction of a second at most, lies in files of its own in a
// directory of its own, and is compared with the log before anything is served.
//
// The record is written alternately to two files, each time whole and synced, so that a crash in
// the middle leaves the one before. It is JSON, for people who have to look at it.
package witness

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/internal/atomicfile"
)

// ErrDamaged is returned when there are files of a witness and none of them can be trusted.
var ErrDamaged = errors.New("witness: damaged")

// Attestation is what is known of a stream.
type Attestation struct {
	Stream string `json:"stream"`
	// Created tells the stream from another one of its name.
	Created time.Time `json:"created"`
	// Last is the sequence of the last entry that was durable.
	Last uint64 `json:"last"`
	// Fingerprint stands for entry At, one of the last; 0 if none was taken.
	At          uint64 `json:"at,omitempty"`
	Fingerprint uint64 `json:"fingerprint,omitempty"`
	// Trimmed is the last entry that left the stream on purpose.
	Trimmed uint64 `json:"trimmed,omitempty"`
	// Tree is a head of the stream's Merkle tree, at Last or before; zero if none was taken.
	Tree merkle.Head `json:"tree,omitzero"`
	// Blocks are the block files of a stream from which single messages leave, so that a gap in
	// its sequences says nothing; empty if they were not noted.
	Blocks Blocks `json:"blocks,omitempty"`
}

// Attestations are the attestations of a log, by stream.
type Attestations map[string]Attestation

// sorted lists the attestations in the order of their streams.
func (m Attestations) sorted() []Attestation {
	list := slices.Collect(maps.Values(m))
	slices.SortFunc(list, func(a, b Attestation) int { return strings.Compare(a.Stream, b.Stream) })
	return list
}

// File is an open witness. Its methods are for one goroutine.
type File struct {
	dir          string
	version      uint64
	attestations Attestations
}

// names are the two files.
var names = [2]string{"witness.0", "witness.1"}

// record is what a file holds: one line of JSON and one with its checksum.
type record struct {
	// Format is of what is in the attestations: see [format]. Before there were more it was not
	// written.
	Format int `json:"format,omitempty"`
	// Version counts the writes.
	Version      uint64        `json:"version"`
	Attestations []Attestation `json:"marks"`
}

// format is 1 since attestations have Blocks. Of a later one it is not known what it says, and an
// earlier one says less.
const format = 1

// Read returns the attestations that a directory holds; none if there is no witness in it.
func Read(dir string) (Attestations, error) {
	f, err := read(dir)
	if err != nil {
		return nil, err
	}
	return f.attestations, nil
}

// Files are the files of a witness, of which one is enough.
func Files(dir string) []string {
	return []string{filepath.Join(dir, names[0]), filepath.Join(dir, names[1])}
}

// Check reads one of the files against its checksum.
func Check(path string) error {
	text, err := os.ReadFile(path)
	if err == nil {
		_, err = decode(text)
	}
	if err != nil {
		return fmt.Errorf("witness: %s: %w", path, err)
	}
	return nil
}

// Open makes the directory if need be and returns its witness.
func Open(dir string) (*File, error) {
	if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("witness: %w", err)
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return nil, fmt.Errorf("witness: %w", err)
	}
	return read(dir)
}

func read(dir string) (*File, error) {
	f := &File{dir: dir, attestations: Attestations{}}
	var problems []error
	found := false
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("witness: %w", err)
		}
		r, err := decode(text)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", filepath.Join(dir, name), err))
			continue
		}
		if !found || r.Version > f.version {
			found = true
			f.version = r.Version
			f.attestations = Attestations{}
			for _, m := range r.Attestations {
				f.attestations[m.Stream] = m
			}
		}
	}
	if !found && len(problems) > 0 {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, errors.Join(problems...))
	}
	return f, nil
}

func decode(text []byte) (r record, err error) {
	body, sum, ok := strings.Cut(string(text), "\n")
	if !ok || strings.TrimRight(sum, "\n") != checksum(body) {
		return r, errors.New("its checksum does not fit")
	}
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		return r, err
	}
	if r.Format > format {
		return r, fmt.Errorf("it is of format %d, written by a later version; this one knows %d", r.Format, format)
	}
	return r, nil
}

func checksum(body string) string { return fmt.Sprintf("%016x", xxhash.Sum64String(body)) }

// Attestations returns a copy of what was written last.
func (f *File) Attestations() Attestations { return maps.Clone(f.attestations) }

// Write makes attestations durable, in the place of all that were there. It writes nothing if they
// are the same.
func (f *File) Write(attestations Attestations) error {
	if f.version > 0 && maps.Equal(f.attestations, attestations) {
		return nil
	}
	body, err := json.Marshal(record{Format: format, Version: f.version + 1, Attestations: attestations.sorted()})
	if err != nil {
		return fmt.Errorf("witness: %w", err)
	}
	text := fmt.Sprintf("%s\n%s\n", body, checksum(string(body)))
	if err := f.overwrite(names[(f.version+1)%2], []byte(text)); err != nil {
		return fmt.Errorf("witness: %w", err)
	}
	f.version++
	f.attestations = maps.Clone(attestations)
	return nil
}

// syncDir is a variable for tests, which see no power failures.
var syncDir = atomicfile.SyncDir

// blockSize is what a file's size is a multiple of.
const blockSize = 4096

// overwrite writes a file in place: the other one is whole meanwhile.
func (f *File) overwrite(name string, text []byte) error {
	path := filepath.Join(f.dir, name)
	info, err := os.Stat(path)
	made := errors.Is(err, fs.ErrNotExist)
	size := int64(0)
	if err == nil {
		size = info.Size()
	}
	// Filled up with empty lines, the file keeps its size from one write to the next.
	size = max(size, (int64(len(text))+blockSize-1)/blockSize*blockSize)
	text = append(text, bytes.Repeat([]byte("\n"), int(size)-len(text))...)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(text, 0)
	if err = errors.Join(err, syncData(file), file.Close()); err != nil || !made {
		return err
	}
	return syncDir(f.dir)
}
