package clickhouse

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"

	"github.com/receiptd/receiptd/projections"
)

// Position is an entry of the log in its partition: its sequence and fingerprint. Zero is before the first.
type Position struct {
	Sequence, Fingerprint uint64
}

// Position returns the last entry of a partition that the table events has; zero if it has none.
func (s *Store) Position(ctx context.Context, partition int) (Position, error) {
	return s.edge(ctx, partition, "DESC")
}

// edge is the first or the last entry. The table is in this order: one granule of each part is read.
func (s *Store) edge(ctx context.Context, partition int, order string) (p Position, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if s.replicated.Load() {
		// What another replica acknowledged may not be here yet.
		if err := s.conn.Exec(ctx, "SYSTEM SYNC REPLICA events"); err != nil {
			return p, fmt.Errorf("wait for the replica: %w", err)
		}
	}
	row := s.conn.QueryRow(ctx, fmt.Sprintf(
		"SELECT sequence, fingerprint FROM events WHERE partition = %d ORDER BY partition %s, sequence %s LIMIT 1",
		partition, order, order))
	switch err := row.Scan(&p.Sequence, &p.Fingerprint); {
	case errors.Is(err, sql.ErrNoRows):
		return Position{}, nil
	case err != nil:
		return p, fmt.Errorf("ask for the position: %w", err)
	}
	return p, nil
}

// Insert stores a block, in one insert that ClickHouse makes one part of: all of it is there, or nothing. A block that
// was stored with the same token lately is not stored again, and that is no error. An error does not say that
// nothing was stored: the answer may have been lost.
func (s *Store) Insert(ctx context.Context, b *Block, token string) error {
	columns, err := b.take()
	if err != nil {
		return fmt.Errorf("insert into %s: %w", eventsTable.name, err)
	}
	return s.send(ctx, &eventsTable, columns, clickhouse.Settings{
		"insert_deduplication_token": token, "insert_deduplicate": 1,
		// One insert, one part: what would make more is an error.
		"max_partitions_per_insert_block": 1, "throw_on_max_partitions_per_insert_block": 1,
	})
}

// InsertMessages stores the latest state of messages. To store it again does no harm.
func (s *Store) InsertMessages(ctx context.Context, rows []MessageRow) error {
	return s.sendLatest(ctx, &messagesTable, messageValues(rows))
}

// InsertCells stores the latest state of cells of one partition's rollup, in an insert for each kind among them. To store it
// again does no harm.
func (s *Store) InsertCells(ctx context.Context, partition int, rows []CellRow) error {
	var kinds [len(cellTables)][]*CellRow
	for i := range rows {
		kind := rows[i].Kind
		kinds[kind] = append(kinds[kind], &rows[i])
	}
	for kind, rows := range kinds {
		if len(rows) == 0 {
			continue
		}
		values := cellValues(projections.CohortKind(kind), partition, rows)
		if err := s.sendLatest(ctx, cellTables[kind], values); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) sendLatest(ctx context.Context, t *table, values []any) error {
	columns, err := t.columnsOf(values)
	if err != nil {
		return fmt.Errorf("insert into %s: %w", t.name, err)
	}
	return s.send(ctx, t, columns, clickhouse.Settings{})
}

func (s *Store) send(ctx context.Context, t *table, columns []column.Interface, settings clickhouse.Settings) error {
	// The server may be set to collect inserts in memory; the answer has to mean that it has them.
	settings["async_insert"] = 0
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(settings), clickhouse.WithColumnNamesAndTypes(t.columns))
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

// Token names a block for deduplication. attempt is 0 but after inserts that ClickHouse remembered and did not keep.
func (b *Block) Token(attempt int) string {
	token := fmt.Sprintf("RECEIPTS_%d:%d-%d", b.Partition, b.First, b.Last)
	if attempt > 0 {
		token += fmt.Sprintf("/%d", attempt)
	}
	return token
}

// Position is the last entry of the block.
func (b *Block) Position() Position { return Position{Sequence: b.Last, Fingerprint: b.lastHash} }

// errValue marks a value that cannot be encoded.
var errValue = errors.New("value")

// refusals are the exceptions of ClickHouse that are about the rows, so that they come again with them.
var refusals = []int32{
	6, 25, 26, 27, 38, 41, 72, // cannot parse …
	33, // cannot read all data
	53, 69, 70, 131, 321, 691,
	469, // a constraint of the table
}

// Refused reports whether an insert failed because of its rows: to repeat it would be of no use.
func Refused(err error) bool {
	if errors.Is(err, errValue) {
		return true
	}
	e, ok := errors.AsType[*clickhouse.Exception](err)
	return ok && slices.Contains(refusals, e.Code)
}
