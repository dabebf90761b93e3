package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/receiptd/receiptd/internal/backup"
	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/internal/progress"
	"github.com/receiptd/receiptd/internal/runtime"
)

// backupCommands are what is done with backups, but for restoring one.
type backupCommands struct {
	Take   backupCommand       `cmd:"" default:"withargs" help:"Copy the log, what lies beside it and the witness, incrementally."`
	Verify backupVerifyCommand `cmd:"" help:"Read a backup against its checksums."`
}

// backupCommand copies a running or stopped server's data.
type backupCommand struct {
	To      string `arg:"" name:"dir" help:"Directory of the backup; - writes one tar to standard output."`
	Secrets bool   `help:"Include token.key, admin.key and log.key. Without them a restored server makes new ones, and user tokens end."`
	Witness string `placeholder:"DIR" help:"Directory of the log's witness, as for receiptd; for --data. Empty: DATA/witness."`
	JSON    bool   `name:"json" help:"Print the result as one JSON object, and nothing else."`
}

// Help is the long description of the command.
func (backupCommand) Help() string {
	return `Copies log, inboxes, accounts and what the witness knows, while the server runs or, with
--data, of a stopped one. A second backup into the same directory copies only what is new. One that
is cut off leaves the one before it whole; run again it goes on. The state is not copied: its digest
is, and a restore folds it from the log. A log in an outside NATS cluster is backed up there.`
}

// Run makes the backup.
func (b backupCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	bar := progress.New(std.err, progress.Options{Label: "backup", Unit: "bytes", Quiet: b.JSON})
	defer bar.Close()
	show := func(p backup.Progress) {
		bar.SetTotal(max(p.Total, p.Bytes))
		bar.Set(p.Bytes)
	}
	if b.To == "-" {
		_, err := b.send(ctx, target, std, backup.Have{}, func(in io.Reader) (m backup.Manifest, err error) {
			return backup.Pack(ctx, in, std.out, show)
		})
		return err
	}
	dir, err := backup.OpenDir(b.To)
	if err != nil {
		return err
	}
	m, err := b.send(ctx, target, std, dir.Have(), func(in io.Reader) (backup.Manifest, error) {
		return dir.Receive(ctx, in, show)
	})
	if err = errors.Join(err, dir.Close()); err != nil {
		return err
	}
	bar.Close()
	return printBackup(std.out, &m, nil, b.JSON)
}

// send has the running server, or the data of a stopped one, sent to take.
func (b backupCommand) send(ctx context.Context, target ctl.Target, std streams, have backup.Have,
	take func(io.Reader) (backup.Manifest, error)) (m backup.Manifest, err error) {
	logger := slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if target.Stopped() {
		err := runtime.BackupStopped(ctx, dataConfig(target, b.Witness), b.Secrets, have, logger, func(in io.Reader) (err error) {
			m, err = take(in)
			return err
		})
		if !errors.Is(err, runtime.ErrInUse) {
			return m, err
		}
	}
	client, err := target.Client()
	if err != nil {
		return m, err
	}
	query := url.Values{}
	if b.Secrets {
		query.Set("secrets", "true")
	}
	in, err := client.Stream(ctx, http.MethodPost, "/v1/admin/backup", query, have)
	if err != nil {
		return m, err
	}
	defer in.Close()
	return take(in)
}

// backupVerifyCommand reads a backup.
type backupVerifyCommand struct {
	Dir  string `arg:"" help:"Directory of the backup."`
	JSON bool   `name:"json" help:"Print the result as one JSON object, and nothing else."`
}

// Help is the long description of the command.
func (backupVerifyCommand) Help() string {
	return `Reads all of a backup against its checksums and those of every message, and compares that
no entry is missing and each partition ends with the entry that the log had there. Says which
positions and digests it has. Exits with 0 if it is whole and with 1 if not.`
}

// Run verifies.
func (v backupVerifyCommand) Run(ctx context.Context, std streams) error {
	b, err := backup.Open(v.Dir)
	if err != nil {
		return err
	}
	bar := progress.New(std.err, progress.Options{Label: "verify", Unit: "bytes", Quiet: v.JSON})
	defer bar.Close()
	findings, err := b.Verify(ctx, func(p backup.Progress) {
		bar.SetTotal(p.Total)
		bar.Set(p.Bytes)
	})
	if err != nil {
		return err
	}
	bar.Close()
	if err := printBackup(std.out, &b.Manifest, findings, v.JSON); err != nil {
		return err
	}
	if len(findings) > 0 {
		return backup.ErrDamaged
	}
	return nil
}

// backupReport is what is printed of a backup.
type backupReport struct {
	Log      string         `json:"log"`
	Made     string         `json:"made"`
	Whole    bool           `json:"whole"`
	Secrets  bool           `json:"secrets"`
	Streams  []backupStream `json:"streams"`
	State    []backup.State `json:"state"`
	Findings []string       `json:"findings"`
}

type backupStream struct {
	Stream      string `json:"stream"`
	First       uint64 `json:"first"`
	Last        uint64 `json:"last"`
	Fingerprint string `json:"fingerprint,omitempty"`
	Messages    uint64 `json:"messages"`
	Bytes       int64  `json:"bytes"`
}

func printBackup(w io.Writer, m *backup.Manifest, findings []string, asJSON bool) error {
	r := backupReport{
		Log: m.Log, Made: m.Made.Format("2006-01-02T15:04:05.000Z07:00"), Whole: len(findings) == 0, Secrets: len(m.Secrets) > 0,
		State: m.State, Findings: append([]string{}, findings...),
	}
	for _, s := range m.Streams {
		x := backupStream{Stream: s.Stream, Last: s.Last}
		if s.Fingerprint != 0 {
			x.Fingerprint = fmt.Sprintf("%016x", s.Fingerprint)
		}
		for i, b := range s.Blocks {
			if i == 0 {
				x.First = b.First
			}
			x.Messages += b.Messages
			x.Bytes += b.Bytes
		}
		r.Streams = append(r.Streams, x)
	}
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	for _, s := range r.Streams {
		fmt.Fprintf(w, "%s: %d messages up to %d, %s bytes %s\n", s.Stream, s.Messages, s.Last, progress.Count(float64(s.Bytes)), s.Fingerprint)
	}
	for _, s := range r.State {
		fmt.Fprintf(w, "state of partition %d at %d: %s\n", s.Partition, s.Position, s.Digest)
	}
	for _, f := range findings {
		fmt.Fprintf(w, "PROBLEM %s\n", f)
	}
	secrets := "secrets are not in it (--secrets): a restored server makes new ones, and user tokens end"
	if r.Secrets {
		secrets = "secrets are in it: keep it as safe as they are"
	}
	_, err := fmt.Fprintf(w, "log %s, made %s; %s\n", r.Log, r.Made, secrets)
	return err
}
