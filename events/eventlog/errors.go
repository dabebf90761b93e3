package eventlog

import (
	"errors"
	"fmt"
)

var (
	// ErrPartitions: the log exists with another number of partitions than was asked for. The
	// number is fixed when a log is created, because it decides where each conversation lives.
	ErrPartitions = errors.New("eventlog: the log has another number of partitions")
	// ErrStreamConfig: a stream exists with another configuration, or one of the log's streams is
	// missing. The error is a [*StreamConfigError]; the operator decides what to do about it.
	ErrStreamConfig = errors.New("eventlog: stream configuration differs")
	// ErrInUse: another process has the embedded log open.
	ErrInUse = errors.New("eventlog: the log's directory is in use by another process")

	// ErrOverloaded: the queue had no room before the context ended, or too many producers wait
	// already. Nothing of the submit was queued.
	ErrOverloaded = errors.New("eventlog: overloaded")
	// ErrUnavailable: the log cannot store events now. Unless the error also says
	// [ErrUnknownOutcome], nothing of the submit was stored.
	ErrUnavailable = errors.New("eventlog: unavailable")
	// ErrLogFull: the disk, or the limit of the stream or the account, has no room. It is an
	// ErrUnavailable, and nothing of the entry was stored.
	ErrLogFull = fmt.Errorf("%w: the log is full", ErrUnavailable)
	// ErrUnknownOutcome: the log was closed or failed while an entry was under way, so that it is
	// not known whether the entry was stored. Submitting its events again is safe: the fold takes
	// them as duplicates.
	ErrUnknownOutcome = errors.New("eventlog: not known whether the events were stored")
	// ErrClosed: the log was closed. A ticket with this error has nothing stored.
	ErrClosed = errors.New("eventlog: closed")

	// ErrGap: entries are missing between two others. The error is a [*GapError].
	ErrGap = errors.New("eventlog: gap in the log")
	// ErrTrimmed: the entries asked for have left the log. The error is a [*TrimmedError].
	ErrTrimmed = errors.New("eventlog: entries were trimmed from the log")
	// ErrAhead: the position asked for is beyond the end of the log, so the log lost its tail or is
	// another one. The error is an [*AheadError].
	ErrAhead = errors.New("eventlog: position is beyond the end of the log")
	// ErrNoEntry: there is no entry with the sequence.
	ErrNoEntry = errors.New("eventlog: no such entry")
)

// StreamConfigError names what differs. It wraps [ErrStreamConfig].
type StreamConfigError struct {
	Stream, Field string
	Want, Have    string
}

func (e *StreamConfigError) Error() string {
	return fmt.Sprintf("%v: stream %s: %s is %s, must be %s", ErrStreamConfig, e.Stream, e.Field, e.Have, e.Want)
}

func (e *StreamConfigError) Unwrap() error { return ErrStreamConfig }

// GapError says that the entry after Want-1 is Have. It wraps [ErrGap].
type GapError struct {
	Partition  int
	Want, Have uint64
}

func (e *GapError) Error() string {
	return fmt.Sprintf("%v: partition %d: entry %d is missing, the next one is %d", ErrGap, e.Partition, e.Want, e.Have)
}

func (e *GapError) Unwrap() error { return ErrGap }

// TrimmedError says that the log begins at First, later than the entry after After. It wraps
// [ErrTrimmed].
type TrimmedError struct {
	Partition    int
	After, First uint64
}

func (e *TrimmedError) Error() string {
	return fmt.Sprintf("%v: partition %d: asked for what follows %d, the first entry is %d", ErrTrimmed, e.Partition, e.After, e.First)
}

func (e *TrimmedError) Unwrap() error { return ErrTrimmed }

// AheadError says that After was asked for and the log ends at Last. It wraps [ErrAhead].
type AheadError struct {
	Partition   int
	After, Last uint64
}

func (e *AheadError) Error() string {
	return fmt.Sprintf("%v: partition %d: position %d, the last entry is %d", ErrAhead, e.Partition, e.After, e.Last)
}

func (e *AheadError) Unwrap() error { return ErrAhead }
