// Package store keeps the checkpoints of a partition's projections in Pebble.
//
// The changes of a checkpoint and the log position that they lead to get into Pebble in one step,
// as a batch or as table files, so that the state on disk is always the state at exactly one
// position. Pebble writes no log of its own: receiptd's log is the write-ahead log of the
// projections. After a crash the store is at the last checkpoint that reached a table file, and the
// fold goes on from the position that it finds there.
package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/projections"
)

// Options of a store. Zero values mean the defaults.
type Options struct {
	// Cache is the block cache, which several stores may share; nil = one of 32 MiB beside
	// MemoryBytes. Pebble takes the memory for what is not in its files yet from it, too.
	Cache *pebble.Cache
	// TableBytes is the size in bytes from which a checkpoint is written to table files at once;
	// 0 = 128 KiB.
	TableBytes int
	// FS is the file system; nil = the disk's.
	FS vfs.FS
	// WaitForRoom has what finds no room on FS wait for it, which it does on the disk anyway.
	WaitForRoom bool
	// OnlyWithRoom has Open fail if it finds no room, instead of waiting for it: the caller can do
	// without the state for now.
	OnlyWithRoom bool
	// FilterBytes bounds the memory of the filter before the lookups, which grows with the store up
	// to that: 1.75 bytes for each message, parked receipt and the like. 0 = 64 MiB.
	FilterBytes int
	// Logger takes Pebble's errors; nil = slog's default.
	Logger *slog.Logger
	// OnCorrupt, if not nil, is called once when the store is found corrupt while it is open. It
	// must not wait, nor call the store.
	OnCorrupt func()
}

const (
	// memTable is the size of the memory in which small checkpoints wait, in bytes.
	memTable = 1 << 20
	// blockBytes is what is compressed, read and cached at once.
	blockBytes = 16 << 10
	// MemoryBytes is what a store usually takes from its cache: while one memory table is being
	// filled, another one is being written. A cache that is not larger than this, summed over the
	// stores that share it, caches nothing.
	MemoryBytes = 2 * memTable
)

// Store is the checkpointed state of one partition. Get and Scan are for one goroutine at a time,
// as [projections.Backing] demands; the other methods are safe for concurrent use.
type Store struct {
	db    *pebble.DB
	opts  *pebble.Options
	dir   string
	cache *pebble.Cache // ours, nil if shared
	buf   []byte        // what Get returned last

	filter  *filter
	failure *failure
	full    *fullDisk
	readers readers

	committing sync.Mutex
	changes    changes // of the checkpoint being committed
	tableBytes int
	waiting    atomic.Int32 // callers that wait for a commit
}

// Open opens the store in a directory, and makes it if there is none. The error is [ErrCorrupt] if
// its files are, or were found to be by an earlier process.
func Open(dir string, o Options) (*Store, error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if err := wasCorrupt(o.FS, dir); err != nil {
		return nil, fmt.Errorf("open state %s: %w", dir, err)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := &Store{
		failure: newFailure(o.FS, dir, o.OnCorrupt), full: newFullDisk(dir, o.Logger),
		dir: dir, tableBytes: cmp.Or(o.TableBytes, defaultTableBytes),
	}
	s.changes.waiting = &s.waiting
	if o.Cache == nil {
		s.cache = pebble.NewCache(MemoryBytes + 32<<20)
		o.Cache = s.cache
	}
	opts := s.pebbleOptions(o)
	s.full.refusing.Store(o.OnlyWithRoom)
	db, err := openPebble(dir, opts)
	if err != nil {
		if refused := s.full.refused.Load(); refused != nil {
			err = *refused // whatever Pebble makes of it, nothing is corrupt
		}
		s.unref()
		return nil, fmt.Errorf("open state %s: %w", dir, err)
	}
	s.db, s.opts = db, opts
	if err := removeTables(opts.FS, dir); err != nil {
		err = errors.Join(fmt.Errorf("open state %s: %w", dir, err), db.Close())
		s.unref()
		return nil, err
	}
	empty, err := s.empty()
	if err != nil {
		err = errors.Join(err, db.Close())
		s.unref()
		return nil, err
	}
	s.full.refusing.Store(false)
	s.filter = newFilter(db, empty, cmp.Or(o.FilterBytes, defaultFilterBytes), func(err error) { o.Logger.Warn("lookups in the state will be slow", "error", err) })
	return s, nil
}

// pebbleOptions are the options of the database.
func (s *Store) pebbleOptions(o Options) *pebble.Options {
	ended := new(ended)
	disk := endingFS{o.FS, ended}
	opts := &pebble.Options{
		Cache:              o.Cache,
		DisableWAL:         true,
		FS:                 disk,
		FormatMajorVersion: pebble.FormatNewest,
		MemTableSize:       memTable,
		// A write stall would stop the checkpoints, not the fold: let a few tables queue up.
		MemTableStopWritesThreshold: 8,
		// Except for its messages, a checkpoint spans the whole range of keys. Merging it rewrites
		// much of what is there, so that many are merged at once. A lookup pays for this with a
		// look at the filter of each.
		L0CompactionThreshold: 16,
		L0StopWritesThreshold: 48,
		MaxOpenFiles:          512,
		Logger:                logger{o.Logger, s.failure, ended},
		EventListener:         s.failure.listener(),
	}
	// What is given in the disk's place, in memory, holds up nobody.
	if o.FS == vfs.Default || o.WaitForRoom {
		opts.FS = yieldingFS{waitingFS{disk, s.full}, &s.waiting}
	} else {
		// Pebble looks ten times a second whether a compaction may begin, beside whenever one is
		// wanted or has ended. In a simulation, where time is free, the looking is what costs.
		opts.Experimental.CompactionScheduler = pebble.NewConcurrencyLimitSchedulerWithNoPeriodicGrantingForTest()
	}
	// Summaries, and what is unread in single chats, are queues that are deleted from at the front,
	// so that tables are dense with deletions. Nobody scans across them, and compacting for their
	// sake doubled the work.
	opts.Experimental.TombstoneDenseCompactionThreshold = -1
	opts.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
	for i := range opts.Levels {
		// Most lookups of the fold are for messages that are not there yet.
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		opts.Levels[i].FilterType = sstable.TableFilter
		// Keys and values of one conversation are alike: larger blocks than Pebble's of 4 KiB
		// compress better, and there are fewer to make.
		opts.Levels[i].BlockSize = blockBytes
	}
	opts.EnsureDefaults()
	return opts
}

// openPebble opens the database. Whatever keeps it from that is corruption, unless it is the
// operating system that does: Pebble has an error of its own for some damaged files, says of others
// that they do not exist, cannot be parsed or have another size, and panics at some.
func openPebble(dir string, opts *pebble.Options) (db *pebble.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, &CorruptError{Path: dir, Err: fmt.Errorf("opening it panics: %v", p)}
		}
	}()
	if err := wholeManifest(opts.FS, dir); err != nil {
		return nil, err
	}
	db, err = pebble.Open(dir, opts)
	if err = known(err); err == nil || errors.Is(err, ErrCorrupt) {
		return db, err
	}
	if errno := syscall.Errno(0); errors.As(err, &errno) && errno != syscall.ENOENT {
		return nil, err
	}
	if strings.Contains(err.Error(), "lock held by current process") {
		return nil, err
	}
	return nil, &CorruptError{Path: dir, Err: err}
}

// empty reports whether nothing is stored.
func (s *Store) empty() (bool, error) {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return false, fmt.Errorf("read state: %w", err)
	}
	empty := !it.First()
	if err := it.Close(); err != nil {
		return false, fmt.Errorf("read state: %w", known(err))
	}
	return empty, nil
}

func (s *Store) unref() {
	if s.cache != nil {
		s.cache.Unref()
		s.cache = nil
	}
}

// Get implements [projections.Backing].
func (s *Store) Get(key []byte) ([]byte, error) {
	if projections.LookedUp(key) && s.filter.lacks(key) {
		return nil, nil
	}
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, s.failure.corruption()
	}
	if err != nil {
		return nil, fmt.Errorf("read state: %w", s.failure.read(err))
	}
	s.buf = append(s.buf[:0], v...)
	if err := closer.Close(); err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	if s.buf == nil {
		return []byte{}, nil
	}
	return s.buf, nil
}

// Scan implements [projections.Backing].
func (s *Store) Scan(prefix []byte, f func(key, value []byte) error) error {
	return s.Range(prefix, after(prefix), f)
}

// Range implements [projections.Backing].
func (s *Store) Range(first, end []byte, f func(key, value []byte) error) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: first, UpperBound: end})
	if err != nil {
		return fmt.Errorf("scan state: %w", s.failure.read(err))
	}
	for ok := it.First(); ok; ok = it.Next() {
		if err := f(it.Key(), it.Value()); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("scan state: %w", s.failure.read(err))
	}
	return s.failure.corruption()
}

// after is the first key larger than every key with the prefix; nil if there is none.
func after(prefix []byte) []byte {
	end := slices.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// Failed returns why a checkpoint could not be written or made durable, or nil. After a failure no
// further checkpoint is taken.
func (s *Store) Failed() error {
	if err := s.failure.get(); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// Corrupt returns what was found corrupt while the store was open, or nil. A store that is corrupt
// answers nothing any more, and takes no further checkpoint.
func (s *Store) Corrupt() error { return s.failure.corruption() }

// StopWaiting has checkpoints fail that find no room on the disk, instead of waiting for it. It is
// for the end of whoever waits for them.
func (s *Store) StopWaiting() { s.full.stop() }

// DiskFull reports whether a checkpoint waits for room on the disk.
func (s *Store) DiskFull() bool { return s.full.waiting.Load() > 0 }

// Adopt replaces whole tables by those of another store, in one step, and makes that durable. A
// table is named by the first byte of its keys.
func (s *Store) Adopt(from *Store, tables []byte) error {
	b := s.db.NewBatch()
	for _, t := range tables {
		prefix := []byte{t}
		if err := b.DeleteRange(prefix, after(prefix), nil); err != nil {
			return errors.Join(fmt.Errorf("adopt table: %w", err), b.Close())
		}
		err := from.Scan(prefix, func(key, value []byte) error {
			s.filter.add(key)
			return b.Set(key, value, nil)
		})
		if err != nil {
			return errors.Join(fmt.Errorf("adopt table: %w", err), b.Close())
		}
	}
	if err := s.db.Apply(b, pebble.NoSync); err != nil {
		return errors.Join(fmt.Errorf("adopt tables: %w", err), b.Close())
	}
	return errors.Join(b.Close(), s.Flush())
}

// Flush makes every committed checkpoint durable.
func (s *Store) Flush() error {
	done, err := s.flush()
	if err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-s.failure.occurred:
		return fmt.Errorf("flush state: %w", s.failure.err)
	}
}

// FlushSoon starts to make every committed checkpoint durable, and does not wait for it.
func (s *Store) FlushSoon() error {
	_, err := s.flush()
	return err
}

func (s *Store) flush() (done <-chan struct{}, err error) {
	if err = s.failure.get(); err == nil {
		done, err = s.db.AsyncFlush()
	}
	if err != nil {
		return nil, fmt.Errorf("flush state: %w", err)
	}
	return done, nil
}

// DiskBytes is the size of the store's files in bytes.
func (s *Store) DiskBytes() uint64 { return s.db.Metrics().DiskSpaceUsage() }

// Compact rewrites the whole state so that it is as small as it gets. It takes long, and is meant
// for measuring and for times of little load.
func (s *Store) Compact(ctx context.Context) error {
	if err := s.Flush(); err != nil {
		return err
	}
	if err := s.db.Compact(ctx, []byte{0}, []byte{0xff}, false); err != nil {
		return fmt.Errorf("compact state: %w", err)
	}
	return nil
}

// Close flushes and closes the store.
func (s *Store) Close() error { return errors.Join(s.Flush(), s.Discard()) }

// Discard closes the store without a flush: checkpoints that are not durable yet are lost.
func (s *Store) Discard() error {
	s.StopWaiting()
	defer s.Hurry()() // compactions under way come to their end
	err := s.readers.stop()
	s.filter.close()
	err = errors.Join(err, s.db.Close())
	s.unref()
	if err != nil {
		return fmt.Errorf("close state: %w", err)
	}
	return nil
}

// logger passes on what Pebble logs. What is information there is a debug message here.
type logger struct {
	l       *slog.Logger
	failure *failure
	ended   *ended
}

func (l logger) Infof(format string, args ...any)  { l.l.Debug(fmt.Sprintf(format, args...)) }
func (l logger) Errorf(format string, args ...any) { l.l.Error(fmt.Sprintf(format, args...)) }
func (l logger) Fatalf(format string, args ...any) {
	// Pebble means to end the process. It calls this when it could not write its manifest, and
	// returns the error after it; and when something is as it must not be, in its files or in its
	// memory. The log has everything: no further checkpoint is taken, and in the second case
	// nothing is read any more either.
	err := fmt.Errorf("state store: "+format, args...)
	l.l.Error(err.Error())
	if strings.Contains(err.Error(), "MANIFEST") {
		l.ended.end(err)
		l.failure.record(err)
		return
	}
	l.failure.corrupt("", err)
}
