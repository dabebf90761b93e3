package projections

// Backing is where a partition's state is when it is not in memory: the last committed
// [Checkpoint]. Get and Scan are called with the partition locked, by one goroutine at a time.
type Backing interface {
	// Get returns the value of a key, or nil if there is none. The value is valid until the next
	// call.
	Get(key []byte) ([]byte, error)
	// Scan calls f with every key that starts with prefix, in key order, until f fails. Key and
	// value are valid only during the call of f, which must not call the backing.
	Scan(prefix []byte, f func(key, value []byte) error) error
	// Range is Scan from the first key to the one before end. Unlike the others, it is called at
	// any time, concurrently with them and with commits, and sees what was committed when it began.
	Range(first, end []byte, f func(key, value []byte) error) error
}
