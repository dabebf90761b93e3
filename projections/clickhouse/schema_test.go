package clickhouse

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/receiptd/receiptd/internal/lab/chtest"
)

var update = flag.Bool("update", false, "write the golden files")

const goldenSchema = "testdata/schema.golden.sql"

// TestSchemaIsGolden shows reviewers what the migrations come to.
func TestSchemaIsGolden(t *testing.T) {
	s := openStore(t)
	var got strings.Builder
	for _, name := range []string{"events", "messages", "cohorts", "hours", "group_days", "sender_days", "migrations", "time_bins", "reads", "members", "recipients", "readers"} {
		var ddl string
		must(t, s.conn.QueryRow(context.Background(), "SHOW CREATE TABLE "+name).Scan(&ddl))
		fmt.Fprintf(&got, "%s;\n\n", ddl)
	}
	if *update {
		must(t, os.WriteFile(goldenSchema, []byte(got.String()), 0o644))
	}
	want, err := os.ReadFile(goldenSchema)
	must(t, err)
	if got.String() != string(want) {
		t.Errorf("the schema is not the golden one; -update writes it. It is\n%s", got.String())
	}
}

// TestColumnsAreThoseOfTheTables compares the columns declared in Go with what the migrations make.
func TestColumnsAreThoseOfTheTables(t *testing.T) {
	s := openStore(t)
	for _, table := range []*table{eventsTable, messagesTable, cohortsTable, hoursTable, groupDaysTable, senderDaysTable} {
		rows, err := s.conn.Query(context.Background(), "SELECT name, type FROM system.columns "+
			"WHERE database = currentDatabase() AND default_kind != 'ALIAS' AND table = "+literal(table.name)+" ORDER BY position")
		must(t, err)
		var got []string
		for rows.Next() {
			var name, typ string
			must(t, rows.Scan(&name, &typ))
			got = append(got, name+" "+typ)
		}
		must(t, rows.Err())
		var want []string
		for _, c := range table.columns {
			want = append(want, c.Name+" "+c.Type)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s has\n%s\ninserts name\n%s", table.name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// TestMigrationsAreAppliedOnce opens a database from several sides at once, and after a crash in
// the middle.
func TestMigrationsAreAppliedOnce(t *testing.T) {
	ctx := context.Background()
	dsn := chtest.Start(t).DSN("receiptd")
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			s, err := New(Options{DSN: dsn})
			if err != nil {
				t.Error(err)
				return
			}
			if err := errors.Join(s.Ready(ctx), s.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	s := openAt(t, dsn)
	list, err := migrations()
	must(t, err)
	applied := func() (n uint64) {
		must(t, s.conn.QueryRow(ctx, "SELECT count() FROM migrations").Scan(&n))
		return n
	}
	if n := applied(); n != uint64(len(list)) {
		t.Errorf("%d migrations were recorded, there are %d", n, len(list))
	}
	// A crash between applying and recording.
	must(t, s.conn.Exec(ctx, "ALTER TABLE migrations DELETE WHERE version = 2 SETTINGS mutations_sync = 1"))
	must(t, s.migrate(ctx))
	if n := applied(); n != uint64(len(list)) {
		t.Errorf("%d migrations were recorded, there are %d", n, len(list))
	}
	var locks uint64
	must(t, s.conn.QueryRow(ctx, "SELECT count() FROM system.tables WHERE startsWith(name, '"+lockPrefix+"')").Scan(&locks))
	if locks != 0 {
		t.Errorf("%d locks stay", locks)
	}
}

// TestForeignMigrationsAreRefused: those of a newer receiptd, and a file that changed after it was
// applied.
func TestForeignMigrationsAreRefused(t *testing.T) {
	ctx := context.Background()
	s := openStore(t)
	must(t, s.conn.Exec(ctx, "INSERT INTO migrations (version, name, checksum) SELECT 1, 'events', 'another'"))
	if err := s.migrate(ctx); !errors.Is(err, ErrSchema) {
		t.Errorf("changed migration: %v", err)
	}
	must(t, s.conn.Exec(ctx, "TRUNCATE TABLE migrations"))
	must(t, s.conn.Exec(ctx, "INSERT INTO migrations (version, name, checksum) SELECT 1000, 'later', ''"))
	if err := s.migrate(ctx); !errors.Is(err, ErrSchema) {
		t.Errorf("newer migration: %v", err)
	}
}

// TestLockOfTheDeadIsPassedOver: a lock holds until it is too old.
func TestLockOfTheDeadIsPassedOver(t *testing.T) {
	ctx := context.Background()
	s := openStore(t)
	lost, err := s.lock(ctx, lockStale)
	must(t, err)
	waiting, cancel := context.WithTimeout(ctx, 3*lockRetry)
	defer cancel()
	if _, err := s.lock(waiting, lockStale); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second lock: %v", err)
	}
	must(t, s.unlockIfMine(ctx, 0, "somebody else"))
	release, err := s.lock(ctx, 0) // the first one is too old for that
	must(t, err)
	waiting, cancel = context.WithTimeout(ctx, 3*lockRetry)
	defer cancel()
	if _, err := s.lock(waiting, lockStale); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a third lock: %v", err)
	}
	must(t, release())
	if last, _, err := s.locks(ctx, lockStale); err != nil || last != -1 {
		t.Errorf("lock %d stays, %v", last, err)
	}
	must(t, lost())
}

// TestLockOfALivingHolderHolds: however long it takes. One that has died is passed over in seconds.
func TestLockOfALivingHolderHolds(t *testing.T) {
	ctx := context.Background()
	s := openStore(t)
	const soon = 4 * lockBeat // for a busy machine
	holding, die := context.WithCancel(ctx)
	release, err := s.lock(holding, soon)
	must(t, err)
	waiting, cancel := context.WithTimeout(ctx, soon+2*lockBeat)
	defer cancel()
	if _, err := s.lock(waiting, soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second lock, while the first holder works: %v", err)
	}
	die()
	next, err := s.lock(ctx, soon)
	must(t, err)
	must(t, next())
	must(t, release())
}

// TestReplicatedSchema checks that the variant for a cluster is complete.
func TestReplicatedSchema(t *testing.T) {
	text, err := ReplicatedSchema("receipts", "main")
	must(t, err)
	for _, want := range []string{
		"CREATE DATABASE IF NOT EXISTS `receipts` ON CLUSTER 'main'",
		"CREATE TABLE IF NOT EXISTS `receipts`.events ON CLUSTER 'main'",
		"CREATE TABLE IF NOT EXISTS `receipts`.messages ON CLUSTER 'main'",
		"CREATE TABLE IF NOT EXISTS `receipts`.cohorts ON CLUSTER 'main'",
		"CREATE TABLE IF NOT EXISTS `receipts`.group_days ON CLUSTER 'main'",
		"CREATE TABLE IF NOT EXISTS `receipts`.sender_days ON CLUSTER 'main'",
		"CREATE VIEW IF NOT EXISTS `receipts`.recipients ON CLUSTER 'main'", "INNER JOIN `receipts`.members AS m", "FROM `receipts`.events",
		"CREATE TABLE IF NOT EXISTS `receipts`.migrations ON CLUSTER 'main'",
		"ENGINE = ReplicatedReplacingMergeTree(version)", "ENGINE = ReplicatedMergeTree\n",
		"\nSETTINGS replicated_deduplication_window = 10000",
		"INSERT INTO `receipts`.migrations",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	for _, gone := range []string{"= MergeTree", "= ReplacingMergeTree", "non_replicated"} {
		if strings.Contains(text, gone) {
			t.Errorf("%q stays in\n%s", gone, text)
		}
	}
}

// TestColumnsAreAddedOnAllServers: a migration that alters a table is for all servers of a cluster.
func TestColumnsAreAddedOnAllServers(t *testing.T) {
	got := replicated("-- Why.\nALTER TABLE events ADD COLUMN IF NOT EXISTS n UInt8\n", "`d$1`", " ON CLUSTER 'main'")
	const want = "-- Why.\nALTER TABLE `d$1`.events ON CLUSTER 'main' ADD COLUMN IF NOT EXISTS n UInt8\n"
	if got != want {
		t.Errorf("got %q", got)
	}
}

// TestColumnsAreExplained: whoever describes a table reads what each of its columns is.
func TestColumnsAreExplained(t *testing.T) {
	s := openStore(t)
	rows, err := s.conn.Query(context.Background(), "SELECT table, name FROM system.columns WHERE database = currentDatabase() AND comment = '' ORDER BY table, position")
	must(t, err)
	for rows.Next() {
		var table, column string
		must(t, rows.Scan(&table, &column))
		t.Errorf("%s.%s has no comment", table, column)
	}
	must(t, rows.Err())
	rows, err = s.conn.Query(context.Background(), "SELECT name FROM system.tables WHERE database = currentDatabase() AND comment = ''")
	must(t, err)
	for rows.Next() {
		var table string
		must(t, rows.Scan(&table))
		t.Errorf("%s has no comment", table)
	}
	must(t, rows.Err())
}
