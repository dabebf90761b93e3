package clickhouse

import (
	"fmt"
	"regexp"
	"strings"
)

// What is different in the statements for a cluster.
var (
	tableStatement = regexp.MustCompile(`(?m)^(CREATE TABLE IF NOT EXISTS|CREATE VIEW IF NOT EXISTS|CREATE OR REPLACE VIEW|ALTER TABLE) (\w+)`)
	// What a view is made of; columns are never named so.
	viewSource = regexp.MustCompile(`\b(FROM|JOIN) (events|messages|members)\b`)
	mergeTree  = regexp.MustCompile(`(?m)^ENGINE = (\w*MergeTree)`)
)

// ReplicatedSchema returns the schema for a cluster of ClickHouse servers, made from the same
// migrations: every statement is for all servers, and the tables are replicated. An operator
// applies it; receiptd then finds everything applied.
func ReplicatedSchema(database, cluster string) (string, error) {
	list, err := migrations()
	if err != nil {
		return "", err
	}
	db, on := identifier(database), " ON CLUSTER "+literal(cluster)
	var out strings.Builder
	fmt.Fprintf(&out, "CREATE DATABASE IF NOT EXISTS %s%s;\n\n", db, on)
	statement := func(sql string) {
		fmt.Fprintf(&out, "%s;\n\n", strings.TrimSpace(replicated(sql, db, on)))
	}
	statement(createMigrations)
	for _, m := range list {
		statement(m.SQL)
		statement(strings.Replace(m.record(), "INTO "+migrationsTable, "INTO "+db+"."+migrationsTable, 1))
	}
	return out.String(), nil
}

// replicated is the statement that makes a view, or makes or alters a table, for all servers of a
// cluster.
func replicated(sql, database, onCluster string) string {
	dollars := strings.NewReplacer("$", "$$")
	sql = tableStatement.ReplaceAllString(sql,
		"${1} "+dollars.Replace(database)+".${2}"+dollars.Replace(onCluster))
	sql = viewSource.ReplaceAllString(sql, "${1} "+dollars.Replace(database)+".${2}")
	sql = mergeTree.ReplaceAllString(sql, "ENGINE = Replicated${1}")
	return strings.ReplaceAll(sql, "non_replicated_deduplication_window", "replicated_deduplication_window")
}
