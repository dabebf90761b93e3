// Command receiptd is the server: receipts in, a durable log, read sets and counts out.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/runtime"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	// exitUsage: the command line or the configuration is wrong; nothing was started.
	exitUsage = 2
)

const description = `Turns message receipts into a durable log, and the log into read sets, counts and unread state.

With no settings it starts everything in this process and keeps it under ./data. Settings come from the flags
below, the environment and a YAML file (flag over environment over file); docs/configuration.md tells more.

Three machines and nothing else form a cluster (docs/cluster.md); on the first one of them:

    export RECEIPTD_CLUSTER_SECRET=...
    receiptd --node a --data /var/lib/receiptd --listen 0.0.0.0:8080
      --cluster-listen 10.0.0.1:6222
      --cluster-routes 10.0.0.1:6222,10.0.0.2:6222,10.0.0.3:6222
      --cluster-tls-cert a.pem --cluster-tls-key a-key.pem --cluster-tls-ca ca.pem

With NATS servers of your own it is --nats URL,URL,URL --replicas 3 instead of --cluster-*.`

// cli is the command line.
type cli struct {
	Config   string        `placeholder:"FILE" help:"YAML file with any of the settings below, by the names of their flags."`
	Settings config.Config `embed:""`

	Serve   serveCommand   `cmd:"" default:"1" help:"Run the server until SIGTERM or SIGINT, which drain it. This is what receiptd does without a command."`
	Print   printCommand   `cmd:"" name:"config" help:"Print the configuration in force and the source of each value; secrets are masked."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program without the process around it. It returns the exit code.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	runtime.PrivateFiles()
	var c cli
	program := config.Program{Name: "receiptd", Description: description, Foreign: config.ToolNames()}
	command, sources, err := program.Parse(&c, args, environ, kong.Writers(stdout, stderr),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.BindTo(stdout, (*io.Writer)(nil)))
	needsSettings := command == nil || command.Command() != "version"
	if err != nil && needsSettings {
		fmt.Fprintf(stderr, "receiptd: %v\n", err)
		if parseError := (*kong.ParseError)(nil); errors.As(err, &parseError) {
			fmt.Fprintln(stderr, "Run receiptd --help for the commands and flags.")
		}
		return exitUsage
	}
	if err := command.Run(c.Settings, sources, c.Settings.Logging.Logger(stderr)); err != nil {
		fmt.Fprintf(stderr, "receiptd: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// printCommand shows the settings.
type printCommand struct{}

// Run prints the configuration as a file that receiptd reads.
func (printCommand) Run(settings config.Config, sources config.Sources, stdout io.Writer) error {
	return settings.WriteYAML(stdout, sources)
}
