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
)

// A stream that nats-server cannot open at a start, be it for a descriptor that it did not get, it
// removes, files and all, and goes on without. So before it starts every file of every stream gets
// a second name, in a directory that it knows nothing of; when all streams are there again the
// names are taken away. What a start took away, the next one puts back.
const (
	guardDir = "guard"
	asideDir = "aside"
)

// guard is the second names of a log's files.
type guard struct {
	dir     string // of the log
	streams []StreamFiles
	logger  *slog.Logger
}

// raise gives the files of the streams their second names.
func (g *guard) raise() error {
	for _, s := range g.streams {
		if err := linkTree(s.dir, g.of(s.Stream)); err != nil {
			return fmt.Errorf("guard the files of %s: %w", s.Stream, err)
		}
	}
	return nil
}

func (g *guard) of(stream string) string { return filepath.Join(g.dir, guardDir, stream) }

// lower takes the second names away.
func (g *guard) lower() error {
	if err := os.RemoveAll(filepath.Join(g.dir, guardDir)); err != nil {
		return fmt.Errorf("take the guard of the log away: %w", err)
	}
	return nil
}

// linkTree gives every file of a stream a second name below another directory. Of nats-server's own
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
		case !e.Type().IsRegular(), e.Name() == "index.db": // that is made from the blocks
			return nil
		}
		return os.Link(path, filepath.Join(to, name))
	})
}

// restoreGuarded puts back what a start that failed or was cut off took away: files that have only
// their second name, or that something else lies in the place of, which is put aside. streams is
// the directory in which the log's streams lie.
func restoreGuarded(dir, streams string, logger *slog.Logger) error {
	root := filepath.Join(dir, guardDir)
	restored, changed := 0, map[string]bool{}
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
			return os.MkdirAll(to, 0o700)
		}
		there, err := sameFile(path, to)
		if err != nil || there {
			return err
		}
		if err := putAside(dir, name, to); err != nil {
			return err
		}
		restored++
		changed[filepath.Dir(name)] = true
		return os.Link(path, to)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for name := range changed {
		err = errors.Join(err, putStrangersAside(dir, name, filepath.Join(root, name), filepath.Join(streams, name)))
	}
	if err != nil {
		return fmt.Errorf("put back guarded files: %w", err)
	}
	if restored > 0 {
		logger.Warn("files of the log that a start took away are put back", slog.Int("files", restored))
	}
	return os.RemoveAll(root)
}

// putStrangersAside moves away what a start made in a directory whose files it took: a summary of
// what it left, and blocks that say that the entries it did not find are deleted. Nothing that was
// acknowledged is in them, since nobody is let in before the guard is lowered.
func putStrangersAside(dir, name, guarded, there string) error {
	list, err := os.ReadDir(there)
	if err != nil {
		return err
	}
	for _, e := range list {
		if !e.Type().IsRegular() {
			continue
		}
		if _, err := os.Lstat(filepath.Join(guarded, e.Name())); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := putAside(dir, filepath.Join(name, e.Name()), filepath.Join(there, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// sameFile reports whether a second name is that of the file with the first one.
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
	if err := os.MkdirAll(filepath.Dir(aside), 0o700); err != nil {
		return err
	}
	return os.Rename(path, aside)
}

// confirm compares what the server opened with what its files held, and takes the guard away if all
// of it is there. Otherwise the guard stays, for the next start to put the files back.
func (g *guard) confirm(ctx context.Context, js jetstream.JetStream) error {
	var findings []Finding
	for _, s := range g.streams {
		stream, err := js.Stream(ctx, s.Stream)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			findings = append(findings, Finding{Code: CodeStreamMissing, Fatal: true, Stream: s.Stream, First: s.First, Last: s.Last,
				What: "its files are whole, and the embedded server did not open them; its own messages above say why. The files are kept, start again"})
		case err != nil:
			return fmt.Errorf("look up stream %s: %w", s.Stream, err)
		default:
			if f, ok := opened(&s, &stream.CachedInfo().State); !ok {
				findings = append(findings, f)
			}
		}
	}
	if len(findings) > 0 {
		return &DamageError{Findings: findings}
	}
	return g.lower()
}

// opened compares what the server opened of a stream with what its files held. The server remembers
// the last sequence apart from the entries, and keeps it when it loses those: in a partition, from
// which nothing leaves but at the beginning, the entries are counted. Of other streams it cannot be
// told from the files what was deleted.
func opened(s *StreamFiles, state *jetstream.StreamState) (Finding, bool) {
	f := Finding{Fatal: true, Stream: s.Stream}
	switch {
	case state.LastSeq < s.Top:
		f.Code, f.First, f.Last = CodeShorter, state.LastSeq+1, s.Top
		f.What = fmt.Sprintf("its files hold entries up to %d, and the embedded server opened them up to %d", s.Top, state.LastSeq)
	case s.Partition >= 0 && s.Entries > 0 && (state.Msgs < state.LastSeq+1-state.FirstSeq || s.begins != 0 && state.FirstSeq > max(s.begins, s.First)):
		f.Code, f.First, f.Last = CodeEntriesMissing, s.First, s.Top
		f.What = fmt.Sprintf("its files hold entries %d to %d, and the embedded server opened %d entries from %d to %d",
			s.First, s.Top, state.Msgs, state.FirstSeq, state.LastSeq)
	default:
		return f, true
	}
	return f, false
}
