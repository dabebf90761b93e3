package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/receiptd/receiptd/events/eventlog/blockfile"
)

// blocksEach is how many blocks there are then of what was one.
const blocksEach = 3

// splitBlocks gives every stream of a stopped server several blocks, as it would have them by
// itself after megabytes. What it knew of its files by heart is removed: it finds out again, and
// the last block grows as it did.
func splitBlocks(data string) error {
	streams, err := blockfile.Streams(filepath.Join(data, "log", "jetstream"))
	if err != nil {
		return err
	}
	for i := range streams {
		if err := splitStream(&streams[i]); err != nil {
			return err
		}
	}
	return errors.Join(os.RemoveAll(filepath.Join(data, "witness")), os.RemoveAll(filepath.Join(data, "log", "kept")))
}

func splitStream(s *blockfile.Stream) error {
	indexes, err := s.Indexes()
	if err != nil || len(indexes) != 1 {
		return err
	}
	content, err := os.ReadFile(s.BlockPath(indexes[0]))
	if err != nil {
		return err
	}
	var records []blockfile.Record
	for r, err := range blockfile.Records(s.Name, indexes[0], content) {
		if err != nil {
			return err
		}
		if r.Tombstone {
			return nil // of an order of its own
		}
		records = append(records, r)
	}
	if len(records) < blocksEach {
		return nil
	}
	for n := range blocksEach {
		block := blockfile.NewBlock(s.Name, indexes[0]+n)
		for _, r := range records[n*len(records)/blocksEach : (n+1)*len(records)/blocksEach] {
			block.Append(r)
		}
		if err := s.WriteBlock(indexes[0]+n, block.Bytes()); err != nil {
			return err
		}
	}
	return os.Remove(filepath.Join(s.Dir, "msgs", "index.db"))
}

// lessBlocks is an error if no stream of a kind has several blocks, so that damage to one of them
// would be damage to all.
func lessBlocks(data string, names ...string) error {
	for _, name := range names {
		list, err := filepath.Glob(filepath.Join(data, "log", "jetstream", "*", "streams", name, "msgs", "*.blk"))
		if err == nil && len(list) < blocksEach {
			err = errors.New(name + " has one block only")
		}
		if err != nil {
			return err
		}
	}
	return nil
}
