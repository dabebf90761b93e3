package clickhouse

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/receiptd/receiptd/schema"
)

// ErrSchema is returned for a database whose tables this version does not know: a newer receiptd
// made them, or a migration that was applied to them reads differently now.
var ErrSchema = errors.New("clickhouse: the tables are those of another version")

// Migration is one step of the schema. There is no way back.
type Migration struct {
	Version uint32
	Name    string
	SQL     string
}

// Checksum identifies the text of a migration.
func (m *Migration) Checksum() string {
	sum := sha256.Sum256([]byte(m.SQL))
	return hex.EncodeToString(sum[:8])
}

// Migrations returns all migrations, in the order of their versions: 1, 2, 3 …
func Migrations() ([]Migration, error) {
	names, err := fs.Glob(schema.ClickHouse, "clickhouse/*.sql")
	if err != nil {
		return nil, err
	}
	var list []Migration
	for i, path := range names { // sorted
		text, err := schema.ClickHouse.ReadFile(path)
		if err != nil {
			return nil, err
		}
		number, name, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(path, "clickhouse/"), ".sql"), "_")
		if version, err := strconv.Atoi(number); err != nil || version != i+1 {
			return nil, fmt.Errorf("migration %s does not have number %d", path, i+1)
		}
		list = append(list, Migration{Version: uint32(i + 1), Name: name, SQL: string(text)})
	}
	return list, nil
}

// migrationsTable is the table of the migrations that were applied.
const migrationsTable = "migrations"

// createMigrations makes that table. It is how migrations work, so it is not one of them.
const createMigrations = `CREATE TABLE IF NOT EXISTS ` + migrationsTable + `
(
    version    UInt32,
    name       String,
    checksum   String,
    applied_at DateTime DEFAULT now()
)
ENGINE = MergeTree
ORDER BY version
COMMENT 'receiptd: the migrations that were applied'`

// migrate applies the migrations that were not applied yet. One receiptd does so at a time.
func (s *Store) migrate(ctx context.Context) error {
	list, err := Migrations()
	if err != nil {
		return err
	}
	if err := s.conn.Exec(ctx, createMigrations); err != nil {
		return fmt.Errorf("make the table of migrations: %w", err)
	}
	if todo, err := s.unapplied(ctx, list); err != nil || len(todo) == 0 {
		return err
	}
	release, err := s.lock(ctx, lockStale)
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	return errors.Join(s.apply(ctx, list), release())
}

func (s *Store) apply(ctx context.Context, list []Migration) error {
	todo, err := s.unapplied(ctx, list) // another receiptd may have been faster
	if err != nil {
		return err
	}
	for _, m := range todo {
		// A crash after this leaves a statement that is applied and not recorded. To apply it again
		// changes nothing.
		if err := s.conn.Exec(ctx, m.SQL); err != nil {
			return fmt.Errorf("apply %04d_%s: %w", m.Version, m.Name, err)
		}
		if err := s.conn.Exec(ctx, m.record()); err != nil {
			return fmt.Errorf("record %04d_%s: %w", m.Version, m.Name, err)
		}
	}
	return nil
}

// record is the statement that remembers a migration.
func (m *Migration) record() string {
	return fmt.Sprintf("INSERT INTO %s (version, name, checksum) SELECT %d, %s, %s",
		migrationsTable, m.Version, literal(m.Name), literal(m.Checksum()))
}

// unapplied are the migrations that were not applied yet. The error is [ErrSchema] if others were.
func (s *Store) unapplied(ctx context.Context, list []Migration) ([]Migration, error) {
	rows, err := s.conn.Query(ctx, "SELECT DISTINCT version, checksum FROM "+migrationsTable+" ORDER BY version")
	if err != nil {
		return nil, fmt.Errorf("read the applied migrations: %w", err)
	}
	defer rows.Close()
	applied := map[uint32]bool{}
	for rows.Next() {
		var version uint32
		var checksum string
		if err := rows.Scan(&version, &checksum); err != nil {
			return nil, fmt.Errorf("read the applied migrations: %w", err)
		}
		if version == 0 || int(version) > len(list) {
			return nil, fmt.Errorf("%w: migration %d was applied, this receiptd knows %d", ErrSchema, version, len(list))
		}
		if m := list[version-1]; m.Checksum() != checksum {
			return nil, fmt.Errorf("%w: migration %04d_%s was another one when it was applied", ErrSchema, m.Version, m.Name)
		}
		applied[version] = true
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the applied migrations: %w", err)
	}
	var todo []Migration
	for _, m := range list {
		if !applied[m.Version] {
			todo = append(todo, m)
		}
	}
	return todo, nil
}
