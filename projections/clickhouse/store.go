package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"
)

// defaultDatabase holds the tables if the DSN names none.
const defaultDatabase = "receiptd"

// ErrVersion is returned for a server that is older than what this package is written for.
var ErrVersion = errors.New("clickhouse: the server is too old")

var oldest = proto.Version{Major: 25, Minor: 8}

// Options of a store.
type Options struct {
	// DSN says where ClickHouse is, as clickhouse-go takes it:
	// clickhouse://user:password@host:9000/database, also with several hosts, or
	// http://host:8123/database.
	DSN string
	// Timeout bounds an insert or a query; 0 = 1 min.
	Timeout time.Duration
}

// Store is the tables of one database. Its methods may be called from many goroutines at a time.
type Store struct {
	options clickhouse.Options
	conn    driver.Conn
	timeout time.Duration
	// replicated tables are on several servers, which may lag behind each other.
	replicated atomic.Bool
	// days says that the totals of days are complete: see UseDays.
	days atomic.Bool
}

func parse(dsn string) (*clickhouse.Options, error) {
	o, err := clickhouse.ParseDSN(dsn)
	if err != nil {
		// The driver's error may quote the password.
		return nil, errors.New("not a DSN like clickhouse://user:password@host:9000/database")
	}
	if u, err := url.Parse(dsn); err != nil || u.Host == "" {
		return nil, errors.New("names no host")
	}
	if o.Auth.Database == "" {
		o.Auth.Database = defaultDatabase
	}
	return o, nil
}

// New returns a store that has not connected yet: see [Store.Ready].
func New(o Options) (*Store, error) {
	options, err := parse(o.DSN)
	if err != nil {
		return nil, fmt.Errorf("clickhouse: %w", err)
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	conn, err := clickhouse.Open(options)
	if err != nil {
		return nil, fmt.Errorf("clickhouse: %w", err)
	}
	return &Store{options: *options, conn: conn, timeout: o.Timeout}, nil
}

// Ready connects, makes the database and the tables that are missing, and brings them up to date.
// It is called before anything else, and again if it fails; [ErrVersion] and [ErrSchema] do not go
// away.
func (s *Store) Ready(ctx context.Context) error {
	if err := makeDatabase(ctx, s.options); err != nil {
		return fmt.Errorf("clickhouse: make the database: %w", err)
	}
	if err := s.open(ctx); err != nil {
		return fmt.Errorf("clickhouse: %w", err)
	}
	return nil
}

func (s *Store) open(ctx context.Context) error {
	if _, err := s.version(); err != nil {
		return err
	}
	if err := s.migrate(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	var engine string
	row := s.conn.QueryRow(ctx, "SELECT engine FROM system.tables WHERE "+hereAnd+"name = "+literal(eventsTable.name))
	if err := row.Scan(&engine); err != nil {
		return fmt.Errorf("look up the table %s: %w", eventsTable.name, err)
	}
	s.replicated.Store(strings.HasPrefix(engine, "Replicated") || strings.HasPrefix(engine, "Shared"))
	return nil
}

// version is the server's; [ErrVersion] if that is too old.
func (s *Store) version() (string, error) {
	v, err := s.conn.ServerVersion()
	if err != nil {
		return "", fmt.Errorf("ask for the version: %w", err)
	}
	if !proto.CheckMinVersion(oldest, v.Version) {
		return "", fmt.Errorf("%w: %s, needs %s", ErrVersion, v.Version, oldest)
	}
	return v.Version.String(), nil
}

// hereAnd begins a condition for rows of the system tables about this database.
const hereAnd = "database = currentDatabase() AND "

// makeDatabase makes the database if it is missing. It needs a connection of its own: one to a
// database that is missing fails.
func makeDatabase(ctx context.Context, o clickhouse.Options) (err error) {
	name := o.Auth.Database
	o.Auth.Database = "default"
	conn, err := clickhouse.Open(&o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if there, err := hasDatabase(ctx, conn, name); err != nil || there {
		return err // a user who may not make databases has been given one
	}
	return conn.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+identifier(name))
}

func hasDatabase(ctx context.Context, conn driver.Conn, name string) (bool, error) {
	var there uint8
	row := conn.QueryRow(ctx, "SELECT count() > 0 FROM system.databases WHERE name = "+literal(name))
	err := row.Scan(&there)
	return there == 1, err
}

// Close ends the connections.
func (s *Store) Close() error { return s.conn.Close() }

// literal is a string as SQL has it.
func literal(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

// literals are strings as SQL has a list of them.
func literals(texts []string) string {
	list := make([]string, len(texts))
	for i, text := range texts {
		list[i] = literal(text)
	}
	return strings.Join(list, ", ")
}

// identifier is a name as SQL has it.
func identifier(name string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(name) + "`"
}

// bounded is a context for one request.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.timeout)
}
