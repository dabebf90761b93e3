package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/receiptd/receiptd/projections/store"
)

// manifestVersion numbers the forms of the manifest's text.
const manifestVersion = 1

// errDamaged: a snapshot is not what was made.
var errDamaged = errors.New("snapshot: it is not what was made")

// File is a file of a snapshot, and the object that has it.
type File struct {
	Name   string `json:"name"`
	Object string `json:"object"`
	// NUID is in the subject of the object's chunks.
	NUID   string `json:"nuid"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// manifest describes a snapshot.
type manifest struct {
	Version    int       `json:"version"`
	Partition  int       `json:"partition"`
	Partitions int       `json:"partitions"`
	Made       time.Time `json:"made"`
	// Node made it; empty for a server that is alone.
	Node string `json:"node,omitempty"`
	store.StateInfo
	Files []File `json:"files"`
}

// Kept is a snapshot that was read back and found to be what was made.
type Kept struct {
	Manifest File      `json:"manifest"`
	Sequence uint64    `json:"sequence"`
	Digest   string    `json:"digest"`
	Made     time.Time `json:"made"`
	// Bytes is the size of its files, whichever of them it shares.
	Bytes int64 `json:"bytes"`
}

// keptMax is how many snapshots of a partition are kept.
const keptMax = 2

// note is what the writer notes of a partition: the snapshots that are kept, newest first.
type note struct {
	Kept []Kept `json:"kept"`
}

// parseNote reads a note; one that is damaged is of none.
func parseNote(text []byte) (n note, err error) {
	if text == nil {
		return n, nil
	}
	if err := json.Unmarshal(text, &n); err != nil {
		return note{}, fmt.Errorf("%w: note: %w", errDamaged, err)
	}
	for _, k := range n.Kept {
		if k.Manifest.Size < 0 || k.Bytes < 0 {
			return note{}, fmt.Errorf("%w: note: a snapshot of %d bytes, %d of them its manifest", errDamaged, k.Bytes, k.Manifest.Size)
		}
	}
	return n, nil
}

// parseManifest reads the manifest of a snapshot.
func parseManifest(text []byte, k Kept) (m manifest, err error) {
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%w: manifest: %w", errDamaged, err)
	}
	if m.Version != manifestVersion {
		return m, fmt.Errorf("%w: a manifest of version %d", errDamaged, m.Version)
	}
	m.Level = max(m.Level, 1) // which versions that knew no other did not say
	if m.Sequence != k.Sequence || m.Digest != k.Digest {
		return m, fmt.Errorf("%w: the manifest is that of another one", errDamaged)
	}
	seen := map[string]bool{}
	for _, f := range m.Files {
		switch {
		case f.Name == "" || f.Name != filepath.Base(f.Name) || f.Name == "." || f.Name == "..":
			return m, fmt.Errorf("%w: a file called %q", errDamaged, f.Name)
		case seen[f.Name]:
			return m, fmt.Errorf("%w: two files called %q", errDamaged, f.Name)
		case f.Size < 0:
			return m, fmt.Errorf("%w: file %q has %d bytes", errDamaged, f.Name, f.Size)
		}
		seen[f.Name] = true
	}
	return m, nil
}
