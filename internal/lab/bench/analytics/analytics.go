// Package analytics measures receiptd's path into ClickHouse, and its queries there, against the
// engine of package chserver: how fast the sink is compared with inserting the same blocks and
// nothing else, how much space a row takes on disk, how long read-rate queries take with many rows,
// and how many rows they read.
package analytics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/lab/chserver"
	receiptd "github.com/receiptd/receiptd/internal/runtime"
)

// Options of a run.
type Options struct {
	// Events is how many go from a log through the sink in each of Rounds, and are then
	// inserted directly. 0 leaves the sink out.
	Events, Rounds int
	// Rows is how many the queries are run against. They are made without a log and spread over
	// Days. 0 leaves the queries out.
	Rows, Days int
	// Queries is how many of each kind are run. 0 leaves the kinds out.
	Queries int
	// Cookbook is the path of docs/analytics.md, whose questions are asked, too; empty leaves them
	// out.
	Cookbook string
	// Logger receives warnings and errors.
	Logger *slog.Logger
}

// Result is what receiptctl bench clickhouse prints.
type Result struct {
	Sink    *SinkResult  `json:"sink,omitempty"`
	Queries *QueryResult `json:"queries,omitempty"`
}

// Run measures. It stores its data in the directory for temporary files and removes it at the end.
// It changes this process's memory limit.
func Run(ctx context.Context, o Options) (r Result, err error) {
	dir, err := os.MkdirTemp("", "receiptd-analytics-")
	if err != nil {
		return r, fmt.Errorf("bench clickhouse: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	server := chserver.NewProcess(filepath.Join(dir, "clickhouse"), "127.0.0.1:0")
	if err := server.Start(); err != nil {
		return r, fmt.Errorf("bench clickhouse: %w", err)
	}
	defer server.Kill()
	if o.Events > 0 {
		// As receiptd does, with room for the blocks that are inserted directly.
		receiptd.TuneMemory(config.State{CacheSize: 256 << 20}, 128*int64(o.Events))
		if r.Sink, err = measureSink(ctx, server, filepath.Join(dir, "sink"), &o); err != nil {
			return r, fmt.Errorf("bench clickhouse: sink: %w", err)
		}
	}
	if o.Rows > 0 {
		debug.SetMemoryLimit(math.MaxInt64) // the state of so many rows is all in memory
		if r.Queries, err = measureQueries(ctx, server, &o); err != nil {
			return r, fmt.Errorf("bench clickhouse: queries: %w", err)
		}
	}
	return r, nil
}
