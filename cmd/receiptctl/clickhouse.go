package main

import (
	"context"
	"encoding/json"
	"log/slog"

	"github.com/receiptd/receiptd/internal/lab/bench/analytics"
)

// clickHouseCommand measures the sink into ClickHouse and the queries there.
type clickHouseCommand struct {
	Events  int `default:"2000000" placeholder:"N" help:"Events that go through the sink from a log; 0 leaves the sink out."`
	Rounds  int `default:"5" placeholder:"N" help:"How often they do, and are inserted directly."`
	Rows    int `default:"5000000" placeholder:"N" help:"Rows for the questions; 0 leaves them out. They are made without a log."`
	Days    int `default:"30" placeholder:"N" help:"Days over which the rows are spread."`
	Queries int `default:"200" placeholder:"N" help:"Questions of each kind; 0 leaves these out."`

	Cookbook string `placeholder:"FILE" help:"docs/analytics.md, to time each of its questions, too: by the API, on the page and in SQL."`
}

// Help is the long description of the command.
func (clickHouseCommand) Help() string {
	return `Starts the ClickHouse engine of the tests in a process of its own, and measures how
fast the sink is beside inserting the same blocks and nothing else, what a row takes on the disk,
and how long read-rate questions take with many rows. Prints one JSON object. It needs a clone of
the repository, from which it builds the engine's program, and on the first run npm, which fetches
the engine (linux/amd64).`
}

// Run measures and prints.
func (c clickHouseCommand) Run(ctx context.Context, std streams) error {
	r, err := analytics.Run(ctx, analytics.Options{
		Events: c.Events, Rounds: c.Rounds, Rows: c.Rows, Days: c.Days, Queries: c.Queries, Cookbook: c.Cookbook,
		Logger: slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	out := json.NewEncoder(std.out)
	out.SetIndent("", "  ")
	return out.Encode(r)
}
