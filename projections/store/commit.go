package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/crlib/crbytes"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/projections"
)

const (
	// defaultTableBytes is the size from which on a checkpoint becomes table files at once. Smaller ones wait in memory until
	// several make a table: a file for each would cost more syncs than it is worth.
	defaultTableBytes = 128 << 10
	// minFileBytes is what a file holds at least before it ends with the table it is in.
	minFileBytes = 32 << 10
	// maxKeptBytes is the memory kept from one checkpoint to the next.
	maxKeptBytes = 16 << 20
	// asideEvery is after how many changes a commit stands aside: it is in no hurry.
	asideEvery = 128
)

// Commit writes a checkpoint in one piece. It is visible at once. A large one is durable too; a small one is when Pebble
// writes its memory out, or at the next large one or [Store.Flush]. It fails once an earlier checkpoint could not be made
// durable.
func (s *Store) Commit(c *projections.Checkpoint) error {
	s.committing.Lock()
	defer s.committing.Unlock()
	if err := s.failure.get(); err != nil {
		return fmt.Errorf("commit checkpoint: %w", err)
	}
	x := &s.changes
	if err := x.gather(c); err != nil {
		return fmt.Errorf("fill checkpoint: %w", err)
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
		s.failure.meet(err) // what comes after would not be the state at a position
		return fmt.Errorf("commit checkpoint: %w", err)
	}
	return nil
}

// Hurry has commits, those under way too, let nobody else run until done is called: somebody waits for one.
func (s *Store) Hurry() (done func()) {
	s.waiting.Add(1)
	return func() { s.waiting.Add(-1) }
}

// writeBatch gives the changes to Pebble's memory.
func (s *Store) writeBatch(x *changes) error {
	b := s.db.NewBatch()
	err := x.each(0, len(x.list), func(key, value []byte) error { return b.Set(key, value, nil) },
		func(key []byte) error { return b.Delete(key, nil) })
	if err == nil {
		err = s.db.Apply(b, pebble.NoSync)
	}
	return errors.Join(err, b.Close())
}

// writeTables makes table files of the changes and has Pebble take them, in one step.
//
// That costs half of what it costs to sort them into Pebble's memory and to write that out, and can be done piece by piece, with
// others running in between. The tables of the state end files, so that messages, whose ids mostly grow with time, hardly ever
// come to lie over older ones and have to be merged with them.
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

// tablePrefix is what the names of files begin with that Pebble is to take.
const tablePrefix = "checkpoint-"

// removeTables removes what a crash has left behind.
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

// writeTable writes a file, to the disk.
func (s *Store) writeTable(path string, x *changes, from, end int) error {
	f, err := s.opts.FS.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(f), s.opts.MakeWriterOptions(0, s.db.TableFormat()))
	return errors.Join(x.each(from, end, w.Set, w.Delete), w.Close())
}

// changes are those of a checkpoint: what comes of each key, in the order of the keys.
type changes struct {
	background
	buf  []byte
	list []change
	// common is how long a beginning the keys of each table have in common, and first one of these keys.
	common [256]int
	first  [256]change
}

// change is a key that is set or removed. It lies in the buffer, the key first.
type change struct {
	at       int
	keyLen   uint32
	valueLen uint32
	del      bool
	table    byte   // the key's first
	head     uint64 // the bytes of the key behind what is common
}

func (x *changes) key(i int) []byte { return x.keyOf(&x.list[i]) }
func (x *changes) value(i int) []byte {
	c := &x.list[i]
	return x.buf[c.at+int(c.keyLen):][:c.valueLen]
}

func (x *changes) keyOf(c *change) []byte { return x.buf[c.at:][:c.keyLen] }

// gather takes the changes of a checkpoint.
func (x *changes) gather(c *projections.Checkpoint) error {
	if cap(x.buf) > maxKeptBytes {
		x.buf, x.list = nil, nil
	}
	x.buf, x.list = x.buf[:0], x.list[:0]
	x.first = [256]change{}
	add := func(key, value []byte, del bool) error {
		if len(x.list)%asideEvery == 0 {
			x.standAside()
		}
		x.add(key, value, del)
		return nil
	}
	err := c.Each(func(key, value []byte) error { return add(key, value, false) }, func(key []byte) error { return add(key, nil, true) })
	if err == nil {
		x.sort()
	}
	return err
}

func (x *changes) add(key, value []byte, del bool) {
	c := change{at: len(x.buf), keyLen: uint32(len(key)), valueLen: uint32(len(value)), del: del, table: key[0]}
	x.list = append(x.list, c)
	x.buf = append(append(x.buf, key...), value...)
	if first := &x.first[c.table]; first.keyLen == 0 {
		*first, x.common[c.table] = c, len(key)
	} else {
		x.common[c.table] = crbytes.CommonPrefix(x.keyOf(first)[:x.common[c.table]], key)
	}
}

// sort puts the changes into the order of their keys and leaves the last one of each. It looks at the keys themselves where their
// heads are equal only: they lie all over the buffer.
func (x *changes) sort() {
	for i := range x.list {
		c := &x.list[i]
		var head [8]byte
		copy(head[:], x.keyOf(c)[x.common[c.table]:])
		c.head = binary.BigEndian.Uint64(head[:])
	}
	n := 0
	slices.SortFunc(x.list, func(a, b change) int {
		if n++; n%(8*asideEvery) == 0 {
			x.standAside()
		}
		switch {
		case a.table != b.table:
			return cmp.Compare(a.table, b.table)
		case a.head != b.head:
			return cmp.Compare(a.head, b.head)
		}
		return cmp.Or(bytes.Compare(x.keyOf(&a), x.keyOf(&b)), a.at-b.at)
	})
	last := x.list[:0]
	for i := range x.list {
		if i+1 == len(x.list) || !bytes.Equal(x.key(i), x.key(i+1)) {
			last = append(last, x.list[i])
		}
	}
	x.list = last
}

// fileEnd is the index behind the changes that go into a file: it ends where a table of the state ends, unless it would be
// very small.
func (x *changes) fileEnd(from int) int {
	size := 0
	for i := from; i < len(x.list); i++ {
		if i > from && x.key(i)[0] != x.key(i - 1)[0] && size >= minFileBytes {
			return i
		}
		size += int(x.list[i].keyLen + x.list[i].valueLen)
	}
	return len(x.list)
}

// each gives the changes of a range, in order.
func (x *changes) each(from, end int, set func(key, value []byte) error, del func(key []byte) error) error {
	for i := from; i < end; i++ {
		if i%asideEvery == 0 {
			x.standAside()
		}
		var err error
		if x.list[i].del {
			err = del(x.key(i))
		} else {
			err = set(x.key(i), x.value(i))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
