package clickhouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// ErrArchive is returned when the table events is not what the log was: an entry is missing or is not whole.
var ErrArchive = errors.New("clickhouse: the archive is damaged")

// Archived returns the first and the last entry of a partition that the table events has; zeros if it has none.
func (s *Store) Archived(ctx context.Context, partition int) (first, last Position, err error) {
	if first, err = s.edge(ctx, partition, "ASC"); err == nil {
		last, err = s.edge(ctx, partition, "DESC")
	}
	return first, last, err
}

// A question of Replay is for so many entries that it gives about so many rows.
const (
	archiveRows       = 100_000
	archiveEntries    = 64
	archiveEntriesMax = 1 << 16
)

// Span is a run of entries of one partition.
type Span struct {
	// Partition is one of Partitions, which is how many the log has.
	Partition, Partitions int
	// After is the sequence before the first entry, Upto that of the last one.
	After, Upto uint64
}

// Replay calls f with every entry of a span, in order, as the log had it: with the events in it, or why
// they could not be decoded. What f is given is valid during the call. An entry that is missing is an
// [ErrArchive].
func (s *Store) Replay(ctx context.Context, span Span, f func(*projections.Decoded) error) error {
	r := archiveReader{partitions: span.Partitions, last: span.After, f: f}
	for entries := uint64(archiveEntries); r.last < span.Upto; {
		to := min(r.last+entries, span.Upto)
		from, rows := r.last, r.rows
		if err := s.replay(ctx, &r, span.Partition, to); err != nil {
			return fmt.Errorf("replay partition %d from the archive: %w", span.Partition, err)
		}
		if r.last < to {
			return fmt.Errorf("%w: partition %d: entry %d is missing", ErrArchive, span.Partition, r.last+1)
		}
		perEntry := (r.rows-rows)/(to-from) + 1
		entries = min(max(archiveRows/perEntry, 1), archiveEntriesMax)
	}
	return nil
}

func (s *Store) replay(ctx context.Context, r *archiveReader, partition int, upto uint64) error {
	rows, err := s.conn.Query(ctx, fmt.Sprintf("SELECT sequence, `index`, toUnixTimestamp64Milli(at), fingerprint, toUInt8(kind), "+
		"toUInt8(outcome), app, `group`, user, peer, message, content, receipt, strict, client_ms, extra FROM events "+
		"WHERE partition = %d AND sequence > %d AND sequence <= %d AND fact = 0 ORDER BY partition, sequence, `index`",
		partition, r.last, upto))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := r.row(rows); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return r.flush()
}

// archiveReader puts entries together from their rows.
type archiveReader struct {
	f          func(*projections.Decoded) error
	partitions int

	last uint64 // the last entry that was given to f
	rows uint64

	// The entry being read.
	x      projections.Decoded
	events []events.Event
	bytes  *bytesExtra // nil for an entry that is kept as rows
	batch  events.Batch
}

func (r *archiveReader) row(rows driver.Rows) error {
	var (
		x             projections.Decoded
		e             events.Event
		index         uint32
		kind, outcome uint8
		extra         string
	)
	err := rows.Scan(&x.Sequence, &index, &x.At, &x.Fingerprint, &kind, &outcome, &e.App, &e.Group, &e.User, &e.Peer,
		&e.Message, &e.Content, &e.Receipt, &e.Strict, &e.Time, &extra)
	if err != nil {
		return err
	}
	r.rows++
	if x.Sequence != r.x.Sequence {
		if err := r.flush(); err != nil {
			return err
		}
		r.x = x
	}
	switch want := uint32(len(r.events)); {
	case x.At != r.x.At || x.Fingerprint != r.x.Fingerprint:
		return fmt.Errorf("%w: entry %d differs from itself", ErrArchive, x.Sequence)
	case index != want || r.x.Poison != "" || r.bytes != nil:
		return fmt.Errorf("%w: event %d of entry %d follows event %d", ErrArchive, index, x.Sequence, int(want)-1)
	case outcome == outcomePoison:
		r.x.Poison = e.Content
		return nil
	case outcome == outcomeBytes:
		r.bytes = &bytesExtra{}
		if err := json.Unmarshal([]byte(extra), r.bytes); err != nil {
			return fmt.Errorf("%w: entry %d: %w", ErrArchive, x.Sequence, err)
		}
		return nil
	case outcome == outcomeEmpty:
		return nil
	}
	if e.Kind = events.Kind(kind); !e.Kind.Valid() {
		return fmt.Errorf("%w: event %d of entry %d is of unknown kind %d", ErrArchive, index, x.Sequence, kind)
	}
	if err := addExtra(&e, extra); err != nil {
		return fmt.Errorf("%w: event %d of entry %d: %w", ErrArchive, index, x.Sequence, err)
	}
	r.events = append(r.events, e)
	return nil
}

func addExtra(e *events.Event, text string) error {
	if text == "" {
		return nil
	}
	var x eventExtra
	if err := json.Unmarshal([]byte(text), &x); err != nil {
		return err
	}
	e.Role, e.Members, e.Admins = x.Role, x.Members, x.Admins
	e.Settings, e.Revision, e.Upto = x.Settings, x.Revision, x.Upto
	return nil
}

// flush gives the entry that was read to f.
func (r *archiveReader) flush() error {
	if r.x.Sequence == 0 {
		return nil
	}
	if r.x.Sequence != r.last+1 {
		return fmt.Errorf("%w: entry %d follows entry %d", ErrArchive, r.x.Sequence, r.last)
	}
	if err := r.fill(); err != nil {
		return err
	}
	r.x.Batch = &r.batch
	if err := r.f(&r.x); err != nil {
		return err
	}
	r.last = r.x.Sequence
	r.x, r.events, r.bytes = projections.Decoded{}, r.events[:0], nil
	return nil
}

// fill fills the batch with the events of the entry.
func (r *archiveReader) fill() error {
	if r.bytes == nil {
		r.batch.SetEvents(r.events)
		return nil
	}
	switch err := events.DecodeEntry(r.bytes.Subject, r.bytes.Data, r.partitions, &r.batch); {
	case errors.Is(err, events.ErrVersion):
		return fmt.Errorf("entry %d: %w", r.x.Sequence, err)
	case err != nil:
		r.x.Poison = err.Error()
	}
	return nil
}
