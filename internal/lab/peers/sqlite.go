package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	_ "github.com/mattn/go-sqlite3" // the driver "sqlite3"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/bench/measure"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

// sqlite keeps receipts in SQLite, in this process, as a Go program would that wants no server: a
// row for each receipt and a counter for each message, changed in one transaction. Its processor
// time is that of the whole process, including the load generator.
type sqlite struct {
	mu   sync.Mutex // of the one that writes: SQLite lets in no other
	db   *sql.DB
	data string

	sent, receipt, count *sql.Stmt
}

const (
	sqliteSchema = `
CREATE TABLE messages (id TEXT PRIMARY KEY, author TEXT, conversation TEXT, readers INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE receipts (message TEXT, kind INTEGER, reader TEXT, at INTEGER NOT NULL DEFAULT (unixepoch()), PRIMARY KEY (message, kind, reader)) WITHOUT ROWID;
`
	// A receipt may come before its message, so either of them makes the message's row.
	sqliteSent = `INSERT INTO messages (id, author, conversation) VALUES (?, ?, ?)
ON CONFLICT (id) DO UPDATE SET author = excluded.author, conversation = excluded.conversation`
	sqliteReceipt = `INSERT INTO receipts (message, kind, reader) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`
	sqliteCount   = `INSERT INTO messages (id, readers) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET readers = readers + excluded.readers`
)

// Start makes a database that syncs its log before a transaction ends.
func (s *sqlite) Start(ctx context.Context, dir string, _ *sim.Traffic) (err error) {
	s.data = filepath.Join(dir, "sqlite")
	if err := os.Mkdir(s.data, 0o700); err != nil {
		return err
	}
	// A cache of 256 MiB; the default is 2.
	s.db, err = sql.Open("sqlite3", "file:"+filepath.Join(s.data, "receipts.db")+"?_journal_mode=WAL&_synchronous=FULL&_txlock=immediate&_cache_size=-262144")
	if err != nil {
		return err
	}
	s.db.SetMaxOpenConns(1)
	if _, err := s.db.ExecContext(ctx, sqliteSchema); err != nil {
		return err
	}
	for statement, text := range map[**sql.Stmt]string{&s.sent: sqliteSent, &s.receipt: sqliteReceipt, &s.count: sqliteCount} {
		if *statement, err = s.db.PrepareContext(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

// Load stores the events in one transaction.
func (s *sqlite) Load(ctx context.Context, evs []events.Event) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	sent, receipt, count := tx.StmtContext(ctx, s.sent), tx.StmtContext(ctx, s.receipt), tx.StmtContext(ctx, s.count)
	readers := map[string]int{}
	for i := range evs {
		switch e := &evs[i]; e.Kind {
		case events.MessageSent:
			_, err = sent.ExecContext(ctx, e.Message, e.User, conversation(e))
		case events.MessageDelivered:
			_, err = receipt.ExecContext(ctx, e.Message, rowDelivered, e.User)
		case events.MessageRead:
			var done sql.Result
			if done, err = receipt.ExecContext(ctx, e.Message, rowRead, e.User); err != nil {
				return err
			}
			var rows int64
			if rows, err = done.RowsAffected(); rows > 0 {
				readers[e.Message]++
			}
		}
		if err != nil {
			return err
		}
	}
	for message, n := range readers {
		if _, err = count.ExecContext(ctx, message, n); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// Counts reads the counters, and compares each with its rows.
func (s *sqlite) Counts(ctx context.Context, _ string, messages []string) (map[string]int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	args := make([]any, len(messages))
	for i, id := range messages {
		args[i] = id
	}
	rows, err := s.db.QueryContext(ctx, `SELECT id, readers, (SELECT count(*) FROM receipts WHERE message = id AND kind = 1)
FROM messages WHERE id IN (?`+strings.Repeat(",?", len(messages)-1)+`)`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	counts := make(map[string]int, len(messages))
	for rows.Next() {
		var id string
		var readers, stored int
		if err := rows.Scan(&id, &readers, &stored); err != nil {
			return nil, err
		}
		if readers != stored {
			return nil, fmt.Errorf("message %s has a counter of %d and %d rows", id, readers, stored)
		}
		counts[id] = readers
	}
	return counts, rows.Err()
}

// CPU counts this process.
func (s *sqlite) CPU() (float64, error) { return measure.CPUSeconds(), nil }

// Bytes counts the database, once its log is in it.
func (s *sqlite) Bytes(context.Context) (float64, error) {
	if err := s.Stop(); err != nil {
		return 0, err
	}
	return measure.DiskBytes(s.data)
}

// Stop closes the database, which puts its log into it.
func (s *sqlite) Stop() error {
	if s.db == nil {
		return nil
	}
	err := s.db.Close()
	s.db = nil
	return err
}
