// Command chbench measures receiptd's part of the way into ClickHouse, and its questions, against the engine of the tests: how fast
// the sink is beside inserting the same blocks and nothing else, what a row takes on the disk, and how long read rates
// take with many rows, and how many of them they look at.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/lab/chtest"
	receiptd "github.com/receiptd/receiptd/internal/runtime"
)

type cli struct {
	Events  int `default:"2000000" help:"Events that go through the sink from a log."`
	Rounds  int `default:"5" help:"How often they do, and are inserted directly."`
	Rows    int `default:"5000000" help:"Rows for the questions; they are made without a log, over so many days."`
	Days    int `default:"30" help:"Days over which they are spread."`
	Queries int `default:"200" help:"Questions of each kind."`
}

// result is what is printed, as one JSON object.
type result struct {
	Sink    *sinkResult  `json:"sink,omitempty"`
	Queries *queryResult `json:"queries,omitempty"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	var c cli
	k := kong.Parse(&c)
	k.FatalIfErrorf(c.run(ctx))
}

func (c *cli) run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "chbench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	server := chtest.NewProcess(filepath.Join(dir, "clickhouse"))
	if err := server.Start(); err != nil {
		return err
	}
	defer server.Kill()
	var r result
	if c.Events > 0 {
		// As receiptd does, with room for the blocks that are inserted directly.
		receiptd.TuneMemory(config.State{CacheSize: 256 << 20}, 128*int64(c.Events))
		if r.Sink, err = measureSink(ctx, server, filepath.Join(dir, "sink"), c.Events, max(c.Rounds, 1)); err != nil {
			return fmt.Errorf("sink: %w", err)
		}
	}
	if c.Rows > 0 {
		debug.SetMemoryLimit(math.MaxInt64) // the state of so many rows is all in memory
		if r.Queries, err = measureQueries(ctx, server, c); err != nil {
			return fmt.Errorf("queries: %w", err)
		}
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(r)
}
