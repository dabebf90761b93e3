package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/internal/progress"
	"github.com/receiptd/receiptd/internal/runtime"
)

var errFindings = errors.New("files are not what was written")

type scrubCommand struct {
	JSON bool `name:"json" help:"Print the pass as one JSON object, and nothing else."`
}

func (scrubCommand) Help() string {
	return `Asks a running server to read every byte of log, witness and state from the disk against its
checksums now, at the rate of its --scrub-rate, and waits until it has. Findings have the codes of
doctor, which does the same, and more, with a stopped server's data. Exits with 0 if all files are
whole, with 1 if not.`
}

func (s scrubCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	client, err := target.Client()
	if err != nil {
		return err
	}
	pass, err := s.wait(ctx, client, std)
	if err != nil {
		return err
	}
	if s.JSON {
		err = json.NewEncoder(std.out).Encode(pass)
	} else {
		_, err = fmt.Fprintf(std.out, "%s bytes read in %s\n", progress.Count(float64(pass.Bytes)), pass.Finished.Sub(pass.Started).Round(time.Millisecond))
		for _, f := range pass.Findings {
			fmt.Fprintf(std.out, "PROBLEM %s\n    what to do: %s\n", ctl.TerminalSafe(f.String()), ctl.TerminalSafe(f.Do))
		}
	}
	switch {
	case err != nil:
		return err
	case len(pass.Findings) > 0:
		return errFindings
	case pass.Error != "":
		return errors.New(pass.Error)
	}
	return nil
}

// wait asks for a pass and shows its progress until it has ended.
func (s scrubCommand) wait(ctx context.Context, client *ctl.Client, std streams) (*runtime.ScrubPass, error) {
	const path, every = "/v1/admin/scrub", 200 * time.Millisecond
	var status runtime.ScrubStatus
	if err := client.Call(ctx, http.MethodPost, path, nil, nil, &status); err != nil {
		return nil, err
	}
	wanted := 1
	switch {
	case status.Running != nil: // one that is under way will do
		wanted = status.Running.Number
	case status.Last != nil:
		wanted = status.Last.Number + 1
	}
	bar := progress.New(std.err, progress.Options{Label: "scrub", Unit: "bytes", Quiet: s.JSON})
	defer bar.Close()
	for {
		if last := status.Last; last != nil && last.Number >= wanted {
			return last, nil
		}
		if status.Running != nil {
			bar.SetTotal(status.Running.Total)
			bar.Set(status.Running.Bytes)
		}
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		status = runtime.ScrubStatus{}
		if err := client.Call(ctx, http.MethodGet, path, nil, nil, &status); err != nil {
			return nil, err
		}
	}
}
