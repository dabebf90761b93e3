package clickhouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// errArchive is returned when the table events is not what the log was: an entry is missing or is
// not whole.
var errArchive = errors.New("clickhouse: the archive is damaged")

const (
	// archiveRows is about how many rows Replay reads with one SELECT.
	archiveRows = 100_000
	// archiveEntries is the number of entries that the first SELECT asks for, and archiveEntriesMax
	// the most that any other one asks for.
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

// Replay calls f with every entry of a span, in order, as the log had it: with the events in it, or
// why they could not be decoded. What f is given is valid during the call. An entry that is missing
// is an errArchive.
func (s *Store) Replay(ctx context.Context, span Span, f func(*projections.Decoded) error) error {
	r := newArchiveReader(span.Partitions, span.After, f)
	for entries := uint64(archiveEntries); r.last < span.Upto; {
		to := min(r.last+entries, span.Upto)
		from, rows := r.last, r.rows
		if err := s.replay(ctx, r, span.Partition, to); err != nil {
			return fmt.Errorf("replay partition %d from the archive: %w", span.Partition, err)
		}
		if r.last < to {
			return fmt.Errorf("%w: partition %d: entry %d is missing", errArchive, span.Partition, r.last+1)
		}
		perEntry := (r.rows-rows)/(to-from) + 1
		entries = min(max(archiveRows/perEntry, 1), archiveEntriesMax)
	}
	return nil
}

func (s *Store) replay(ctx context.Context, r *archiveReader, partition int, upto uint64) error {
	rows, err := s.conn.Query(ctx, fmt.Sprintf("SELECT %s FROM %s "+
		"WHERE partition = %d AND sequence > %d AND sequence <= %d AND fact = 0 ORDER BY partition, sequence, `index`",
		r.expressions, eventsTable.name, partition, r.last, upto))
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

	last uint64 // the sequence of the last entry that was given to f
	rows uint64 // how many were read

	// The row being read, and what is selected and scanned for it.
	columns     eventColumns
	expressions string
	targets     []any

	// The entry being read.
	x      projections.Decoded
	events []events.Event
	bytes  *bytesExtra // nil for an entry that is kept as rows
	batch  events.Batch
}

func newArchiveReader(
	partitions int, after uint64, f func(*projections.Decoded) error,
) *archiveReader {
	r := &archiveReader{partitions: partitions, last: after, f: f}
	var expressions []string
	expressions, r.targets = eventsTable.scan(&r.columns, archived)
	r.expressions = strings.Join(expressions, ", ")
	return r
}

// entry is the entry of the row that was read, without its events.
func (c *eventColumns) entry() projections.Decoded {
	return projections.Decoded{
		Sequence: c.Sequence.values[0], At: c.At.values[0], Fingerprint: c.Fingerprint.values[0],
	}
}

// event is the event of the row that was read, without what is in the column extra.
func (c *eventColumns) event() events.Event {
	e := events.Event{
		Kind: events.Kind(c.Kind.values[0]),
		App:  c.App.value(0), Group: c.Group.value(0), User: c.User.value(0), Peer: c.Peer.value(0),
		Message: c.Message.value(0), Content: c.Content.value(0),
		Receipt: c.Receipt.values[0], Strict: c.Strict.values[0], Time: c.ClientMS.values[0],
		Imported: c.Imported.values[0],
	}
	if e.Kind == events.MessageSent { // others tell the label of their message
		e.Label = c.Label.value(0)
	}
	return e
}

func (r *archiveReader) row(rows driver.Rows) error {
	if err := rows.Scan(r.targets...); err != nil {
		return err
	}
	r.rows++
	c := &r.columns
	x, index, outcome := c.entry(), c.Index.values[0], c.Outcome.values[0]
	if x.Sequence != r.x.Sequence || x.Sequence == 0 {
		if err := r.flush(); err != nil {
			return err
		}
		if x.Sequence != r.last+1 {
			return fmt.Errorf("%w: entry %d follows entry %d", errArchive, x.Sequence, r.last)
		}
		r.x = x
		copy(r.x.Leaf[:], c.Leaf.value(0))
	}
	switch want := uint32(len(r.events)); {
	case x.At != r.x.At || x.Fingerprint != r.x.Fingerprint:
		return fmt.Errorf("%w: entry %d differs from itself", errArchive, x.Sequence)
	case index != want || r.x.Poison != "" || r.bytes != nil:
		return fmt.Errorf("%w: event %d of entry %d follows event %d", errArchive, index, x.Sequence, int(want)-1)
	case outcome == outcomePoison:
		r.x.Poison = c.Content.value(0)
		return nil
	case outcome == outcomeBytes:
		r.bytes = &bytesExtra{}
		if err := json.Unmarshal([]byte(c.Extra.value(0)), r.bytes); err != nil {
			return fmt.Errorf("%w: entry %d: %w", errArchive, x.Sequence, err)
		}
		return nil
	case outcome == outcomeEmpty:
		return nil
	}
	e := c.event()
	if err := addExtra(&e, c.Extra.value(0)); err != nil {
		return fmt.Errorf("%w: event %d of entry %d: %w", errArchive, index, x.Sequence, err)
	}
	if !e.Kind.Valid() {
		return fmt.Errorf("%w: event %d of entry %d is of unknown kind %d", errArchive, index, x.Sequence, e.Kind)
	}
	r.events = append(r.events, e)
	return nil
}

// addExtra sets what is in the column extra.
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
	e.EventID, e.Silent = x.EventID, x.Silent
	if x.Label != "" {
		e.Label = x.Label
	}
	if x.RulesLevel != 0 {
		e.Kind, e.Revision = events.RulesLevel, x.RulesLevel
	}
	if x.Repartitioned != 0 {
		e.Kind, e.Revision = events.LogRepartitioned, x.Repartitioned
	}
	e.SendReads, e.SendDeliveries, e.Device = x.SendReads, x.SendDeliveries, x.Device
	return nil
}

// flush gives the entry that was read to f.
func (r *archiveReader) flush() error {
	if r.x.Sequence == 0 {
		return nil
	}
	if err := r.fillBatch(); err != nil {
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

// fillBatch fills the batch with the events of the entry.
func (r *archiveReader) fillBatch() error {
	if r.bytes == nil {
		r.batch.SetEvents(r.events)
		return nil
	}
	switch err := events.DecodeEntry(r.bytes.Subject, r.bytes.Data, r.bytes.MsgID, r.partitions, &r.batch); {
	case errors.Is(err, events.ErrVersion):
		return fmt.Errorf("entry %d: %w", r.x.Sequence, err)
	case err != nil:
		r.x.Poison = err.Error()
	}
	return nil
}
