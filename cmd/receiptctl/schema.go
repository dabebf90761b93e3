package main

import (
	"io"

	"github.com/receiptd/receiptd/projections/clickhouse"
)

// schemaCommand prints the tables for a cluster of ClickHouse servers.
type schemaCommand struct {
	Cluster  string `required:"" placeholder:"NAME" help:"Name of the cluster, as in the servers' remote_servers."`
	Database string `default:"receiptd" placeholder:"NAME" help:"Database of the tables."`
}

// Help is the long description of the command.
func (schemaCommand) Help() string {
	return `Writes the migrations of this receiptd as SQL for a cluster: every statement runs on
all servers, the tables are replicated. Apply it with clickhouse-client --multiquery before receiptd
is started with --clickhouse, which then finds everything applied. On a single server there is
nothing to do: receiptd applies its migrations itself.`
}

// Run prints.
func (s schemaCommand) Run(std streams) error {
	text, err := clickhouse.ReplicatedSchema(s.Database, s.Cluster)
	if err == nil {
		_, err = io.WriteString(std.out, text)
	}
	return err
}
