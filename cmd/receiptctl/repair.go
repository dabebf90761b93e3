package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/backup"
	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/internal/runtime"
)

// repairCommand makes the data of a stopped server fit to be served again.
type repairCommand struct {
	Witness    string `placeholder:"DIR" help:"Directory of the log's witness, as for receiptd. Empty: DATA/witness."`
	From       string `placeholder:"BACKUP" help:"Take what is damaged or missing from a backup, as far as that reaches."`
	AcceptLoss bool   `help:"Accept that what is damaged or missing, and in no backup, is lost. Without it and without --from nothing is changed: what would be done is printed."`
	JSON       bool   `name:"json" help:"Print what was done as one JSON object, and nothing else."`
}

// Help is the long description of the command.
func (repairCommand) Help() string {
	return `A server refuses data that holds less than it acknowledged. Bring back what is missing if you
can: the volume, the other disk. With --from, what is damaged or missing is taken from a backup of
the same log, as far as that reaches; nothing is changed if something would be lost all the same.
If you cannot, --accept-loss keeps all that is good where
it is, puts an entry that says so in the place of each lost one (they are told as poison), moves the
files that it replaces aside, and folds the state again if it stands beyond the log.`
}

// Run repairs, or prints what it would repair.
func (r repairCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	cfg := dataConfig(target, r.Witness)
	if !r.AcceptLoss && r.From == "" {
		x, err := runtime.Examine(ctx, cfg)
		if err != nil {
			return err
		}
		if r.JSON {
			return json.NewEncoder(std.out).Encode(x)
		}
		if err := printExamination(std.out, &x); err != nil {
			return err
		}
		if x.Healthy {
			return nil
		}
		return errors.New("nothing was changed; --from takes them from a backup, --accept-loss accepts that the entries named above are lost")
	}
	logger := slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	o := eventlog.RepairOptions{AcceptLoss: r.AcceptLoss}
	if r.From != "" {
		b, err := backup.Open(r.From)
		if err != nil {
			return err
		}
		o.From = b
	}
	list, err := runtime.Repair(ctx, cfg, o, logger)
	if r.JSON {
		return errors.Join(json.NewEncoder(std.out).Encode(list), err)
	}
	for _, done := range list {
		fmt.Fprintf(std.out, "%s: %s\n", done.Stream, done.What)
		if done.Restored > 0 {
			fmt.Fprintf(std.out, "    from the backup: %d\n", done.Restored)
		}
		for _, l := range done.Lost {
			fmt.Fprintf(std.out, "    lost: entries %d to %d\n", l.First, l.Last)
		}
		if done.Aside != "" {
			fmt.Fprintf(std.out, "    the files before: %s\n", done.Aside)
		}
	}
	if err == nil && len(list) == 0 {
		fmt.Fprintln(std.out, "the log needs no repair")
	}
	return err
}
