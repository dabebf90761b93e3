package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"

	"github.com/receiptd/receiptd/events/eventlog/blockfile"
)

// Backup is a complete backup in a directory. It is an [eventlog.Source]: a repair takes entries
// from it. Everything that is read is compared with its checksum; errors for what does not fit wrap
// [ErrDamaged]. It is for one goroutine.
type Backup struct {
	Manifest
	dir string

	// The block that was read last.
	stream string
	index  int
	data   []blockfile.Record
}

// Open opens a backup. One that is not complete is refused.
func Open(dir string) (*Backup, error) {
	m, err := readManifest(dir)
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	if !m.Complete {
		return nil, fmt.Errorf("backup: the first backup into %s was cut off; run it again", dir)
	}
	return &Backup{Manifest: m, dir: dir}, nil
}

// Meta is the server's text of a stream's configuration, nil if the backup does not have it.
func (b *Backup) Meta(stream string) []byte {
	if s := b.Manifest.stream(stream); s != nil {
		return []byte(s.Meta)
	}
	return nil
}

// Bounds are the sequences between which the backup has what a stream had. Beside the log that is
// everything up to its end, since what is not there had been removed.
func (b *Backup) Bounds(stream string) (first, last uint64) {
	s := b.Manifest.stream(stream)
	switch {
	case s == nil || s.Last == 0:
		return 0, 0
	case s.Partition < 0:
		return 1, s.Last
	}
	return max(s.first(), 1), s.Last
}

// Record returns the message of a stream with a sequence; ok is false if there is none. It is valid
// until the next call.
func (b *Backup) Record(stream string, sequence uint64) (r blockfile.Record, ok bool, err error) {
	s := b.Manifest.stream(stream)
	if s == nil {
		return r, false, nil
	}
	i := sort.Search(len(s.Blocks), func(i int) bool { return s.Blocks[i].Last >= sequence })
	if i == len(s.Blocks) || s.Blocks[i].First > sequence {
		return r, false, nil
	}
	if b.stream != stream || b.index != s.Blocks[i].Index {
		if _, _, err := b.load(s, i); err != nil {
			return r, false, err
		}
	}
	n := sort.Search(len(b.data), func(n int) bool { return b.data[n].Sequence >= sequence })
	if n == len(b.data) || b.data[n].Sequence != sequence {
		return r, false, nil
	}
	return b.data[n], true, nil
}

// load reads a block, and returns what is to be known of it.
func (b *Backup) load(s *Stream, i int) (block Block, fingerprint uint64, err error) {
	b.stream, b.data = "", nil
	_, data, err := readBlock(b.dir, s, i)
	if err != nil {
		return block, 0, err
	}
	before := Stream{Stream: s.Stream, Partition: s.Partition, Blocks: s.Blocks[:i]}
	if block, fingerprint, err = checkBlock(&before, s.Blocks[i].Index, data); err != nil {
		return block, 0, err
	}
	for r := range blockfile.Records(s.Stream, block.Index, data) {
		b.data = append(b.data, r)
	}
	b.stream, b.index = s.Stream, block.Index
	return block, fingerprint, nil
}

// readBlock reads a block's bytes and compares them with the manifest.
func readBlock(dir string, s *Stream, i int) (name string, data []byte, err error) {
	name = blockName(s.Stream, s.Blocks[i].Index)
	data, err = readFile(dir, name, s.Blocks[i].Sum)
	return name, data, err
}

func readFile(dir, name string, want Sum) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%w: %s is missing", ErrDamaged, name)
	case err != nil:
		return nil, err
	case sumOf(data) != want:
		return nil, fmt.Errorf("%w: %s does not fit its checksum", ErrDamaged, name)
	}
	return data, nil
}

// Records calls visit with all messages of a stream, in order, each valid during the call, and
// compares the end with what the manifest says of it.
func (b *Backup) Records(ctx context.Context, stream string, visit func(blockfile.Record) error) error {
	s := b.Manifest.stream(stream)
	if s == nil {
		return nil
	}
	for i := range s.Blocks {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		block, fingerprint, err := b.load(s, i)
		if err != nil {
			return err
		}
		if block != s.Blocks[i] || s.Partition >= 0 && i > 0 && block.First != s.Blocks[i-1].Last+1 {
			return fmt.Errorf("%w: %s has other messages than the manifest says", ErrDamaged, blockName(stream, block.Index))
		}
		if last := i == len(s.Blocks)-1; last && s.Partition >= 0 && (block.Last != s.Last || fingerprint != s.Fingerprint) {
			return fmt.Errorf("%w: stream %s ends with another entry than the log had at %d", ErrDamaged, stream, s.Last)
		}
		for _, r := range b.data {
			if err := visit(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// Secret is the content of a file of secrets.
func (b *Backup) Secret(name string) ([]byte, error) {
	for _, f := range b.Secrets {
		if f.Name == name {
			return readFile(b.dir, secretsDir+"/"+name, f.Sum)
		}
	}
	return nil, fmt.Errorf("backup: it has no secret %s", name)
}

// Size is how many bytes the backup's files have.
func (b *Backup) Size() (bytes int64) {
	for _, s := range b.Streams {
		for _, x := range s.Blocks {
			bytes += x.Bytes
		}
	}
	return bytes
}

// Verify reads all of the backup against checksums, contiguity and the fingerprints of the ends,
// and returns what is wrong with it. The error is for what kept it from looking.
func (b *Backup) Verify(ctx context.Context, progress func(Progress)) (findings []string, err error) {
	at := Progress{Total: b.Size()}
	note := func(err error) error {
		if errors.Is(err, ErrDamaged) {
			findings = append(findings, err.Error())
			return nil
		}
		return err
	}
	for _, s := range b.Streams {
		if _, err := blockfile.ParseMeta([]byte(s.Meta)); err != nil {
			findings = append(findings, fmt.Sprintf("the configuration of stream %s: %v", s.Stream, err))
		}
		err := b.Records(ctx, s.Stream, func(r blockfile.Record) error {
			at.Bytes += int64(len(r.Subject) + len(r.Header) + len(r.Data) + recordOverhead)
			if progress != nil {
				progress(at)
			}
			return nil
		})
		if err := note(err); err != nil {
			return findings, err
		}
	}
	for _, f := range b.Secrets {
		_, err := b.Secret(f.Name)
		if err := note(err); err != nil {
			return findings, err
		}
	}
	return findings, nil
}

// recordOverhead is what a message takes in a block beside its content.
const recordOverhead = 30
