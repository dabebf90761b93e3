package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/receiptd/receiptd/internal/backup"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/internal/progress"
	"github.com/receiptd/receiptd/internal/runtime"
)

// restoreCommand makes a data directory from a backup.
type restoreCommand struct {
	From        string            `arg:"" name:"dir" help:"Directory of the backup."`
	Witness     string            `placeholder:"DIR" help:"Directory for the log's witness, as for receiptd. Empty: DATA/witness."`
	Into        config.ServerURLs `placeholder:"URL" help:"NATS servers of a cluster that has no log, with commas: the backup becomes that cluster's log. --data is a directory that is needed meanwhile."`
	Replicas    int               `default:"3" placeholder:"N" help:"For --into: NATS servers that hold each stream."`
	Credentials string            `name:"nats-credentials" placeholder:"FILE" help:"For --into: a .creds file."`
	JSON        bool              `name:"json" help:"Print the result as one JSON object, and nothing else."`
}

// Help is the long description of the command.
func (restoreCommand) Help() string {
	return `Makes the data directory that --data names, which must not be there or be empty, from a
backup. Entries keep their sequences, times and subjects. The state is folded and compared with the
digests in the backup, and the directory gets its name only if they are equal. The log gets another
identity: clients that come with positions of before are told so and start again from the summary.

With --into it becomes the log of a cluster that has none. It is restored to --data and proven there
first, which takes room for it once. Until all of it is in the cluster no node serves any of it; run
again with the same --data it goes on where it was cut off.`
}

// Run restores.
func (r restoreCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	if target.Data == "" {
		return errors.New("--data says where to restore to")
	}
	b, err := backup.Open(r.From)
	if err != nil {
		return err
	}
	bar := progress.New(std.err, progress.Options{Label: "restore", Unit: "bytes", Quiet: r.JSON})
	defer bar.Close()
	logger := slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	restore, cfg := runtime.Restore, dataConfig(target, r.Witness)
	if r.Into != "" {
		restore, cfg.Log.NATS, cfg.Log.Replicas, cfg.Log.NATSCredentials = runtime.RestoreInto, r.Into, r.Replicas, r.Credentials
	}
	done, err := restore(ctx, b, cfg, logger, func(p backup.Progress) {
		bar.SetTotal(p.Total)
		bar.Set(p.Bytes)
	})
	if err != nil && !errors.Is(err, runtime.ErrNotProven) {
		return err
	}
	bar.Close()
	if r.JSON {
		return errors.Join(json.NewEncoder(std.out).Encode(done), err)
	}
	for _, p := range done.Partitions {
		restored := p.Restored
		if restored == "" {
			restored = "not folded"
		}
		fmt.Fprintf(std.out, "partition %d at %d: backup %s, restored %s\n", p.Partition, p.Position, p.Backup, restored)
	}
	switch {
	case err != nil:
		return err
	case done.Already:
		fmt.Fprintf(std.out, "%s has the log of this backup already\n", done.Data)
		return nil
	case done.Proven:
		fmt.Fprintf(std.out, "restored to %s and proven equal; the log is %s now\n", done.Data, done.Log)
	default:
		fmt.Fprintf(std.out, "restored to %s; the log is %s now. Its state could not be folded and compared: %s\n", done.Data, done.Log, done.Unproven)
	}
	if !done.Secrets {
		fmt.Fprintln(std.out, "the backup has no secrets: the first start makes new ones, and user tokens of before end")
	}
	return nil
}
