package eventlog

import (
	"errors"
	"fmt"
)

var (
	// ErrPartitions: the log exists with a number of partitions other than what was asked for. The
	// number is fixed when a log is created, because it decides which partition a conversation is
	// in.
	ErrPartitions = errors.New("eventlog: the log has another number of partitions")
	// ErrFenced: the log was repartitioned while this process had it open, which has to open it
	// again. Nothing that it appended since is stored.
	ErrFenced = errors.New("eventlog: the log was repartitioned meanwhile, and is to be opened again")

	// ErrRepartitioning: a repartition of the log was begun, and is to be finished by [Repartition]
	// first.
	ErrRepartitioning = errors.New("eventlog: a repartition of the log is not finished")
	// ErrStreamConfig: a stream exists with another configuration, or one of the log's streams is
	// missing. The error is a [*StreamConfigError]; the operator decides what to do about it.
	ErrStreamConfig = errors.New("eventlog: stream configuration differs")
	// ErrInUse: another process has the embedded log open.
	ErrInUse = errors.New("eventlog: the log's directory is in use by another process")

	// ErrNodeName: another process serves the log under this node's name.
	ErrNodeName = errors.New("eventlog: another process has this node's name; each node needs its own")

	// ErrDataDir: the directory is the data directory of a receiptd, or in it, and is not its log.
	ErrDataDir = errors.New("eventlog: this is in the data directory of a receiptd, and is not its log")
	// ErrDenied: the user of the URL has not the permissions that a log takes. Those of producers
	// do not: they publish, or send requests, and open no log.
	ErrDenied = errors.New("eventlog: the server does not let this user open the log; " +
		"a producer's user only sends events, to the subjects of events.SubmitSubject and events.IngressSubject")

	// ErrOverloaded: the queue had no room before the context ended, or too many producers were
	// waiting already. Nothing of the submit was queued.
	ErrOverloaded = errors.New("eventlog: overloaded")
	// ErrUnavailable: the log cannot store events now. Unless the error also says
	// [ErrUnknownOutcome], nothing of the submit was stored.
	ErrUnavailable = errors.New("eventlog: unavailable")
	// ErrLogFull: the disk is full, or the limit of the stream or the account is reached. It wraps
	// ErrUnavailable, and nothing of the entry was stored.
	ErrLogFull = fmt.Errorf("%w: the log is full", ErrUnavailable)
	// ErrUnknownOutcome: the log was closed or failed while an entry was under way, and it is not
	// known whether the entry was stored. It is safe to submit its events again: if they are in the
	// log already, the fold decides that they are duplicates.
	ErrUnknownOutcome = errors.New("eventlog: not known whether the events were stored")
	// ErrClosed: the log was closed. Of a ticket with this error nothing was stored.
	ErrClosed = errors.New("eventlog: closed")

	// ErrGap: entries are missing between two others. The error is a [*GapError].
	ErrGap = errors.New("eventlog: gap in the log")
	// ErrTrimmed: the entries asked for have left the log. The error is a [*TrimmedError].
	ErrTrimmed = errors.New("eventlog: entries were trimmed from the log")
	// ErrAhead: the position asked for is beyond the end of the log, or has another entry: the log
	// lost its tail, or is another one. In the first case the error is an [*AheadError].
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

// GapError says that entry Want is missing and that the next one is Have. It wraps [ErrGap].
type GapError struct {
	Partition  int
	Want, Have uint64
}

func (e *GapError) Error() string {
	return fmt.Sprintf("%v: partition %d: entry %d is missing, the next one is %d", ErrGap, e.Partition, e.Want, e.Have)
}

func (e *GapError) Unwrap() error { return ErrGap }

// TrimmedError says that the entries after After were asked for and that the log begins later, with
// First. It wraps [ErrTrimmed].
type TrimmedError struct {
	Partition    int
	After, First uint64
}

func (e *TrimmedError) Error() string {
	return fmt.Sprintf("%v: partition %d: asked for what follows %d, the first entry is %d", ErrTrimmed, e.Partition, e.After, e.First)
}

func (e *TrimmedError) Unwrap() error { return ErrTrimmed }

// AheadError says that the entries after After were asked for and that the log ends before, with
// Last. It wraps [ErrAhead].
type AheadError struct {
	Partition   int
	After, Last uint64
}

func (e *AheadError) Error() string {
	return fmt.Sprintf("%v: partition %d: position %d, the last entry is %d", ErrAhead, e.Partition, e.After, e.Last)
}

func (e *AheadError) Unwrap() error { return ErrAhead }
