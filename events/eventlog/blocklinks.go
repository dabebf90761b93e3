package eventlog

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/receiptd/receiptd/events/eventlog/blockfile"
	"github.com/receiptd/receiptd/events/eventlog/witness"
	"github.com/receiptd/receiptd/internal/atomicfile"
)

// From the streams beside the log single messages leave at any time: they expire, others take their
// place, devices take them. So neither a gap nor a count tells that one is lost. What tells are the
// block files: the witness has a list of them, and each has a hard link in keptDir until one
// without it is written. What the server removed or wrote anew just before a crash is put back from
// there, and what may go leaves it again; what is missing in both places was lost.
const keptDir = "kept"

// mtimeSettled is the age from which a directory's time says that nothing changed in it since: file
// systems count in steps of a few milliseconds.
const mtimeSettled = 100 * time.Millisecond

// blockLinks note the blocks of the streams beside the log.
type blockLinks struct {
	dir   string // of the log
	noted map[string]noted
}

// noted are a stream's blocks as they were.
type noted struct {
	at, changed time.Time // when they were looked at, and when the directory had changed
	blocks      witness.Blocks
}

// note returns the blocks of a stream, all of which have hard links then, and are on the disk.
// The newest, which grows, counts as being there at all: how far it goes the last sequence says.
func (l *blockLinks) note(stream string) (witness.Blocks, error) {
	s := blockfile.Stream{Dir: streamDir(l.dir, stream), Name: stream}
	info, err := os.Stat(filepath.Dir(s.BlockPath(1)))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil // it is in memory, or was deleted just now
	}
	if err != nil {
		return "", fmt.Errorf("note the blocks of %s: %w", stream, err)
	}
	now := noted{at: time.Now(), changed: info.ModTime()}
	if was, ok := l.noted[stream]; ok && was.changed.Equal(now.changed) && was.at.Sub(was.changed) > mtimeSettled {
		return was.blocks, nil
	}
	indexes, err := s.Indexes()
	if err != nil {
		return "", fmt.Errorf("note the blocks of %s: %w", stream, err)
	}
	var list []witness.Block
	for i, index := range indexes {
		b, err := l.keep(&s, index, i == len(indexes)-1)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went meanwhile
		}
		if err != nil {
			return "", fmt.Errorf("note block %d of %s: %w", index, stream, err)
		}
		list = append(list, b)
	}
	now.blocks = witness.Join(list)
	l.noted[stream] = now
	return now.blocks, nil
}

// keep gives a block its hard link, which says how long it is. It is linked first and looked at
// then: the server may put another one in its place.
func (l *blockLinks) keep(s *blockfile.Stream, index int, newest bool) (witness.Block, error) {
	b, err := measured(s.BlockPath(index), index, newest)
	if err != nil {
		return b, err
	}
	if same, err := sameFile(s.BlockPath(index), keptName(l.dir, s.Name, b)); err != nil || same {
		return b, err
	}
	making := filepath.Join(l.dir, keptDir, s.Name, "making")
	err = errors.Join(atomicfile.MkdirAll(filepath.Dir(making), 0o700), removeIfThere(making))
	if err == nil {
		err = os.Link(s.BlockPath(index), making)
	}
	if err != nil {
		return b, err
	}
	if b, err = measured(making, index, newest); err == nil && !newest {
		err = syncFile(making)
	}
	if err != nil {
		return b, err
	}
	// A rename does nothing if both are names of one file.
	return b, errors.Join(atomicfile.Rename(making, keptName(l.dir, s.Name, b)), removeIfThere(making))
}

// measured is a block as it counts.
func measured(path string, index int, newest bool) (witness.Block, error) {
	info, err := os.Stat(path)
	if err != nil || newest {
		return witness.Block{Index: index}, err
	}
	return witness.Block{Index: index, Size: info.Size()}, nil
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// keptName is a block's hard link.
func keptName(dir, stream string, b witness.Block) string {
	return filepath.Join(dir, keptDir, stream, fmt.Sprintf("%d-%d.blk", b.Index, b.Size))
}

// forget takes away the hard links of blocks that are in none of the attestations.
func (l *blockLinks) forget(attestations ...witness.Attestations) error {
	wanted := map[string]bool{}
	for _, m := range attestations {
		for stream, attested := range m {
			for b := range attested.Blocks.All() {
				wanted[keptName(l.dir, stream, b)] = true
			}
		}
	}
	names, err := filepath.Glob(filepath.Join(l.dir, keptDir, "*", "*.blk"))
	for _, name := range names {
		if !wanted[name] {
			err = errors.Join(err, removeIfThere(name))
		}
	}
	return err
}

// putBackKept puts the blocks back that the witness has, that are not there as it has them, and
// that have a hard link. What lies in their place goes aside.
func putBackKept(dir string, attestations witness.Attestations, logger *slog.Logger) error {
	for stream, attested := range attestations {
		s := blockfile.Stream{Dir: streamDir(dir, stream), Name: stream}
		for _, b := range lostButKept(dir, &s, attested) {
			path, name := s.BlockPath(b.Index), filepath.Join(stream, "msgs", strconv.Itoa(b.Index)+".blk")
			// The summary is of the blocks without it.
			err := errors.Join(putAside(dir, name, path), removeIfThere(filepath.Join(filepath.Dir(path), indexFile)))
			if err == nil {
				err = atomicfile.MkdirAll(filepath.Dir(path), 0o700)
			}
			if err == nil {
				err = os.Link(keptName(dir, stream, b), path)
			}
			if err == nil {
				err = atomicfile.SyncDir(filepath.Dir(path))
			}
			if err != nil {
				return fmt.Errorf("put back block %d of %s: %w", b.Index, stream, err)
			}
			logger.Warn("a block of a stream that was removed, or written anew, after the witness was written is put back",
				slog.String("stream", stream), slog.String("file", path))
		}
	}
	return nil
}

// lostButKept are the blocks that the witness has, that are missing or shorter, and that have a
// hard link by which they are whole.
func lostButKept(dir string, s *blockfile.Stream, attested witness.Attestation) (list []witness.Block) {
	meta, err := s.Meta()
	if err != nil || !meta.Created.Equal(attested.Created) {
		return nil
	}
	for b := range attested.Blocks.All() {
		kept, err := os.Stat(keptName(dir, s.Name, b))
		if err != nil || kept.Size() < b.Size {
			continue
		}
		there, err := os.Stat(s.BlockPath(b.Index))
		if errors.Is(err, fs.ErrNotExist) || err == nil && there.Size() < b.Size {
			list = append(list, b)
		}
	}
	return list
}

// expected are the blocks of a stream that a scan has to find, by their numbers.
func expected(attested witness.Attestation, kept []witness.Block) map[int]int64 {
	sizes := map[int]int64{}
	for b := range attested.Blocks.All() {
		sizes[b.Index] = b.Size
	}
	for _, b := range kept {
		delete(sizes, b.Index)
	}
	return sizes
}

// hasBlocks reports whether a stream's blocks are noted: single messages leave it, and it cannot be
// made anew.
func hasBlocks(stream string) bool {
	return partitionOf(stream) < 0 && !disposable(stream) && !strings.ContainsAny(stream, `/\`)
}
