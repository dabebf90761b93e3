package main

import (
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
	Witness string `placeholder:"DIR" help:"Directory of the log's witness, as for receiptd. Empty: DATA/witness."`
	JSON    bool   `name:"json" help:"Print what was found as one JSON object, and nothing else."`
}

// Help is the long description of the command.
func (doctorCommand) Help() string {
	return `Reads every byte of the log, of what lies beside it in the same server (inboxes, accounts) and
of the state against its checksums, compares the log with its witness, and looks at secrets, disk,
clock and limits. Each finding has a code, says what it means and what to do. It changes nothing.
Exits with 0 if a start would serve everything, with 1 if not.`
}

// config is that of the server whose data it is.
func dataConfig(target ctl.Target, witness string) config.Config {
	cfg := config.Default()
	if target.Data != "" {
		cfg.Data = target.Data
	}
	cfg.Log.Witness = witness
	return cfg
}

// Run examines and prints.
func (d doctorCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	cfg := dataConfig(target, d.Witness)
	x, err := runtime.Examine(ctx, cfg)
	if errors.Is(err, runtime.ErrInUse) {
		return fmt.Errorf("%w: stop it first; what a running server knows of itself is at /readyz and /metrics", err)
	}
	if err != nil {
		return err
	}
	if d.JSON {
		err = json.NewEncoder(std.out).Encode(x)
	} else {
		err = printExamination(std.out, &x)
	}
	if err == nil && !x.Healthy {
		err = errors.New("a start would refuse this data, or serve less than is right")
	}
	return err
}

func printExamination(w io.Writer, x *runtime.Examination) error {
	for _, s := range x.Streams {
		fmt.Fprintf(w, "%s: entries %d to %d, %s bytes read\n", s.Stream, s.First, s.Last, progress.Count(float64(s.Bytes)))
	}
	fmt.Fprintf(w, "state: %s bytes read\n", progress.Count(float64(x.StateBytes)))
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
