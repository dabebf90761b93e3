package clickhouse

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/ClickHouse/clickhouse-go/v2"
	chcolumn "github.com/ClickHouse/clickhouse-go/v2/lib/column"
)

// Position is the position of an entry in its partition of the log: its sequence and its
// fingerprint. The zero Position is before the first entry.
type Position struct {
	Sequence, Fingerprint uint64
}

// Position returns the position of the last entry of a partition that the table events has; zero if
// it has none.
func (s *Store) Position(ctx context.Context, partition int) (Position, error) {
	return s.outermost(ctx, partition, "DESC")
}

// Archived returns the positions of the first and the last entry of a partition that the table
// events has; zeros if it has none.
func (s *Store) Archived(ctx context.Context, partition int) (first, last Position, err error) {
	if first, err = s.outermost(ctx, partition, "ASC"); err == nil {
		last, err = s.outermost(ctx, partition, "DESC")
	}
	return first, last, err
}

// outermost is the position of the first or the last entry, by the order of the entries. The table
// is sorted by position, so one granule of each part is read.
func (s *Store) outermost(ctx context.Context, partition int, order string) (p Position, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if s.replicated.Load() {
		// What another replica acknowledged may not be here yet.
		if err := s.conn.Exec(ctx, "SYSTEM SYNC REPLICA "+eventsTable.name); err != nil {
			return p, fmt.Errorf("wait for the replica: %w", err)
		}
	}
	row := s.conn.QueryRow(ctx, fmt.Sprintf(
		"SELECT sequence, fingerprint FROM %s WHERE partition = %d ORDER BY partition %s, sequence %[3]s LIMIT 1",
		eventsTable.name, partition, order))
	switch err := row.Scan(&p.Sequence, &p.Fingerprint); {
	case errors.Is(err, sql.ErrNoRows):
		return Position{}, nil
	case err != nil:
		return p, fmt.Errorf("ask for the position: %w", err)
	}
	return p, nil
}

// Insert stores a block in one insert, of which ClickHouse makes one part: all of it is there, or
// nothing. A block that was stored with the same token lately is not stored again, and that is no
// error. An error does not mean that nothing was stored: the answer may have been lost.
func (s *Store) Insert(ctx context.Context, b *Block, token string) error {
	columns, err := b.takeEncoded()
	if err != nil {
		return fmt.Errorf("insert into %s: %w", eventsTable.name, err)
	}
	return s.insert(ctx, eventsTable, columns, clickhouse.Settings{
		"insert_deduplication_token": token, "insert_deduplicate": 1,
		// One insert, one part: what would make more is an error.
		"max_partitions_per_insert_block": 1, "throw_on_max_partitions_per_insert_block": 1,
	})
}

// insertLatest stores rows of a table that keeps the one with the largest version.
func (s *Store) insertLatest(ctx context.Context, t *table, columns []column) error {
	encoded, err := encode(t, columns)
	if err != nil {
		return fmt.Errorf("insert into %s: %w", t.name, err)
	}
	// What was imported may be of any month.
	return s.insert(ctx, t, encoded, clickhouse.Settings{"max_partitions_per_insert_block": 0})
}

func (s *Store) insert(
	ctx context.Context, t *table, columns []chcolumn.Interface, settings clickhouse.Settings,
) error {
	// The server may be set to collect inserts in memory; the answer has to mean that it has them.
	settings["async_insert"] = 0
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(settings),
		clickhouse.WithColumnNamesAndTypes(t.columns))
	batch, err := s.conn.PrepareBatch(ctx, t.insert())
	if err != nil {
		return fmt.Errorf("insert into %s: %w", t.name, err)
	}
	for i, to := range batch.Columns() {
		move(to, columns[i])
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("insert into %s: %w", t.name, err)
	}
	return nil
}

// errValue marks a value that cannot be encoded.
var errValue = errors.New("value")

// refusals are the codes of ClickHouse's exceptions that are about the rows, and so would come
// again with them.
var refusals = []int32{
	6, 25, 26, 27, 38, 41, 72, // cannot parse …
	33, // cannot read all data
	53, 69, 70, 131, 321, 691,
	469, // a constraint of the table
}

// Refused reports whether an insert failed because of its rows, so that it is of no use to repeat
// it.
func Refused(err error) bool {
	if errors.Is(err, errValue) {
		return true
	}
	e, ok := errors.AsType[*clickhouse.Exception](err)
	return ok && slices.Contains(refusals, e.Code)
}
