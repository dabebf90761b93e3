package eventlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/internal/atomicfile"
)

// A stream that nats-server cannot open at a start, be it for a descriptor that it did not get, it
// removes, files and all, and goes on without. So before it starts every file of every stream gets
// a hard link, in a directory that it knows nothing of; when all streams are there again the
// names are taken away. What a start took away, the next one puts back.
const (
	guardDir    = "guard"
	guardMaking = "guard.making" // one that is not complete yet
	guardDone   = "guard.done"   // one that is being taken away
	asideDir    = "aside"

	indexFile = "index.db" // the server's summary of a stream
)

// guard is the hard links of a log's files.
type guard struct {
	dir     string // of the log
	streams []StreamFiles
	logger  *slog.Logger
}

// raise gives the files of the streams their hard links, all in one step: what has no hard link
// while there is a guard was not there before the server started.
func (g *guard) raise() error {
	making := filepath.Join(g.dir, guardMaking)
	if err := os.MkdirAll(making, 0o700); err != nil {
		return fmt.Errorf("guard the log: %w", err)
	}
	for _, s := range g.streams {
		if err := linkTree(s.dir, filepath.Join(making, s.Stream)); err != nil {
			return fmt.Errorf("guard the files of %s: %w", s.Stream, err)
		}
	}
	err := atomicfile.SyncTree(making)
	if err == nil {
		err = atomicfile.Rename(making, filepath.Join(g.dir, guardDir))
	}
	if err != nil {
		return fmt.Errorf("guard the log: %w", err)
	}
	return nil
}

// lower takes the hard links away, in one step too.
func (g *guard) lower() error {
	done := filepath.Join(g.dir, guardDone)
	err := atomicfile.Rename(filepath.Join(g.dir, guardDir), done)
	if err == nil {
		err = os.RemoveAll(done)
	}
	if err != nil {
		return fmt.Errorf("take the guard of the log away: %w", err)
	}
	return nil
}

// linkTree gives every file of a stream a hard link below another directory. Of nats-server's own
// consumers nothing is needed.
func linkTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case e.IsDir() && e.Name() == "obs":
			return filepath.SkipDir
		case e.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		case !e.Type().IsRegular(), e.Name() == indexFile: // that is made from the blocks
			return nil
		}
		return os.Link(path, filepath.Join(to, name))
	})
}

// restoreGuarded puts back what a start that failed or was cut off took away: files that have only
// their hard link, or that something else lies in the place of, which is put aside. So is a block
// that this start began: it may say that entries which it could not find are gone. streams is the
// directory in which the log's streams lie.
func restoreGuarded(dir, streams string, logger *slog.Logger) error {
	root := filepath.Join(dir, guardDir)
	for _, unfinished := range []string{guardMaking, guardDone} {
		if err := os.RemoveAll(filepath.Join(dir, unfinished)); err != nil {
			return fmt.Errorf("put back guarded files: %w", err)
		}
	}
	restored := map[string]int{} // files by directory
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		to := filepath.Join(streams, name)
		if e.IsDir() {
			if err := os.MkdirAll(to, 0o700); err != nil {
				return err
			}
			// The summary is of the start that failed: with it the server would not look at
			// what is put back.
			return errors.Join(removeIfThere(filepath.Join(to, indexFile)), putNewAside(dir, path, to, name))
		}
		there, err := sameFile(path, to)
		if err != nil || there {
			return err
		}
		if err := putAside(dir, name, to); err != nil {
			return err
		}
		restored[filepath.Dir(to)]++
		return os.Link(path, to)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("put back guarded files: %w", err)
	}
	files := 0
	for dir, n := range restored {
		if err := atomicfile.SyncDir(dir); err != nil {
			return fmt.Errorf("put back guarded files: %w", err)
		}
		files += n
	}
	if files > 0 {
		logger.Warn("files of the log that a start took away are put back", slog.Int("files", files))
	}
	return os.RemoveAll(root)
}

// putNewAside moves the blocks away that have no hard link.
func putNewAside(dir, guarded, streams, name string) error {
	blocks, err := filepath.Glob(filepath.Join(streams, "*.blk"))
	for _, block := range blocks {
		base := filepath.Base(block)
		if _, missing := os.Lstat(filepath.Join(guarded, base)); errors.Is(missing, fs.ErrNotExist) {
			err = errors.Join(err, putAside(dir, filepath.Join(name, base), block))
		}
	}
	return err
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sameFile reports whether two hard links are names of the same file.
func sameFile(second, first string) (bool, error) {
	x, err := os.Stat(second)
	if err != nil {
		return false, err
	}
	y, err := os.Stat(first)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(x, y), err
}

// putAside moves a file out of the way, if there is one; nothing is thrown away.
func putAside(dir, name, path string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	aside := filepath.Join(dir, asideDir, time.Now().UTC().Format("20060102T150405.000000000"), name)
	if err := atomicfile.MkdirAll(filepath.Dir(aside), 0o700); err != nil {
		return err
	}
	return atomicfile.Rename(path, aside)
}

// confirm compares what the server opened with what its files held, and takes the guard away if all
// of it is there. Otherwise the guard stays, for the next start to put the files back.
func (g *guard) confirm(ctx context.Context, js jetstream.JetStream) error {
	var findings []Finding
	for _, s := range g.streams {
		if disposable(s.Stream) {
			continue
		}
		stream, err := js.Stream(ctx, s.Stream)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			findings = append(findings, Finding{Code: CodeStreamMissing, Fatal: true, Stream: s.Stream, First: s.First, Last: s.Last,
				What: "its files are whole, and the embedded server did not open them; its own messages above say why. The files are kept, start again"})
		case err != nil:
			return fmt.Errorf("look up stream %s: %w", s.Stream, err)
		case stream.CachedInfo().State.LastSeq < s.Top:
			last := stream.CachedInfo().State.LastSeq
			findings = append(findings, Finding{Code: CodeShorter, Fatal: true, Stream: s.Stream, First: last + 1, Last: s.Top,
				What: fmt.Sprintf("its files hold entries up to %d, and the embedded server opened them up to %d", s.Top, last)})
		default:
			if f, lacks := s.lacks(stream.CachedInfo()); lacks {
				findings = append(findings, f)
			}
		}
	}
	if len(findings) > 0 {
		return &DamageError{Findings: findings}
	}
	return g.lower()
}

// lacks compares the entries that the server opened with those in the files. A block that it cannot
// read it passes over, and may still know from its summary what the last sequence is; what is
// stored next would then be written over that block. What leaves a stream that is not the log's may
// do so by itself at any time, so that only one that lost everything is known to lack it.
func (f *StreamFiles) lacks(info *jetstream.StreamInfo) (Finding, bool) {
	state := info.State
	first, last := state.FirstSeq, state.LastSeq
	if state.Msgs == 0 {
		first = last + 1
	}
	switch {
	case f.Entries == 0: // there is nothing to lack
		return Finding{}, false
	case f.Partition < 0 && (state.Msgs > 0 || f.expires):
		return Finding{}, false
	case f.Partition >= 0 && first <= max(f.First, f.trimmed+1) && state.Msgs == last+1-first:
		return Finding{}, false
	}
	return Finding{Code: CodeEntriesMissing, Fatal: true, Stream: f.Stream, First: f.First, Last: f.Last,
		What: fmt.Sprintf("its files hold entries %d to %d, and the embedded server opened %d, from %d on; its own messages above say why. The files are kept, start again",
			f.First, f.Last, state.Msgs, first)}, true
}
