package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/projections"
)

const (
	// defaultTableBytes is the size from which a checkpoint is written to table files at once.
	// Smaller ones wait in memory until several of them make a table: a file for each would cost
	// more syncs than it is worth.
	defaultTableBytes = 128 << 10
	// minFileBytes is what a file holds at least before it ends where a table of the state ends.
	minFileBytes = 32 << 10
)

// Commit writes a checkpoint as a whole, and it is visible at once. A large checkpoint is durable
// by then; a small one becomes durable when Pebble writes out its memory, with the next large one,
// or by [Store.Flush]. Once a checkpoint could not be written or made durable, every further Commit
// fails.
func (s *Store) Commit(c *projections.Checkpoint) error {
	s.committing.Lock()
	defer s.committing.Unlock()
	if err := s.failure.get(); err != nil {
		return fmt.Errorf("commit checkpoint: %w", err)
	}
	x := &s.changes
	if err := x.gather(c); err != nil {
		return fmt.Errorf("gather checkpoint: %w", err)
	}
	for i := range x.list {
		if !x.list[i].del {
			s.filter.add(x.key(i))
		}
	}
	write := s.writeTables
	if len(x.buf) < s.tableBytes {
		write = s.writeBatch
	}
	if err := write(x); err != nil {
		s.failure.record(err) // what comes after would not be the state at a position
		return fmt.Errorf("commit checkpoint: %w", err)
	}
	return nil
}

// Hurry keeps commits, also one that is under way, from giving way to others until done is called.
// It is for a caller that waits for a commit.
func (s *Store) Hurry() (done func()) {
	s.waiting.Add(1)
	return func() { s.waiting.Add(-1) }
}

// writeBatch writes the changes into Pebble's memory.
func (s *Store) writeBatch(x *changes) error {
	b := s.db.NewBatch()
	err := x.each(0, len(x.list), func(key, value []byte) error { return b.Set(key, value, nil) },
		func(key []byte) error { return b.Delete(key, nil) })
	if err == nil {
		err = s.db.Apply(b, pebble.NoSync)
	}
	return errors.Join(err, b.Close())
}

// writeTables writes the changes into table files and has Pebble ingest them, all in one step.
//
// This costs half as much as having Pebble sort them into its memory and write that out, and it can
// be done piece by piece, with others running in between. A file ends where a table of the state
// ends. Messages, whose ids mostly grow with time, therefore hardly ever overlap with older files,
// and need not be merged with them.
func (s *Store) writeTables(x *changes) error {
	var paths []string
	defer func() {
		for _, path := range paths {
			_ = s.opts.FS.Remove(path) // gone already unless there was an error
		}
	}()
	for from := 0; from < len(x.list); {
		end := x.fileEnd(from)
		path := s.opts.FS.PathJoin(s.dir, fmt.Sprintf("%s%d", tablePrefix, len(paths)))
		paths = append(paths, path)
		if err := s.writeTable(path, x, from, end); err != nil {
			return fmt.Errorf("write table: %w", err)
		}
		from = end
	}
	return s.db.Ingest(context.Background(), paths)
}

// tablePrefix begins the names of files that Pebble is to ingest.
const tablePrefix = "checkpoint-"

// removeTables removes the table files that a crash has left behind.
func removeTables(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, tablePrefix) {
			if err := fs.Remove(fs.PathJoin(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeTable writes a table file and syncs it.
func (s *Store) writeTable(path string, x *changes, from, end int) error {
	f, err := s.opts.FS.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(f), s.opts.MakeWriterOptions(0, s.db.TableFormat()))
	return errors.Join(x.each(from, end, w.Set, w.Delete), w.Close())
}
