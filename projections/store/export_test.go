package store

// WrittenBytes is how much the store has written to its table files since it was opened:
// checkpoints, what Pebble wrote out of its memory, and what it merged since.
func (s *Store) WrittenBytes() uint64 {
	t := s.db.Metrics().Total()
	return t.TableBytesIngested + t.TableBytesFlushed + t.TableBytesCompacted
}
