package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"time"
)

const (
	format       = 1
	manifestFile = "manifest.json"
	streamsDir   = "streams"
	secretsDir   = "secrets"
	blockSuffix  = ".blk"
)

// ErrDamaged is wrapped by errors for a backup that is not what was written.
var ErrDamaged = errors.New("the backup is damaged")

// Manifest is what a backup holds.
type Manifest struct {
	Format int `json:"format"`
	// Complete is false while the first backup into a directory is under way or was cut off.
	Complete bool `json:"complete"`
	// Made is when the backup was complete, by the clock of its server.
	Made time.Time `json:"made,omitzero"`
	// Log is the identity of the log, in hexadecimal.
	Log        string   `json:"log"`
	Partitions int      `json:"partitions"`
	Streams    []Stream `json:"streams"`
	// State are the positions and digests of the folded state that the log leads to.
	State []State `json:"state"`
	// Secrets are the files of secrets, none if they were left out.
	Secrets []File `json:"secrets,omitempty"`
}

// Stream is one stream of the log's server.
type Stream struct {
	Stream string `json:"stream"`
	// Partition is -1 for what lies beside the log.
	Partition int       `json:"partition"`
	Created   time.Time `json:"created"`
	// Last is up to where the stream is in the backup. Fingerprint stands for entry Last of a
	// partition, as the log has it; 0 if it has left the log.
	Last        uint64 `json:"last"`
	Fingerprint uint64 `json:"fingerprint,omitempty"`
	// Meta is the server's text of its configuration.
	Meta   string  `json:"meta"`
	Blocks []Block `json:"blocks"`
}

// Block is a file of messages.
type Block struct {
	Index int `json:"index"`
	Sum
	First    uint64 `json:"first"`
	Last     uint64 `json:"last"`
	Messages uint64 `json:"messages"`
}

// File is another file.
type File struct {
	Name string `json:"name"`
	Sum
}

// Sum is the length and the hash of a file, by which every read of it is checked.
type Sum struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

func sumOf(data []byte) Sum {
	h := sha256.Sum256(data)
	return Sum{Bytes: int64(len(data)), SHA256: hex.EncodeToString(h[:])}
}

// State is the folded state of a partition.
type State struct {
	Partition int    `json:"partition"`
	Position  uint64 `json:"position"`
	Digest    string `json:"digest"`
	Keys      int    `json:"keys"`
}

func blockName(stream string, index int) string {
	return path.Join(streamsDir, stream, strconv.Itoa(index)+blockSuffix)
}

// stream finds a stream, nil if the backup has none of the name.
func (m *Manifest) stream(name string) *Stream {
	for i := range m.Streams {
		if m.Streams[i].Stream == name {
			return &m.Streams[i]
		}
	}
	return nil
}

// first is the sequence of the first message that is there, 0 if none is.
func (s *Stream) first() uint64 {
	if len(s.Blocks) == 0 {
		return 0
	}
	return s.Blocks[0].First
}

// end is the last message that is there, and the number of its block.
func (s *Stream) end() (sequence uint64, index int) {
	if n := len(s.Blocks); n > 0 {
		return s.Blocks[n-1].Last, s.Blocks[n-1].Index
	}
	return 0, 0
}

// encode is the manifest's file: JSON, and a line with its checksum.
func (m *Manifest) encode() ([]byte, error) {
	body, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(body, "\nsha256 %s\n", sumOf(body).SHA256), nil
}

func decodeManifest(text []byte) (m Manifest, err error) {
	const marker = "\nsha256 "
	at := bytes.LastIndex(text, []byte(marker))
	if at < 0 || string(text[at+len(marker):]) != sumOf(text[:at]).SHA256+"\n" {
		return m, fmt.Errorf("%w: %s does not fit its checksum", ErrDamaged, manifestFile)
	}
	if err := json.Unmarshal(text[:at], &m); err != nil {
		return Manifest{}, fmt.Errorf("%w: %s: %w", ErrDamaged, manifestFile, err)
	}
	if m.Format != format {
		return Manifest{}, fmt.Errorf("%s: format %d; this program knows %d", manifestFile, m.Format, format)
	}
	if err := m.check(); err != nil {
		return Manifest{}, fmt.Errorf("%w: %s: %w", ErrDamaged, manifestFile, err)
	}
	return m, nil
}

// check reports what no backup has, whoever wrote its checksum: files outside of its directory,
// above all.
func (m *Manifest) check() error {
	named := names{}
	for i := range m.Streams {
		s := &m.Streams[i]
		if err := named.stream(s.Stream, s.Partition, m.Partitions); err != nil {
			return err
		}
		var before Block
		for _, b := range s.Blocks {
			if b.Index <= before.Index || b.First <= before.Last || b.Last < b.First {
				return fmt.Errorf("stream %s: block %d has messages %d to %d and follows block %d, which ends with %d",
					s.Stream, b.Index, b.First, b.Last, before.Index, before.Last)
			}
			before = b
		}
	}
	for _, f := range m.Secrets {
		if err := named.add(secretsDir, f.Name); err != nil {
			return err
		}
	}
	return nil
}

// names are the files and directories that a backup has.
type names map[string]bool

// add refuses a name that leads elsewhere, or is there already.
func (n names) add(dir, name string) error {
	full := dir + "/" + name
	if path.Base(name) != name || !fs.ValidPath(full) || n[full] {
		return fmt.Errorf("unexpected name %q in %s", name, dir)
	}
	n[full] = true
	return nil
}

// stream refuses a stream that leads elsewhere, is there already, or is of no partition.
func (n names) stream(name string, partition, partitions int) error {
	if partition < -1 || partition >= partitions {
		return fmt.Errorf("stream %s is of partition %d of %d", name, partition, partitions)
	}
	return n.add(streamsDir, name)
}

// readManifest reads the manifest of a directory. The error wraps [fs.ErrNotExist] if it has none.
func readManifest(dir string) (Manifest, error) {
	text, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%s holds no backup: %w", dir, err)
		}
		return Manifest{}, err
	}
	return decodeManifest(text)
}
