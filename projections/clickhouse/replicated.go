package clickhouse

import (
	"fmt"
	"regexp"
	"strings"
)

// What a table of a cluster has in another form.
var (
	createTable = regexp.MustCompile(`(?m)^CREATE TABLE IF NOT EXISTS (\w+)$`)
	mergeTree   = regexp.MustCompile(`(?m)^ENGINE = (\w*MergeTree)`)
)

// ReplicatedSchema is the schema for a cluster of ClickHouse servers, from the same migrations: every statement on all of them, the
// tables replicated. It is for an operator to apply; receiptd finds everything applied then.
func ReplicatedSchema(database, cluster string) (string, error) {
	list, err := Migrations()
	if err != nil {
		return "", err
	}
	db, on := identifier(database), " ON CLUSTER "+literal(cluster)
	var out strings.Builder
	fmt.Fprintf(&out, "CREATE DATABASE IF NOT EXISTS %s%s;\n\n", db, on)
	statement := func(sql string) {
		sql = createTable.ReplaceAllString(sql, "CREATE TABLE IF NOT EXISTS "+strings.ReplaceAll(db, "$", "$$")+".$1"+strings.ReplaceAll(on, "$", "$$"))
		sql = mergeTree.ReplaceAllString(sql, "ENGINE = Replicated$1")
		sql = strings.ReplaceAll(sql, "non_replicated_deduplication_window", "replicated_deduplication_window")
		fmt.Fprintf(&out, "%s;\n\n", strings.TrimSpace(sql))
	}
	statement(recordTable)
	for _, m := range list {
		statement(m.SQL)
		statement(strings.Replace(m.record(), "INTO migrations", "INTO "+db+".migrations", 1))
	}
	return out.String(), nil
}
