// Package analytics measures receiptd's part of the way into ClickHouse, and its questions, against
// the engine of package chserver: how fast the sink is beside inserting the same blocks and nothing
// else, what a row takes on the disk, and how long read rates take with many rows, and how many of
// them they look at.
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
	// Events go through the sink from a log, 0 for none, in each of Rounds, and are inserted
	// directly.
	Events, Rounds int
	// Rows for the questions, 0 for none. They are made without a log, spread over so many
	// Days.
	Rows, Days int
	// Queries of each kind are asked.
	Queries int
	// Logger for what goes wrong.
	Logger *slog.Logger
}

// Result is what receiptctl bench clickhouse prints.
type Result struct {
	Sink    *SinkResult  `json:"sink,omitempty"`
	Queries *QueryResult `json:"queries,omitempty"`
}

// Run measures. What it stores lies in the directory for temporary files, and is removed. The limit
// of this process's memory is changed.
func Run(ctx context.Context, o Options) (r Result, err error) {
	dir, err := os.MkdirTemp("", "receiptd-analytics-")
	if err != nil {
		return r, fmt.Errorf("bench clickhouse: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	server := chserver.NewProcess(filepath.Join(dir, "clickhouse"))
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
