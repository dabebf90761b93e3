package clickhouse

import (
	"context"
	"errors"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Outline says what there is of the database, without its rows: see [Store.Inspect].
type Outline struct {
	Version string `json:"version"`
	// Filled is false where the database or the table events is missing: nothing was stored yet.
	Filled bool `json:"filled"`
	// Pending is how many migrations [Store.Ready] would apply.
	Pending int `json:"pending_migrations"`
}

// Inspect connects and says what is there, as far as [Store.Ready] would go by it, and changes
// nothing. The error wraps [ErrVersion] or [ErrSchema] for a ClickHouse that Ready refuses; after
// any other one it may answer later. It takes the place of Ready for [Store.Archived], whose answer
// may then lag behind other replicas.
func (s *Store) Inspect(ctx context.Context) (o Outline, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	there, err := s.hasDatabase(ctx)
	if err != nil {
		return o, fmt.Errorf("clickhouse: look for the database: %w", err)
	}
	list, err := migrations()
	if err != nil {
		return o, err
	}
	o.Pending = len(list)
	if !there {
		return o, nil
	}
	v, err := s.version()
	if err != nil {
		return o, fmt.Errorf("clickhouse: %w", err)
	}
	o.Version = v
	migrated, err := s.exists(ctx, "system.tables WHERE "+hereAnd+"name = "+literal(migrationsTable))
	if err == nil && migrated {
		var todo []migration
		todo, err = s.unapplied(ctx, list)
		o.Pending = len(todo)
	}
	if err == nil {
		o.Filled, err = s.exists(ctx, "system.tables WHERE "+hereAnd+"name = "+literal(eventsTable.name))
	}
	if err != nil {
		return o, fmt.Errorf("clickhouse: look at the tables: %w", err)
	}
	return o, nil
}

// hasDatabase reports whether there is the database. It asks by a connection of its own: one to a
// database that is missing fails.
func (s *Store) hasDatabase(ctx context.Context) (there bool, err error) {
	o := s.options
	o.Auth.Database = "default"
	conn, err := clickhouse.Open(&o)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	return hasDatabase(ctx, conn, s.options.Auth.Database)
}
