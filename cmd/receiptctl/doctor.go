package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/internal/progress"
	"github.com/receiptd/receiptd/internal/runtime"
)

// doctorCommand looks at the data of a stopped server.
type doctorCommand struct {
	Witness string   `placeholder:"DIR" help:"Directory of the log's witness, as for receiptd. Empty: DATA/witness."`
	JSON    bool     `name:"json" help:"Print what was found as one JSON object, and nothing else."`
	Flags   []string `arg:"" optional:"" name:"receiptd-flags" help:"After --: the flags that receiptd is started with."`
}

// given is where the configuration of the server comes from, beside its flags.
type given struct {
	file    string // empty for none
	environ []string
}

// Help is the long description of the command.
func (doctorCommand) Help() string {
	return `Reads every byte of the log, of what lies beside it in the same server (inboxes, accounts) and
of the state against its checksums, compares the log with its witness and with what ClickHouse has
of it, and looks at the configuration, secrets, disk, clock, memory and limits. Each finding has a
code, says what it means and what to do. It changes nothing. Exits with 0 if a start would serve
everything, with 1 if not.

The configuration is the server's, from the same file (--config) and environment; give the flags
that receiptd is started with after --:

    receiptctl doctor --data /var/lib/receiptd -- --min-free 1GiB --clickhouse clickhouse://db:9000`
}

// dataConfig is the configuration of a server with the data, for what goes by nothing else.
func dataConfig(target ctl.Target, witness string) config.Config {
	cfg := config.Default()
	cfg.Data = cmp.Or(target.Data, cfg.Data)
	cfg.Log.Witness = witness
	return cfg
}

// serverConfig is the configuration of the server whose data it is; what the tool itself was told
// wins. The problems are what is wrong with the settings.
func (g given) serverConfig(target ctl.Target, witness string, flags []string) (config.Config, config.Sources, config.Problems, error) {
	cfg, sources, err := config.Server(g.file, flags, g.environ)
	problems, ok := errors.AsType[config.Problems](err)
	if err != nil && !ok {
		return cfg, nil, nil, fmt.Errorf("the flags of receiptd: %w", err)
	}
	cfg.Data = cmp.Or(target.Data, cfg.Data, config.Default().Data)
	cfg.Log.Witness = cmp.Or(witness, cfg.Log.Witness)
	return cfg, sources, problems, nil
}

// diagnosis is what the doctor found, and by which configuration.
type diagnosis struct {
	runtime.Examination
	// Settings are those that are not left at their defaults.
	Settings []config.Setting `json:"settings"`
}

// Run examines and prints.
func (d doctorCommand) Run(ctx context.Context, target ctl.Target, g given, std streams) error {
	cfg, sources, problems, err := g.serverConfig(target, d.Witness, d.Flags)
	if err != nil {
		return err
	}
	var x diagnosis
	x.Settings = cfg.Given(sources)
	x.Examination, err = runtime.Examine(ctx, cfg, problems)
	if errors.Is(err, runtime.ErrInUse) {
		return fmt.Errorf("%w: stop it first; what a running server knows of itself is at /readyz and /metrics", err)
	}
	if err != nil {
		return err
	}
	if d.JSON {
		err = json.NewEncoder(std.out).Encode(x)
	} else {
		printGiven(std.out, x.Settings)
		err = printExamination(std.out, &x.Examination)
	}
	if err == nil && !x.Healthy {
		err = errors.New("a start would refuse this data, or serve less than is right")
	}
	return err
}

func printGiven(w io.Writer, list []config.Setting) {
	for _, s := range list {
		fmt.Fprintf(w, "setting %s: %s (%s)\n", s.Name, s.Value, s.Source)
	}
	fmt.Fprintln(w, "all other settings: the defaults")
}

func printExamination(w io.Writer, x *runtime.Examination) error {
	for _, s := range x.Streams {
		fmt.Fprintf(w, "%s: entries %d to %d, %s bytes read\n", s.Stream, s.First, s.Last, progress.Count(float64(s.Bytes)))
	}
	fmt.Fprintf(w, "state: %s bytes read\n", progress.Count(float64(x.StateBytes)))
	if c := x.ClickHouse; c != nil {
		fmt.Fprintf(w, "ClickHouse %s: %d migrations to come\n", c.Version, c.Pending)
		for _, p := range c.Partitions {
			fmt.Fprintf(w, "    partition %d: entries %d to %d of %d\n", p.Partition, p.First, p.Last, p.Log)
		}
	}
	for _, f := range x.Findings {
		kind := "note"
		if f.Fatal {
			kind = "PROBLEM"
		}
		fmt.Fprintf(w, "%s %s\n    what to do: %s\n", kind, f.String(), f.Do)
	}
	if len(x.Findings) == 0 {
		fmt.Fprintln(w, "nothing found")
	}
	return nil
}
