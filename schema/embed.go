// Package schema holds what receiptd promises to the outside in forms that machines read.
package schema

import "embed"

// OpenAPI is the description of the HTTP API, as YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte

// ClickHouse are the migrations of the analytics tables, clickhouse/NNNN_name.sql: one statement each, in the order of
// their numbers. A file that was released never changes.
//
//go:embed clickhouse/*.sql
var ClickHouse embed.FS
