package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/internal/lab/bench/clients"
)

// clientsCommand measures a running server with many SDK clients.
type clientsCommand struct {
	JSON     bool          `name:"json" help:"Print the result as one JSON object, and nothing else."`
	Clients  int           `default:"2000" placeholder:"N" help:"Users, each with a connection."`
	Members  int           `default:"50" placeholder:"N" help:"Members of a group."`
	Rate     float64       `default:"2000" placeholder:"N" help:"Receipts a second."`
	Duration time.Duration `default:"15s" placeholder:"DURATION" help:"How long each of the two kinds of traffic lasts."`
}

// Help is the long description of the command.
func (clientsCommand) Help() string {
	return `Connects to a running server as the Easemob SDK does, in an app of its own. Measured
are the memory of a connection that does nothing, and the time from the sending of a read to the
author's notification: in single chats, where each message is delivered and read, and in groups,
where the author is told of further readers every 50 ms. Clients and server share the machine. Every
read must reach its author, and every count is compared; a wrong one fails the run.`
}

// Run measures and prints.
func (c clientsCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	server, err := target.Client()
	if err != nil {
		return err
	}
	o := clients.Options{Server: server, Clients: c.Clients, Members: c.Members, Rate: c.Rate, Duration: c.Duration}
	o.Phase = phases(std, c.JSON)
	r, err := clients.Run(ctx, o)
	if err != nil {
		return err
	}
	return show(std.out, c.JSON, &r, printClients)
}

func printClients(w io.Writer, r *clients.Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "connections\t%d, %.0f logins/s\n", r.Clients, r.Logins)
	fmt.Fprintf(t, "memory\t%.1f KiB an idle connection\n", r.IdleKiB)
	for _, phase := range []struct {
		name string
		t    *clients.Traffic
	}{{"single chats", &r.Single}, {"groups", &r.Group}} {
		fmt.Fprintf(t, "%s\t%.0f receipts/s of %.0f messages/s: p50 %.1f ms, p99 %.1f ms, at most %.0f ms\n",
			phase.name, phase.t.ReceiptsPerS, phase.t.MessagesPerS, phase.t.P50, phase.t.P99, phase.t.Max)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
