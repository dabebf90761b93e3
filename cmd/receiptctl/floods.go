package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/internal/lab/bench/clients"
)

// floodsCommand measures what a quiet app notices of another one's floods.
type floodsCommand struct {
	JSON     bool          `name:"json" help:"Print the result as one JSON object, and nothing else."`
	Duration time.Duration `default:"5s" placeholder:"DURATION" help:"How long each flood lasts, and the calm before and after it."`
	Flooders int           `default:"16" placeholder:"N" help:"Connections of a flood."`
	Sockets  int           `default:"2000" placeholder:"N" help:"Connections that say nothing."`
	Messages int           `default:"500" placeholder:"N" help:"Messages of the quiet app that wait for a device meanwhile."`
}

// Help is the long description of the command.
func (floodsCommand) Help() string {
	return `Makes two apps on a running server, of any version. In the quiet one messages wait for somebody who
is away, and one request after the other is made: an event, answered when it is folded, a login with
a password, a login over the WebSocket. In the other one a user floods the server: with messages of
60 KiB to a group of 4,990, with calls of the SDK, with wrong passwords, with connections that say
nothing, with groups of 4,990. The floods come from a process of its own and from 127.0.0.2, so the
server has to be on this machine. Every message that waited must be there in the end.`
}

// Validate is asked before anything is started.
func (c floodsCommand) Validate() error {
	return errors.Join(positive("duration", c.Duration), positive("flooders", c.Flooders), positive("sockets", c.Sockets), positive("messages", c.Messages))
}

// Run measures and prints.
func (c floodsCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	server, err := target.Client()
	if err != nil {
		return err
	}
	r, err := clients.Floods(ctx, clients.FloodOptions{
		Server: server, Duration: c.Duration, Flooders: c.Flooders, Sockets: c.Sockets, Messages: c.Messages, Phase: phases(std, c.JSON),
	})
	if len(r.Floods) == 0 {
		return err
	}
	return errors.Join(err, show(std.out, c.JSON, &r, printFloods))
}

func printFloods(w io.Writer, r *clients.FloodResult) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "flood\tanswered\trefused\tbefore p50 ms\tp99\tfailed\tduring p50\tp99\tfailed\tafter p50\tp99\tfailed\t")
	for _, x := range r.Floods {
		fmt.Fprintf(t, "%s\t%d\t%d\t", x.Name, x.Answered, x.Refused)
		for _, c := range []clients.Calm{x.Before, x.During, x.After} {
			fmt.Fprintf(t, "%.1f\t%.1f\t%d of %d\t", c.P50, c.P99, c.Failed, c.Asked)
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	for _, x := range r.Floods {
		if x.Reason != "" {
			fmt.Fprintf(w, "%s: the last refusal: %s\n", x.Name, x.Reason)
		}
	}
	_, err := fmt.Fprintf(w, "of %d messages that waited %d are there\n", r.Waiting, r.Arrived)
	return err
}
