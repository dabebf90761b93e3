package chtest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/receiptd/receiptd/internal/lab/chtest"
)

func connect(t *testing.T, s *chtest.Server, database string) driver.Conn {
	t.Helper()
	o, err := clickhouse.ParseDSN(s.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := clickhouse.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestServerIsClickHouse goes through what receiptd needs of a ClickHouse: tables of a database,
// blocks, settings, parameters, errors with their codes, and rows that survive kill -9.
func TestServerIsClickHouse(t *testing.T) {
	ctx := context.Background()
	s := chtest.Start(t)
	must(t, connect(t, s, "default").Exec(ctx, "CREATE DATABASE d"))
	conn := connect(t, s, "d")
	must(t, conn.Ping(ctx))
	must(t, conn.Exec(ctx, `CREATE TABLE t (n UInt64, at DateTime64(3, 'UTC'), s LowCardinality(String), list Array(String))
		ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100`))
	insert := func(token string, rows int) {
		t.Helper()
		ctx := clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"insert_deduplication_token": token}))
		b, err := conn.PrepareBatch(ctx, "INSERT INTO t (n, at, s, list)")
		must(t, err)
		for n := range rows {
			must(t, b.Append(uint64(n), time.UnixMilli(int64(n)).UTC(), "it's \\ \n", []string{"a", ""}))
		}
		must(t, b.Send())
	}
	insert("a", 100_000)
	insert("a", 100_000) // is not stored again
	s.Kill()
	s.Restart()
	var count, parts uint64
	var latest time.Time
	must(t, conn.QueryRow(ctx, "SELECT count(), max(at), countIf(s = {s:String} AND list[1] = 'a') FROM t",
		clickhouse.Named("s", "it's \\ \n")).Scan(&count, &latest, &parts))
	if count != 100_000 || parts != count || latest.UnixMilli() != 99_999 {
		t.Errorf("%d rows, %d of them equal, latest %v", count, parts, latest)
	}
	err := conn.Exec(ctx, "SELECT nothing")
	exception, ok := errors.AsType[*clickhouse.Exception](err)
	if !ok || exception.Code != 47 {
		t.Errorf("unknown column: %v", err)
	}
	before := s.RowsRead()
	must(t, conn.QueryRow(ctx, "SELECT count() FROM t WHERE n < 10 AND s != ''").Scan(&count))
	if read := s.RowsRead() - before; count != 10 || read < 10 || read > 10_000 {
		t.Errorf("%d rows were found in %d", count, read)
	}
}

// TestServerPauses stops the process while a query is under way.
func TestServerPauses(t *testing.T) {
	s := chtest.Start(t)
	conn := connect(t, s, "default")
	must(t, conn.Ping(context.Background()))
	s.Pause()
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := conn.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("paused: %v", err)
	}
	s.Resume()
	must(t, conn.Ping(context.Background()))
}
