package store

// WrittenBytes is how much the store has written to its table files since it was opened:
// checkpoints, what Pebble wrote out of its memory, and what it merged since.
func (s *Store) WrittenBytes() uint64 {
	t := s.db.Metrics().Total()
	return t.TableBytesIngested + t.TableBytesFlushed + t.TableBytesCompacted
}

// CommittedBytes is how large the keys and values of the last commit are, by table.
func (s *Store) CommittedBytes() (bytes map[byte]int) {
	bytes = map[byte]int{}
	for _, x := range s.changes.list {
		bytes[x.table] += int(x.keyLen + x.valueLen)
	}
	return bytes
}
