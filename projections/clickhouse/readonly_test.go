package clickhouse

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/internal/lab/cookbook"
)

// TestWhoOnlyReads asks what the document lets a user do who only reads. The engine of the tests
// keeps no users, so what is checked is that it understands the statements that make one, and what
// their settings allow: every example that only asks, and nothing else.
func TestWhoOnlyReads(t *testing.T) {
	const document = "../../docs/analytics.md"
	text, err := os.ReadFile(document)
	must(t, err)
	_, recipes, err := cookbook.Read(document)
	must(t, err)
	f := newFortnight(t)
	do := func(sql string) error { return f.store.conn.Exec(context.Background(), sql) }
	_, section, _ := strings.Cut(string(text), "\n## A user who only reads\n")
	section, _, _ = strings.Cut(section, "\n## ")
	made := 0
	for line := range strings.Lines(section) {
		if sql, is := strings.CutPrefix(line, "    "); is {
			made++
			if err := do("EXPLAIN AST " + strings.TrimSuffix(strings.TrimSpace(sql), ";")); err != nil {
				t.Errorf("%s: %v", sql, err)
			}
		}
	}
	if made != 3 || !strings.Contains(section, "CREATE ROLE receipts_reader SETTINGS readonly = 2;") {
		t.Errorf("%d statements make a user who only reads:\n%s", made, section)
	}
	must(t, do("SET readonly = 2"))
	asked := 0
	for _, r := range recipes {
		if len(r.Statements) > 0 {
			continue // these write; a file on the server is what the missing grant refuses
		}
		asked++
		if len(f.rows(r.Query)) == 0 {
			t.Errorf("%s: no answer", r.Title)
		}
	}
	if asked < 12 {
		t.Errorf("%d examples were asked", asked)
	}
	for _, sql := range []string{
		"CREATE TABLE customers (user String) ENGINE = MergeTree ORDER BY user", "INSERT INTO events (app) SELECT 'acme#chat'", "TRUNCATE TABLE events", "DROP VIEW reads", "ALTER TABLE messages DELETE WHERE 1", "SET readonly = 0",
	} {
		if err := do(sql); err == nil || !strings.Contains(err.Error(), "readonly") {
			t.Errorf("%s: %v", sql, err)
		}
	}
}
