package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"

	"github.com/receiptd/receiptd/projections"
)

// Snapshot is the state as it was at one position, while the store goes on. It has to be closed,
// which the store does if it is closed itself: then there is nothing more to read.
type Snapshot struct {
	snap    *pebble.Snapshot
	failure *failure
	readers *readers
}

// Snapshot takes the state of the last committed checkpoint.
func (s *Store) Snapshot() *Snapshot {
	return newSnapshot(s.db, s.failure, &s.readers)
}

func newSnapshot(db *pebble.DB, failure *failure, readers *readers) *Snapshot {
	s := &Snapshot{snap: db.NewSnapshot(), failure: failure, readers: readers}
	readers.hold(s)
	return s
}

// Close releases the snapshot. It may be called again.
func (s *Snapshot) Close() error { return s.readers.release(s) }

// Get returns a copy of the value of a key, nil if there is none. It may be called concurrently.
func (s *Snapshot) Get(key []byte) ([]byte, error) {
	if err := s.readers.begin(); err != nil {
		return nil, err
	}
	defer s.readers.end()
	v, closer, err := s.snap.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read state: %w", known(err))
	}
	v = append([]byte{}, v...)
	return v, closer.Close()
}

// Digest returns a fingerprint of all keys and values, and the number of keys. Equal states have
// equal digests. The 32 hexadecimal digits are two independent 64-bit hashes.
func (s *Snapshot) Digest(ctx context.Context) (digest string, keys int, err error) {
	a, b := xxhash.New(), xxhash.NewWithSeed(0x9e3779b97f4a7c15)
	var head []byte
	err = s.each(ctx, func(key, value []byte) error {
		// Lengths come first, so that no two different lists of keys and values give the same
		// bytes.
		head = binary.AppendUvarint(head[:0], uint64(len(key)))
		head = binary.AppendUvarint(head, uint64(len(value)))
		for _, part := range [][]byte{head, key, value} {
			_, _ = a.Write(part) // a hash never fails
			_, _ = b.Write(part)
		}
		keys++
		return nil
	})
	if err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(b.Sum(a.Sum(nil))), keys, nil
}

func (s *Snapshot) each(ctx context.Context, f func(key, value []byte) error) error {
	if err := s.readers.begin(); err != nil {
		return err
	}
	defer s.readers.end()
	it, err := s.snap.NewIterWithContext(ctx, nil)
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if n++; n%4096 == 0 && ctx.Err() != nil {
			return errors.Join(ctx.Err(), it.Close())
		}
		if s.readers.ended() {
			return errors.Join(ErrClosed, it.Close())
		}
		if err := f(it.Key(), it.Value()); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return fmt.Errorf("read state: %w", s.failure.read(err))
	}
	return s.failure.corruption()
}

// Difference is the first place, in key order, at which two states differ.
type Difference struct {
	Key string // described for an operator
	// What is "only live", "only replayed" or "value".
	What           string
	Live, Replayed string // the values in hexadecimal
}

// Compare finds the first key at which two states differ; nil if they are equal.
func Compare(ctx context.Context, live, replayed *Snapshot) (*Difference, error) {
	for _, s := range []*Snapshot{live, replayed} {
		if err := s.readers.begin(); err != nil {
			return nil, err
		}
		defer s.readers.end()
	}
	a, err := live.snap.NewIterWithContext(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("read live state: %w", err)
	}
	b, err := replayed.snap.NewIterWithContext(ctx, nil)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read replayed state: %w", err), a.Close())
	}
	diff, err := compare(ctx, a, b)
	// An iterator that failed looks as if it were at its end; Close returns the error.
	if err := errors.Join(err, live.failure.read(a.Close()), replayed.failure.read(b.Close())); err != nil {
		return nil, fmt.Errorf("compare states: %w", err)
	}
	return diff, live.failure.corruption()
}

func compare(ctx context.Context, a, b *pebble.Iterator) (*Difference, error) {
	okA, okB := a.First(), b.First()
	for n := 0; okA || okB; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		order := 0
		switch {
		case !okB:
			order = -1
		case !okA:
			order = 1
		default:
			order = bytes.Compare(a.Key(), b.Key())
		}
		switch {
		case order < 0:
			return &Difference{Key: projections.DescribeKey(a.Key()), What: "only live", Live: hex.EncodeToString(a.Value())}, nil
		case order > 0:
			return &Difference{Key: projections.DescribeKey(b.Key()), What: "only replayed", Replayed: hex.EncodeToString(b.Value())}, nil
		case !bytes.Equal(a.Value(), b.Value()):
			return &Difference{
				Key: projections.DescribeKey(a.Key()), What: "value",
				Live: hex.EncodeToString(a.Value()), Replayed: hex.EncodeToString(b.Value()),
			}, nil
		}
		okA, okB = a.Next(), b.Next()
	}
	return nil, nil
}
