package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/backup"
	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/internal/runtime"
)

// repairCommand makes the data of a stopped server fit to be served again.
type repairCommand struct {
	Witness    string     `placeholder:"DIR" help:"Directory of the log's witness, as for receiptd. Empty: DATA/witness."`
	From       string     `placeholder:"BACKUP" help:"Take what is damaged or missing from a backup, as far as that reaches."`
	AcceptLoss acceptance `placeholder:"STREAM:FIRST-LAST,…" help:"Accept that these entries, where they are damaged or missing, and in no backup, are lost; without ranges all that are. Without it and without --from nothing is changed: what would be done is printed."`
	Replica    string     `placeholder:"STREAM" help:"Put the replica that a node with a NATS server of its own has of a stream aside, as scrub and doctor name it: the other nodes give it again when the node starts. They all have to be well."`
	JSON       bool       `name:"json" help:"Print what was done as one JSON object, and nothing else."`
}

// Help is the long description of the command.
func (repairCommand) Help() string {
	return `A server refuses data that holds less than it acknowledged. Bring back what is missing if you
can: the volume, the other disk. With --from, what is damaged or missing is taken from a backup of
the same log, as far as that reaches; nothing is changed if something would be lost all the same.
If you cannot, --accept-loss keeps all that is good where
it is, puts an entry that says so in the place of each lost one (they are told as poison), moves the
files that it replaces aside, and folds the state again. A state that differs then is kept, until
you remove it. With ranges, as doctor prints them, nothing is changed if more would be lost:

    receiptctl repair --data DIR --accept-loss RECEIPTS_0:17-20,RECEIPTS_1:4

Nodes with NATS servers of their own have replicas of what the others have, too. --replica puts a
damaged one aside, for the others to give it again; nothing else is done to it.`
}

// acceptance is the loss that a repair may bring: any, or that in ranges.
type acceptance struct {
	any    bool
	ranges []eventlog.Range
}

// Decode implements [kong.MapperValue]: without a value any loss is accepted.
func (a *acceptance) Decode(ctx *kong.DecodeContext) error {
	if !ctx.Scan.Peek().IsValue() {
		a.any = true
		return nil
	}
	text := fmt.Sprint(ctx.Scan.Pop().Value)
	if yes, err := strconv.ParseBool(text); err == nil { // of the environment or the file
		a.any = yes
		return nil
	}
	for part := range strings.SplitSeq(text, ",") {
		r, err := eventlog.ParseRange(part)
		if err != nil {
			return err
		}
		a.ranges = append(a.ranges, r)
	}
	return nil
}

// Run repairs, or prints what it would repair.
func (r repairCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	cfg := dataConfig(target, r.Witness)
	if r.Replica != "" {
		done, err := runtime.SetReplicaAside(cfg, r.Replica)
		if err != nil {
			return err
		}
		return r.print(std, []eventlog.Repaired{done})
	}
	if !r.AcceptLoss.any && len(r.AcceptLoss.ranges) == 0 && r.From == "" {
		x, err := runtime.Examine(ctx, cfg, nil)
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
	o := eventlog.RepairOptions{AcceptLoss: r.AcceptLoss.any, Accept: r.AcceptLoss.ranges}
	if r.From != "" {
		b, err := backup.Open(r.From)
		if err != nil {
			return err
		}
		o.From = b
	}
	list, err := runtime.Repair(ctx, cfg, o, logger)
	err = errors.Join(r.print(std, list), err)
	if err == nil && len(list) == 0 && !r.JSON {
		fmt.Fprintln(std.out, "the log needs no repair")
	}
	return err
}

// print prints what was done.
func (r repairCommand) print(std streams, list []eventlog.Repaired) error {
	if r.JSON {
		return json.NewEncoder(std.out).Encode(list)
	}
	for _, done := range list {
		fmt.Fprintf(std.out, "%s: %s\n", cmp.Or(done.Stream, "beside the log"), done.What)
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
	return nil
}
