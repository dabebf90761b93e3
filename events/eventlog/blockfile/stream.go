package blockfile

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Names of nats-server's files.
const (
	metaFile    = "meta.inf"
	metaSumFile = "meta.sum"
	blocksDir   = "msgs"
	blockSuffix = ".blk"
	streamsDir  = "streams"
)

// Stream is a stream's directory.
type Stream struct {
	Dir  string
	Name string // of the directory; the hashes of all that is in it are keyed with it
}

// Meta is what a stream's configuration says that matters here.
type Meta struct {
	// Created tells the stream from another one that had its name.
	Created  time.Time
	Metadata map[string]string
	// MaxAge is after how long messages leave the stream by themselves, 0 for never.
	MaxAge time.Duration
}

// Streams lists the streams of all accounts of a server's store, in the order of their names. A
// store that is not there has none.
func Streams(store string) ([]Stream, error) {
	accounts, err := readDir(store)
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	var list []Stream
	for _, account := range accounts {
		if !account.IsDir() {
			continue // the server tries whether it may write here, and may be killed meanwhile
		}
		dir := filepath.Join(store, account.Name(), streamsDir)
		entries, err := readDir(dir)
		if err != nil {
			return nil, fmt.Errorf("list streams: %w", err)
		}
		for _, e := range entries {
			// What begins with a dot is being deleted.
			if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
				list = append(list, Stream{Dir: filepath.Join(dir, e.Name()), Name: e.Name()})
			}
		}
	}
	slices.SortFunc(list, func(a, b Stream) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// readDir lists a directory, which need not be there, nor be one.
func readDir(dir string) ([]os.DirEntry, error) {
	if info, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil, nil
	}
	return os.ReadDir(dir)
}

// Meta reads the stream's configuration. The error wraps [ErrDamaged] if it is not what the server
// wrote, and is another one if it cannot be read.
func (s *Stream) Meta() (Meta, error) {
	text, err := os.ReadFile(filepath.Join(s.Dir, metaFile))
	if err != nil {
		return Meta{}, s.readError(err)
	}
	sum, err := os.ReadFile(filepath.Join(s.Dir, metaSumFile))
	if err != nil {
		return Meta{}, s.readError(err)
	}
	h := newHash(s.Name)
	h.Write(text)
	if hex.EncodeToString(h.Sum(nil)) != string(sum) {
		return Meta{}, fmt.Errorf("%w: %s does not fit its checksum, or is of another stream",
			ErrDamaged, filepath.Join(s.Dir, metaFile))
	}
	m, err := ParseMeta(text)
	if err != nil {
		return m, fmt.Errorf("%w: %s", err, filepath.Join(s.Dir, metaFile))
	}
	return m, nil
}

// ParseMeta reads the text of a stream's configuration. The error wraps [ErrDamaged].
func ParseMeta(text []byte) (Meta, error) {
	var m struct {
		Created  time.Time         `json:"Created"`
		Metadata map[string]string `json:"metadata"`
		MaxAge   time.Duration     `json:"max_age"`
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return Meta{}, fmt.Errorf("%w: a configuration: %w", ErrDamaged, err)
	}
	return Meta{Created: m.Created, Metadata: m.Metadata, MaxAge: m.MaxAge}, nil
}

func (s *Stream) readError(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// Newest is the newest block, 0 if there is none.
func (s *Stream) Newest() (index int, path string, err error) {
	list, err := s.blocks()
	if err != nil || len(list) == 0 {
		return 0, "", err
	}
	last := list[len(list)-1]
	return last.index, last.path, nil
}

// BlockPath is where the block with an index lies.
func (s *Stream) BlockPath(index int) string {
	return filepath.Join(s.Dir, blocksDir, strconv.Itoa(index)+blockSuffix)
}

// Indexes are the numbers of the blocks that there are, in their order.
func (s *Stream) Indexes() ([]int, error) {
	list, err := s.blocks()
	indexes := make([]int, len(list))
	for i, b := range list {
		indexes[i] = b.index
	}
	return indexes, err
}

// Size is the size of the blocks, in bytes.
func (s *Stream) Size() (total int64, err error) {
	list, err := s.blocks()
	for _, b := range list {
		if info, err := os.Stat(b.path); err == nil { // else it went meanwhile
			total += info.Size()
		}
	}
	return total, err
}

// block is one block file.
type block struct {
	index int
	path  string
}

// blocks lists the block files in their order.
func (s *Stream) blocks() ([]block, error) {
	dir := filepath.Join(s.Dir, blocksDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []block
	for _, e := range entries {
		number, ok := strings.CutSuffix(e.Name(), blockSuffix)
		if n, err := strconv.Atoi(number); ok && err == nil {
			list = append(list, block{index: n, path: filepath.Join(dir, e.Name())})
		}
	}
	slices.SortFunc(list, func(a, b block) int { return a.index - b.index })
	return list, nil
}
