package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofrs/flock"

	"github.com/receiptd/receiptd/internal/atomicfile"
)

// Dir is a directory that takes a backup. One process at a time can have it open.
type Dir struct {
	path     string
	lock     *flock.Flock
	manifest Manifest
	have     map[string]uint64 // fingerprints of the last entries
	known    map[string]bool   // directories whose names are durable
}

// OpenDir makes the directory if need be and finds out what it holds: what its manifest names, and
// blocks that a backup left that was cut off. A directory that is no backup and not empty is
// refused. The caller must Close it.
func OpenDir(path string) (*Dir, error) {
	entries, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("backup: %w", err)
	}
	m, err := readManifest(path)
	if errors.Is(err, fs.ErrNotExist) {
		if slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() != lockFile && e.Name() != manifestFile+".tmp" }) {
			return nil, fmt.Errorf("backup: %s is neither empty nor a backup", path)
		}
	} else if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	if err := atomicfile.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	d := &Dir{path: path, lock: flock.New(filepath.Join(path, lockFile)), manifest: m, have: map[string]uint64{}, known: map[string]bool{}}
	if ok, err := d.lock.TryLock(); err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	} else if !ok {
		return nil, fmt.Errorf("backup: another backup into %s is under way", path)
	}
	if err := d.adopt(); err != nil {
		return nil, errors.Join(fmt.Errorf("backup: %w", err), d.Close())
	}
	return d, nil
}

const lockFile = "lock"

// Close lets go of the directory.
func (d *Dir) Close() error { return d.lock.Unlock() }

// adopt takes the blocks that follow those of the manifest, and notes the last entries.
func (d *Dir) adopt() error {
	for i := range d.manifest.Streams {
		s := &d.manifest.Streams[i]
		_, index := s.end()
		if index > 0 {
			_, data, err := readBlock(d.path, s, len(s.Blocks)-1)
			if err != nil {
				return fmt.Errorf("%w; verify the backup, and take another directory if it is damaged", err)
			}
			before := Stream{Stream: s.Stream, Partition: s.Partition}
			if _, d.have[s.Stream], err = checkBlock(&before, index, data); err != nil {
				return err
			}
		}
		for {
			_, index = s.end()
			data, err := os.ReadFile(filepath.Join(d.path, blockName(s.Stream, index+1)))
			if errors.Is(err, fs.ErrNotExist) {
				break
			}
			if err != nil {
				return err
			}
			b, fingerprint, err := checkBlock(s, index+1, data)
			if last, _ := s.end(); err != nil || s.Partition >= 0 && last != 0 && b.First != last+1 {
				break // it is sent again
			}
			s.Blocks = append(s.Blocks, b)
			d.have[s.Stream] = fingerprint
		}
	}
	return nil
}

// Have is what the directory holds, for [Send].
func (d *Dir) Have() Have {
	h := Have{Log: d.manifest.Log, Streams: map[string]HaveStream{}}
	for i := range d.manifest.Streams {
		s := &d.manifest.Streams[i]
		last, index := s.end()
		h.Streams[s.Stream] = HaveStream{Created: s.Created, Block: index, Last: last, Fingerprint: d.have[s.Stream]}
	}
	return h
}

// Receive takes what [Send] sends to [Dir.Have]. Until it has all of it the directory stays the
// backup that it was, and after an error a further Receive goes on with what came.
func (d *Dir) Receive(ctx context.Context, in io.Reader, progress func(Progress)) (Manifest, error) {
	r := receiver{sink: d, manifest: d.manifest, progress: progress}
	if err := r.receive(ctx, in); err != nil {
		return Manifest{}, fmt.Errorf("backup: %w", err)
	}
	d.manifest = r.manifest
	return r.manifest, nil
}

func (d *Dir) put(name string, data []byte) error {
	path := filepath.Join(d.path, filepath.FromSlash(name))
	dir := filepath.Dir(path)
	if !d.known[dir] {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		d.known[dir] = true
	}
	if err := atomicfile.Write(path, data, 0o600); err != nil {
		return errors.Join(err, removeIfThere(path+".tmp"))
	}
	return nil
}

// begun keeps what the first backup is of, so that one that is cut off can go on.
func (d *Dir) begun(m *Manifest) error {
	if d.manifest.Log != "" {
		return nil
	}
	return d.writeManifest(m)
}

func (d *Dir) writeManifest(m *Manifest) error {
	text, err := m.encode()
	if err != nil {
		return err
	}
	return d.put(manifestFile, text)
}

// finish makes the manifest that of the directory, and removes what it does not name.
func (d *Dir) finish(m *Manifest) error {
	for dir := range d.known { // the names of the directories themselves
		if err := atomicfile.SyncDir(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	if err := d.writeManifest(m); err != nil {
		return err
	}
	return removeUnnamed(d.path, m)
}

func removeUnnamed(dir string, m *Manifest) error {
	named := map[string]bool{}
	for _, s := range m.Streams {
		for _, b := range s.Blocks {
			named[blockName(s.Stream, b.Index)] = true
		}
	}
	for _, f := range m.Secrets {
		named[secretsDir+"/"+f.Name] = true
	}
	for _, part := range []string{streamsDir, secretsDir} {
		err := filepath.WalkDir(filepath.Join(dir, part), func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) || err == nil && e.IsDir() {
				return nil
			}
			if err != nil {
				return err
			}
			name, err := filepath.Rel(dir, path)
			if err != nil || named[filepath.ToSlash(name)] || !strings.HasSuffix(strings.TrimSuffix(name, ".tmp"), blockSuffix) && part == streamsDir {
				return err
			}
			return removeIfThere(path)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
