package eventlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/receiptd/receiptd/events/eventlog/blockfile"
	"github.com/receiptd/receiptd/internal/atomicfile"
)

// presence watches that the newest block files of the log's streams are where they were. The server
// holds them open, and goes on writing, and syncing, into a file that was removed. It is looked at
// each [attestEvery]: so long at most, and the time that a machine without a processor to spare
// takes, entries are acknowledged that nobody will find again.
type presence struct {
	streams map[string]*newest
}

// newest is the newest block of a stream.
type newest struct {
	stream blockfile.Stream
	index  int
	path   string
}

// errFilesGone is why a log stores nothing any more whose files were removed.
var errFilesGone = errors.New("files of the log were removed or moved away while it was in use")

// watch begins with the blocks that are there.
func (p *presence) watch(dir string, streams []string) {
	p.streams = map[string]*newest{}
	for _, name := range streams {
		s := blockfile.Stream{Dir: filepath.Join(streamsDir(dir), name), Name: name}
		n := &newest{stream: s}
		n.index, n.path, _ = s.Newest()
		p.streams[name] = n
	}
}

// look returns an error if a newest block is gone. A newer one takes its place, once its name is on
// the disk. trimmed reports whether entries left a stream on purpose lately.
func (p *presence) look(trimmed func(stream string) bool) error {
	for name, n := range p.streams {
		if next := n.stream.BlockPath(n.index + 1); n.index == 0 || exists(next) {
			index, path, err := n.stream.Newest()
			if err == nil && index > n.index {
				// The server syncs what is in a file, and not that there is one.
				if err := atomicfile.SyncDir(filepath.Dir(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
				n.index, n.path = index, path
				continue
			}
		}
		if n.index == 0 || exists(n.path) {
			continue
		}
		// The server makes the next block before it removes this one.
		index, path, _ := n.stream.Newest()
		if index > n.index && trimmed(name) {
			n.index, n.path = index, path
			continue
		}
		return fmt.Errorf("%w: %s", errFilesGone, n.path)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil || !errors.Is(err, fs.ErrNotExist)
}

// trimmedLately is for how long the blocks of a stream may go that was trimmed.
const trimmedLately = time.Minute
