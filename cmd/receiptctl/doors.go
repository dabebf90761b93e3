package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/internal/lab/bench/doors"
)

// doorsCommand measures the doors of a running server.
type doorsCommand struct {
	JSON     bool          `name:"json" help:"Print the result as one JSON object, and nothing else."`
	Door     string        `arg:"" enum:"nats,stream,http,floor" help:"nats: a request for each receipt; stream: a line; http: a request; floor: http with a server in this process that only reads and answers."`
	NATS     config.Secret `name:"ingress" placeholder:"URL" help:"The server's NATS door, as nats://ingress:PASSWORD@HOST:PORT."`
	Clients  int           `default:"64" placeholder:"N" help:"Connections."`
	InFlight int           `name:"in-flight" default:"256" placeholder:"N" help:"Receipts that each has sent and not had answered, at most. More than 1 over http is pipelining."`
	Rate     float64       `default:"0" placeholder:"N" help:"Receipts a second, over all connections; 0: as many as go."`
	Duration time.Duration `default:"10s" placeholder:"DURATION" help:"How long."`
}

// Help is the long description of the command.
func (doorsCommand) Help() string {
	return `Sends single receipts to a running server, in an app of its own, and measures how many are
answered as durable and after how long. Clients and server share the machine. In the end every count
must be what was answered, and the state what the log gives again.`
}

// Validate is asked before anything is sent.
func (d doorsCommand) Validate() error {
	if d.Rate < 0 {
		return errors.New("--rate takes a number from 0 on")
	}
	return errors.Join(positive("clients", d.Clients), positive("in-flight", d.InFlight), positive("duration", d.Duration))
}

// Run measures and prints.
func (d doorsCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	server, err := target.Client()
	if err != nil {
		return err
	}
	r, err := doors.Run(ctx, doors.Options{
		Server: server, Key: server.Key(), NATS: d.NATS.Reveal(), Door: d.Door,
		Clients: d.Clients, InFlight: d.InFlight, Rate: d.Rate, Duration: d.Duration,
	})
	if err != nil {
		return err
	}
	if d.JSON {
		return json.NewEncoder(std.out).Encode(r)
	}
	_, err = fmt.Fprintf(std.out, "%s: %.0f receipts/s durable, %d connections x %d in flight: p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, at most %.1f ms; server %.2f s of processor a million\n",
		r.Door, r.Rate, r.Clients, r.InFlight, r.P50, r.P99, r.P999, r.Max, r.CPU)
	if err == nil && r.CountsChecked > 0 {
		_, err = fmt.Fprintf(std.out, "%d counts right, replayed state equal\n", r.CountsChecked)
	}
	return err
}
