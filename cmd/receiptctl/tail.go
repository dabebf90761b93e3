package main

import (
	"context"
	"fmt"
	"time"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/ctl"
)

// tailCommand follows the log of a running server.
type tailCommand struct {
	App    string `placeholder:"ORG/APP" help:"Only events of this app."`
	From   string `default:"now" placeholder:"WHERE" help:"Where to begin: now, or start for everything the log still has."`
	Cursor string `placeholder:"CURSOR" help:"Go on behind the line that had this cursor, instead of --from."`
	Count  int    `default:"0" placeholder:"N" help:"End after N events; 0 goes on until a signal."`
}

// Help is the long description of the command.
func (tailCommand) Help() string {
	return `Writes one JSON object a line, in log order for each partition: partition, sequence
and index tell the position, stored when the log took the event, cursor where to go on after it. A
lost connection is made again behind the last line, without a gap or a repeat; what is said about
that goes to standard error.`
}

// Validate finds what is wrong with the flags, all at once.
func (t tailCommand) Validate() error {
	var problems config.Problems
	if t.From != ctl.FromNow && t.From != ctl.FromStart {
		problems = append(problems, config.Problem{Setting: "from", Reason: fmt.Sprintf("%q is not one of now, start", t.From)})
	}
	if t.Count < 0 {
		problems = append(problems, config.Problem{Setting: "count", Reason: fmt.Sprintf("%d is negative", t.Count)})
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

// Run follows until the context ends.
func (t tailCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	client, err := target.Client()
	if err != nil {
		return err
	}
	return client.Tail(ctx, std.out, ctl.TailOptions{
		App: t.App, From: t.From, Cursor: t.Cursor, Count: t.Count,
		Lost: func(err error, wait time.Duration) {
			fmt.Fprintf(std.err, "receiptctl: %v; next attempt in %s\n", err, wait.Round(100*time.Millisecond))
		},
	})
}
