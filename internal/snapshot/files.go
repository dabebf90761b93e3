package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// waitFor waits until so many bytes may be moved.
func (m *Maker) waitFor(ctx context.Context) func(int64) error {
	return func(n int64) error {
		for n > 0 {
			part := min(n, burst)
			if err := m.pace.WaitN(ctx, int(part)); err != nil {
				return err
			}
			n -= part
		}
		return nil
	}
}

// pacedReader reads no faster than it may.
type pacedReader struct {
	r    io.Reader
	wait func(int64) error
}

// Read implements [io.Reader].
func (p *pacedReader) Read(b []byte) (int, error) {
	n, err := io.ReadFull(p.r, b) // a chunk is what one call returns
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	if e := p.wait(int64(n)); e != nil {
		return 0, e
	}
	return n, err
}

// listFiles hashes the files in a directory, no faster than it may.
func listFiles(dir string, wait func(int64) error) (list []File, total int64, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, 0, fmt.Errorf("snapshot: %w", err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		f := File{Name: e.Name()}
		if f.Size, f.SHA256, err = hashFile(filepath.Join(dir, f.Name), wait); err != nil {
			return nil, 0, fmt.Errorf("snapshot: %w", err)
		}
		list, total = append(list, f), total+f.Size
	}
	return list, total, nil
}

func hashFile(path string, wait func(int64) error) (size int64, sum string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	h := sha256.New()
	size, err = io.Copy(h, &pacedReader{file, wait})
	return size, hex.EncodeToString(h.Sum(nil)), errors.Join(err, file.Close())
}

func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
