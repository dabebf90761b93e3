package eventlog

import (
	"sync/atomic"
	"time"
)

// PartitionStats says what the publisher of one partition has done since the log was opened, and
// what it is doing.
type PartitionStats struct {
	Partition int
	// Entries, Events and Bytes are what was stored; Bytes is the encoded size.
	Entries, Events, Bytes uint64
	// Retries is the number of tries to store an entry that had to be repeated.
	Retries uint64
	// Failed is the number of entries that were given up; see the errors of [Ticket.Wait].
	Failed uint64
	// Queued is the number of events that are queued or under way, and Waiting that of the
	// producers that wait for room in the queue.
	Queued  int64
	Waiting int
	// Unfolded is how many events are stored and not folded, and Lag for how long the first of them
	// has been, if the fold is followed; see [Log.Folded].
	Unfolded int
	Lag      time.Duration
	// InFlight is the age of the entry under way, 0 if there is none.
	InFlight time.Duration
	// LastAck is how long the last entry took to be stored, and AckTime the sum over all Entries.
	LastAck, AckTime time.Duration
	// LastSequence is the sequence of the last entry that this publisher stored or, before the
	// first one, of the last entry that there was when the log was opened.
	LastSequence uint64
}

// stats are the counters of one partition. The publisher's goroutine writes them.
type stats struct {
	entries, events, bytes  atomic.Uint64
	retries, failed, last   atomic.Uint64
	queued                  atomic.Int64
	began, lastAck, ackTime atomic.Int64 // nanoseconds; began is Unix time, 0 while idle
}

func (s *stats) begin() { s.began.Store(time.Now().UnixNano()) }

func (s *stats) end(out *outgoing, sequence uint64, err error) {
	took := time.Now().UnixNano() - s.began.Swap(0)
	s.queued.Add(-int64(out.events))
	if err != nil {
		s.failed.Add(1)
		return
	}
	s.entries.Add(1)
	s.events.Add(uint64(out.events))
	s.bytes.Add(uint64(len(out.payload)))
	s.last.Store(sequence)
	s.lastAck.Store(took)
	s.ackTime.Add(took)
}

// Stats returns the counters of every partition. Each counter is exact; together they are of about
// the same moment.
func (l *Log) Stats() []PartitionStats {
	all := make([]PartitionStats, len(l.publishers))
	for i, p := range l.publishers {
		s := &p.stats
		all[i] = PartitionStats{
			Partition: p.partition,
			Entries:   s.entries.Load(), Events: s.events.Load(), Bytes: s.bytes.Load(),
			Retries: s.retries.Load(), Failed: s.failed.Load(),
			Queued: s.queued.Load(), Waiting: p.capacity.Waiting(),
			LastAck: time.Duration(s.lastAck.Load()), AckTime: time.Duration(s.ackTime.Load()),
			LastSequence: s.last.Load(),
		}
		all[i].Unfolded, all[i].Lag = p.fold.lag(time.Now())
		if began := s.began.Load(); began != 0 {
			all[i].InFlight = max(0, time.Duration(time.Now().UnixNano()-began))
		}
	}
	return all
}
