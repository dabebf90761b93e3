// Command receiptctl is the operator's tool: it rebuilds and proves state, follows the log, and
// measures.
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
	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/bench/clients"
	"github.com/receiptd/receiptd/projections"
)

// Exit codes.
const (
	exitOK = 0
	// exitFailed: the command failed, or found what it looks for (verify: a difference).
	exitFailed = 1
	// exitUsage: the command line or the configuration is wrong; nothing was done.
	exitUsage = 2
)

const description = `Operates receiptd: shows, sends and asks, and keeps data and proves it.

Works on a running server, by default the one of this machine, whose admin key it reads from the data directory.
Flags are also RECEIPTD_ environment variables and keys of the configuration file, as for receiptd itself.`

// cli is the command line. Each command is a file with a type that has a Run method; what Run may
// ask for is bound in run: a context that a signal ends, the target, and the streams.
type cli struct {
	Config string     `placeholder:"FILE" help:"YAML file with any of the flags; may be the server's."`
	Target ctl.Target `embed:""`

	Demo    demoCommand     `cmd:"" help:"Pour a made-up day of traffic into a running server, to see it alive."`
	App     appCommands     `cmd:"" help:"List apps, print and change their settings."`
	Token   tokenCommand    `cmd:"" help:"Make a token for a user."`
	Event   eventCommand    `cmd:"" help:"Send an event, and print what the rules made of it."`
	Import  importCommand   `cmd:"" help:"Pour the history of another system into an app, at its own times."`
	Message messageCommands `cmd:"" help:"Print messages and their counts."`
	Readers readersCommand  `cmd:"" help:"Print who has read a message and who has not."`
	Stats   statsCommand    `cmd:"" help:"Print how much was read, and how soon."`
	Alerts  alertsCommand   `cmd:"" help:"List what rules of an app found too few readers of."`

	Replay      replayCommand      `cmd:"" help:"Rebuild the state from the log and switch to it."`
	Verify      verifyCommand      `cmd:"" help:"Rebuild the state beside the live one and compare."`
	Prove       proveCommand       `cmd:"" help:"Make a file that shows that a user has read a message, or check one."`
	Audit       auditCommand       `cmd:"" help:"Keep the log's signed heads, and have each later one proven to rewrite nothing."`
	Doctor      doctorCommand      `cmd:"" help:"Look for damage in a stopped server's data, and say what to do."`
	Scrub       scrubCommand       `cmd:"" help:"Have a running server read all its files against their checksums."`
	Repair      repairCommand      `cmd:"" help:"Make damaged data fit to be served, from a backup or by accepting a named loss."`
	Repartition repartitionCommand `cmd:"" help:"Double the number of partitions of the log."`

	Backup  backupCommands `cmd:"" help:"Copy a server's data elsewhere, incrementally."`
	Restore restoreCommand `cmd:"" help:"Make a data directory from a backup, and prove it."`

	Cluster clusterCommands `cmd:"" help:"Look at several nodes on one log."`

	Tail       tailCommand       `cmd:"" help:"Follow events as JSON lines."`
	Rejections rejectionsCommand `cmd:"" help:"List the latest events of an app that broke a rule."`
	Poison     poisonCommand     `cmd:"" help:"List dead letters: what NATS clients published without effect, with the reason."`
	Subject    subjectCommand    `cmd:"" help:"Print the NATS subject of an event."`

	Schema schemaCommand `cmd:"" help:"Print the ClickHouse tables for a cluster."`
	Bench  benchCommands `cmd:"" help:"Measure the whole path on this machine."`
}

// helpVars are what the help texts of the flags name in ${…}.
var helpVars = kong.Vars{"projections": projections.ProjectionNames()}

// streams are the standard streams of the process. Results go to out; err is for people.
type streams struct {
	out, err io.Writer
}

func main() {
	child.ServeIfAsked() // bench grow starts this program once more
	clients.FloodIfAsked()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], os.Environ(), streams{os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// run is the program without the process around it. It returns the exit code.
func run(ctx context.Context, args, environ []string, std streams) int {
	var c cli
	program := config.Program{Name: "receiptctl", Description: description, Foreign: config.Names()}
	command, _, err := program.Parse(&c, args, environ, kong.Writers(std.out, std.err), helpVars)
	if err != nil {
		fmt.Fprintf(std.err, "receiptctl: %v\n", err)
		if parseError := (*kong.ParseError)(nil); errors.As(err, &parseError) {
			fmt.Fprintln(std.err, "Run receiptctl --help for the commands and flags.")
		}
		return exitUsage
	}
	command.BindTo(ctx, (*context.Context)(nil))
	err = command.Run(c.Target, given{c.Config, environ}, std)
	if code := exitCode(0); errors.As(err, &code) {
		return int(code)
	}
	if err != nil {
		fmt.Fprintf(std.err, "receiptctl: %v\n", err)
		return exitFailed
	}
	return exitOK
}
