package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

// postgres keeps a row for each receipt and a counter for each message, changed in one transaction.
type postgres struct {
	connections int

	server child.Process
	pool   *pgxpool.Pool
}

const postgresSchema = `
CREATE TABLE messages (id text PRIMARY KEY, author text, conversation text, readers int NOT NULL DEFAULT 0);
CREATE TABLE receipts (message text, kind smallint, reader text, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (message, kind, reader));
`

// Values of the column kind.
const (
	rowRead      = 1
	rowDelivered = 2
)

// A receipt may come before its message, so either of them makes the message's row.
const (
	postgresSent = `INSERT INTO messages (id, author, conversation) VALUES ($1, $2, $3)
ON CONFLICT (id) DO UPDATE SET author = excluded.author, conversation = excluded.conversation`
	postgresReceipt = `WITH new AS (
  INSERT INTO receipts (message, kind, reader) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING message, kind)
INSERT INTO messages (id, readers) SELECT message, 1 FROM new WHERE kind = 1
ON CONFLICT (id) DO UPDATE SET readers = messages.readers + 1`

	postgresSentBatch = `INSERT INTO messages (id, author, conversation) SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
ON CONFLICT (id) DO UPDATE SET author = excluded.author, conversation = excluded.conversation`
	postgresReceiptBatch = `WITH new AS (
  INSERT INTO receipts (message, kind, reader) SELECT * FROM unnest($1::text[], $2::smallint[], $3::text[])
  ON CONFLICT DO NOTHING RETURNING message, kind)
INSERT INTO messages (id, readers) SELECT message, count(*) FROM new WHERE kind = 1 GROUP BY message
ON CONFLICT (id) DO UPDATE SET readers = messages.readers + excluded.readers`

	// The counter is what an application would read; the rows are what it must agree with.
	postgresCounts = `SELECT id, readers, (SELECT count(*) FROM receipts WHERE message = id AND kind = 1)
FROM messages WHERE id = ANY($1)`
	postgresBytes = `SELECT pg_total_relation_size('messages') + pg_total_relation_size('receipts')`
)

// Start creates a database cluster and starts it, as the user postgres if this process is root's.
func (p *postgres) Start(ctx context.Context, dir string, _ *sim.Traffic) error {
	connect, err := startPostgres(ctx, &p.server, dir)
	if err != nil {
		return err
	}
	cfg, err := pgxpool.ParseConfig(connect)
	if err != nil {
		return err
	}
	cfg.MaxConns, cfg.MinConns = int32(p.connections), int32(p.connections)
	if p.pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return err
	}
	if err := p.server.Ready(ctx, p.pool.Ping); err != nil {
		return err
	}
	_, err = p.pool.Exec(ctx, postgresSchema)
	return err
}

// startPostgres starts a server with fresh data and returns how to connect to it.
func startPostgres(ctx context.Context, p *child.Process, dir string) (connect string, err error) {
	const debian, places = "postgresql", "/usr/lib/postgresql/*/bin"
	binary, err := find("postgres", debian, places)
	if err != nil {
		return "", err
	}
	if binary, err = filepath.EvalSymlinks(binary); err != nil { // initdb is beside it
		return "", err
	}
	initdb, err := find("initdb", debian, filepath.Dir(binary))
	if err != nil {
		return "", err
	}
	home := filepath.Join(dir, "postgres")
	if err := os.Mkdir(home, 0o700); err != nil {
		return "", err
	}
	secret, data := password(), filepath.Join(home, "data")
	secretFile := filepath.Join(home, "password")
	// In a directory of its user alone.
	if err := os.WriteFile(secretFile, []byte(secret), 0o644); err != nil {
		return "", err
	}
	user, err := unprivileged(home, "postgres", "nobody")
	if err != nil {
		return "", err
	}
	port, err := freePort()
	if err != nil {
		return "", err
	}
	run := func(name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.SysProcAttr, cmd.Dir = user, home
		return cmd
	}
	if out, err := run(initdb, "-D", data, "-U", "bench", "--pwfile", secretFile, "-A", "scram-sha-256", "-E", "UTF8",
		"--no-locale", "--no-instructions").CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb: %w: %s", err, out)
	}
	// Durability is the default: fsync, full_page_writes and synchronous_commit are on. More
	// memory than the default, and no checkpoint because of a full log.
	server := run(binary, "-D", data, "-p", fmt.Sprint(port), "-h", "127.0.0.1", "-c", "unix_socket_directories=",
		"-c", "shared_buffers=512MB", "-c", "max_wal_size=8GB", "-c", "wal_buffers=64MB", "-c", "jit=off")
	server.Cancel = func() error { return nil } // Stop ends it
	if err := p.Start(server, filepath.Join(dir, "postgres.log")); err != nil {
		return "", err
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword("bench", secret), Host: fmt.Sprintf("127.0.0.1:%d", port), Path: "postgres"}
	return u.String() + "?sslmode=disable", nil
}

// Load stores a single event in a statement of its own, which is a transaction, and several with
// unnest in one transaction.
func (p *postgres) Load(ctx context.Context, evs []events.Event) error {
	if len(evs) > 1 {
		return p.loadBatch(ctx, evs)
	}
	return loadRow(ctx, p.pool, &evs[0])
}

func loadRow(ctx context.Context, pool *pgxpool.Pool, e *events.Event) (err error) {
	switch e.Kind {
	case events.MessageSent:
		_, err = pool.Exec(ctx, postgresSent, e.Message, e.User, conversation(e))
	case events.MessageRead:
		_, err = pool.Exec(ctx, postgresReceipt, e.Message, rowRead, e.User)
	case events.MessageDelivered:
		_, err = pool.Exec(ctx, postgresReceipt, e.Message, rowDelivered, e.User)
	}
	return err
}

// conversation identifies the conversation of an event: its group, or the peer in a single chat.
func conversation(e *events.Event) string {
	if e.Group != "" {
		return e.Group
	}
	return e.Peer
}

func (p *postgres) loadBatch(ctx context.Context, evs []events.Event) error {
	var sent struct{ ids, authors, conversations []string }
	var receipts struct {
		messages, readers []string
		kinds             []int16
	}
	for i := range evs {
		e := &evs[i]
		switch e.Kind {
		case events.MessageSent:
			sent.ids = append(sent.ids, e.Message)
			sent.authors = append(sent.authors, e.User)
			sent.conversations = append(sent.conversations, conversation(e))
		case events.MessageRead, events.MessageDelivered:
			kind := int16(rowRead)
			if e.Kind == events.MessageDelivered {
				kind = rowDelivered
			}
			receipts.messages = append(receipts.messages, e.Message)
			receipts.kinds = append(receipts.kinds, kind)
			receipts.readers = append(receipts.readers, e.User)
		}
	}
	var batch pgx.Batch // one round trip and one transaction
	if len(sent.ids) > 0 {
		batch.Queue(postgresSentBatch, sent.ids, sent.authors, sent.conversations)
	}
	if len(receipts.messages) > 0 {
		batch.Queue(postgresReceiptBatch, receipts.messages, receipts.kinds, receipts.readers)
	}
	return p.pool.SendBatch(ctx, &batch).Close()
}

// Counts reads the counters, and compares each with its rows.
func (p *postgres) Counts(ctx context.Context, _ string, messages []string) (map[string]int, error) {
	rows, err := p.pool.Query(ctx, postgresCounts, messages)
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int, len(messages))
	var id string
	var readers, stored int
	_, err = pgx.ForEachRow(rows, []any{&id, &readers, &stored}, func() error {
		if readers != stored {
			return fmt.Errorf("message %s has a counter of %d and %d rows", id, readers, stored)
		}
		counts[id] = readers
		return nil
	})
	return counts, err
}

// CPU counts the server and its processes for the connections.
func (p *postgres) CPU() (float64, error) { return p.server.CPU() }

// Bytes counts the tables and their indexes. The write-ahead log comes on top, as does what a
// full server keeps of it.
func (p *postgres) Bytes(ctx context.Context) (n float64, err error) {
	err = p.pool.QueryRow(ctx, postgresBytes).Scan(&n)
	return n, err
}

// Stop closes the connections and shuts down.
func (p *postgres) Stop() error {
	if p.pool != nil {
		p.pool.Close()
		p.pool = nil
	}
	// "fast": connections are cut, data is written.
	if err := p.server.Stop(syscall.SIGINT); err != nil {
		return errors.Join(errors.New("postgres"), err)
	}
	return nil
}
