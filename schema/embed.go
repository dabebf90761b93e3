// Package schema has the interfaces of receiptd to the outside in formats that machines read.
package schema

import "embed"

// OpenAPI is the description of the HTTP API, in YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte

// ClickHouse has the migrations of the analytics tables, clickhouse/NNNN_name.sql: one statement in
// each file, applied in the order of their numbers. A file that was released never changes.
//
//go:embed clickhouse/*.sql
var ClickHouse embed.FS
