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
	"text/tabwriter"
	"time"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/internal/progress"
	"github.com/receiptd/receiptd/internal/runtime"
)

// errDifferent ends verify with exit code 1; the report has already said where the difference is.
var (
	errDifferent  = errors.New("the live state is not what the log says")
	errDamagedLog = errors.New("the log's files are not what was acknowledged")
)

// source says where a rebuild reads events.
type source struct {
	From       string     `default:"log" enum:"log,archive,snapshot" placeholder:"WHERE" help:"Where to begin: log; archive for the events that ClickHouse has, and the log for what follows; snapshot for the newest snapshot of the state that is good, and the log for what follows."`
	ClickHouse config.DSN `name:"clickhouse" placeholder:"DSN" help:"The archive, for a stopped server's data; a running server has its own."`
	AllNodes   bool       `name:"all-nodes" help:"Have all nodes of a cluster do it, one after the other. The server may be any of them, and asks the others."`
}

// verifyCommand rebuilds the state beside the live one and compares.
type verifyCommand struct {
	source
	JSON bool `name:"json" help:"Print the result as one JSON object, and nothing else; with --all-nodes one of each node, a line each."`
}

// Help is the long description of the command.
func (verifyCommand) Help() string {
	return `Folds the whole log into fresh state beside the live one, takes both at the same
position and compares them, key by key if their digests differ. Then reads all of the log's files
from the disk against their checksums and compares them with what was acknowledged, and says from
where to where. Traffic goes on meanwhile. Exits with 0 if the states are equal and the log is
whole, and with 1 if not, naming the first key that differs, or what is damaged. Works on a running
server, or with --data on a stopped one's data; if that one was killed, its state is brought to the
end of the log first, as a start would do it.

A node of a cluster proves its own state; with --all-nodes each node proves its own, and one that
cannot be asked is an error.`
}

// Run verifies.
func (v verifyCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	return rebuilding{name: "verify", from: v.source, quiet: v.JSON}.each(ctx, target, std, func(result projector.RebuildResult) error {
		if err := report(std.out, result, v.JSON); err != nil {
			return err
		}
		if !result.Equal {
			return errDifferent
		}
		if result.Log != nil && result.Log.Err() != nil {
			return errDamagedLog
		}
		return nil
	})
}

// replayCommand rebuilds the state and switches to it.
type replayCommand struct {
	source
	Projection string `default:"all" placeholder:"NAME" help:"What to rebuild: all, or one of ${projections}."`
	JSON       bool   `name:"json" help:"Print the result as one JSON object, and nothing else; with --all-nodes one of each node, a line each."`
}

// Help is the long description of the command.
func (replayCommand) Help() string {
	return `Folds the whole log into fresh state beside the live one, compares the two, catches
up with the traffic that went on, and makes the fresh state the live one in one step. Nobody is
notified of anything again. A fresh state that differs replaces the live one too: the log is the
truth. Works on a running server, or with --data on a stopped one's data.

With --from archive the events that ClickHouse has are read from there: for a state that needs more
than the log still holds. A running server uses the ClickHouse it was started with; with --data,
--clickhouse names it. A live state that the log cannot bring up to date is not compared, only
replaced.

With --from snapshot the fold begins from a snapshot of the state (--snapshot-every), which is
proven by its checksums and its digest, and folds the log from there on: what is proven is that the
entries after it lead to the live state.`
}

// Run replays.
func (r replayCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	o := projector.RebuildOptions{Switch: true, Projection: r.Projection}
	if err := o.Validate(); err != nil {
		return err
	}
	return rebuilding{name: "replay", from: r.source, options: o, quiet: r.JSON}.each(ctx, target, std, func(result projector.RebuildResult) error {
		return report(std.out, result, r.JSON)
	})
}

// rebuilding is a rebuild to be done.
type rebuilding struct {
	name    string // of the command, and of the server's call
	from    source
	options projector.RebuildOptions
	quiet   bool // no progress is shown
}

// each rebuilds, on every node if that is asked for, and hands over what came of each. What is
// wrong with one node keeps the others from nothing.
func (r rebuilding) each(ctx context.Context, target ctl.Target, std streams, f func(projector.RebuildResult) error) error {
	if !r.from.AllNodes {
		result, err := r.run(ctx, target, "", std)
		if err != nil {
			return err
		}
		return f(result)
	}
	if target.Stopped() {
		return errors.New("--all-nodes asks a running server, and --data names a stopped one's data")
	}
	client, err := target.Client()
	if err != nil {
		return err
	}
	var v cluster.View
	if err := client.Call(ctx, http.MethodGet, "/v1/cluster", nil, nil, &v); err != nil {
		return err
	}
	var wrong []error
	for i := range v.Nodes {
		n := &v.Nodes[i]
		if err := r.at(ctx, target, n, std, f); err != nil {
			wrong = append(wrong, fmt.Errorf("node %s: %w", ctl.TerminalSafe(n.Node), err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(wrong...)
}

// at has one node of a cluster rebuild.
func (r rebuilding) at(ctx context.Context, target ctl.Target, n *cluster.NodeView, std streams, f func(projector.RebuildResult) error) error {
	if n.State == cluster.StateSilent {
		return errors.New("it is silent, and was not asked")
	}
	result, err := r.run(ctx, target, n.Node, std)
	if err != nil {
		return err
	}
	if result.Node != n.Node {
		return fmt.Errorf("the answer is of node %q", ctl.TerminalSafe(result.Node))
	}
	return f(result)
}

// run has the running server rebuild, or another node of its cluster, or does it itself on a
// stopped server's data.
func (r rebuilding) run(ctx context.Context, target ctl.Target, node string, std streams) (projector.RebuildResult, error) {
	label := r.name
	if node != "" {
		label += " " + ctl.TerminalSafe(node)
	}
	bar := progress.New(std.err, progress.Options{Label: label, Unit: "entries", Quiet: r.quiet})
	defer bar.Close()
	o := r.options
	o.Progress = func(p projector.Progress) {
		bar.SetTotal(int64(p.Total))
		bar.Set(int64(p.Entries))
	}
	if target.Stopped() {
		result, err := rebuildData(ctx, target.Data, r.from, o, std.err)
		if !errors.Is(err, runtime.ErrInUse) {
			return result, err
		}
		// A server has the data open: ask it, with the key that is stored there.
		result, err = rebuildRunning(ctx, target, r.name, node, r.from, o)
		if err != nil {
			err = fmt.Errorf("a server has %s open; if it is another one, --server says where it listens: %w", target.Data, err)
		}
		return result, err
	}
	return rebuildRunning(ctx, target, r.name, node, r.from, o)
}

// rebuildRunning has the running server rebuild, or another node of its cluster.
func rebuildRunning(ctx context.Context, target ctl.Target, name, node string, from source, o projector.RebuildOptions) (projector.RebuildResult, error) {
	client, err := target.Client()
	if err != nil {
		return projector.RebuildResult{}, err
	}
	query := url.Values{"from": {from.From}}
	if o.Projection != "" {
		query.Set("projection", o.Projection)
	}
	if node != "" {
		query.Set("node", node)
	}
	return client.Rebuild(ctx, name, query, o.Progress)
}

// rebuildData works on the data directory of a stopped server.
func rebuildData(ctx context.Context, data string, from source, o projector.RebuildOptions, stderr io.Writer) (result projector.RebuildResult, err error) {
	logger := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	core, err := runtime.OpenStopped(ctx, data, from.ClickHouse, logger)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, core.Close(context.WithoutCancel(ctx))) }()
	if from.From == "archive" {
		if core.Archive == nil {
			return result, errors.New("--from archive on a stopped server's data needs --clickhouse")
		}
		o.Archive = core.Archive
	}
	if from.From == "snapshot" {
		if o.Snapshots, err = core.Snapshots(ctx); err != nil {
			return result, err
		}
	}
	// After a crash the state is older than the log. What is compared is the state that a start
	// would reach.
	caughtUp, err := core.Projector.CatchUp(ctx)
	if err != nil && !((o.Archive != nil || o.Snapshots != nil) && errors.Is(err, projector.ErrNeedsArchive)) {
		return result, err
	}
	o.Heads = core.KnownHeads
	result, err = core.Projector.Rebuild(ctx, o)
	result.CaughtUp = caughtUp
	if err == nil && !o.Switch {
		result.Log, err = core.ProveLog(ctx)
	}
	return result, err
}

func report(w io.Writer, r projector.RebuildResult, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	if r.Node != "" {
		if _, err := fmt.Fprintf(w, "the state of node %s\n", ctl.TerminalSafe(r.Node)); err != nil {
			return err
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "partition\tposition\tkeys\tlive\treplayed\thead of the log")
	for _, p := range r.Partitions {
		if p.Live == "" {
			p.Live = "cut off from the log"
		}
		fmt.Fprintln(t, columns(p.Partition, p.Position, p.Keys, p.Live, p.Replayed, p.Tree.Root))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, p := range r.Partitions {
		if p.After == 0 {
			continue
		}
		if _, err := fmt.Fprintf(w, "partition %d: entries %d to %d were folded, onto a snapshot that was compared with its digest\n", p.Partition, p.After+1, p.Position); err != nil {
			return err
		}
	}
	if len(r.Elsewhere) > 0 {
		if _, err := fmt.Fprintf(w, "partitions that other nodes have, which prove them: %v\n", r.Elsewhere); err != nil {
			return err
		}
	}
	verdict := "equal"
	if !r.Equal {
		verdict = "DIFFERENT"
	}
	if r.Switched {
		verdict += "; the rebuilt state is the live one now"
	}
	if r.CaughtUp > 0 {
		if _, err := fmt.Fprintf(w, "%d events that the state lacked were folded into it first\n", r.CaughtUp); err != nil {
			return err
		}
	}
	took := time.Duration(r.Seconds * float64(time.Second)).Round(time.Millisecond)
	if r.Log != nil {
		if err := reportLog(w, r.Log.Streams, r.Log.Findings); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%d events in %s, %s events/s: %s\n", r.Events, took, progress.Count(r.EventsPerS), verdict)
	for _, p := range r.Partitions {
		if h := p.Rewritten; h != nil && err == nil {
			_, err = fmt.Fprintf(w, "partition %d, THE LOG WAS REWRITTEN: the head of entries %d to %d was %v, by what was signed or witnessed\n",
				p.Partition, h.Base+1, h.Position(), h.Root)
		}
		if d := p.Difference; d != nil && err == nil {
			_, err = fmt.Fprintf(w, "partition %d, first difference: %s: %s\n  live     %s\n  replayed %s\n",
				p.Partition, ctl.TerminalSafe(d.Key), ctl.TerminalSafe(d.What), ctl.TerminalSafe(d.Live), ctl.TerminalSafe(d.Replayed))
		}
	}
	return err
}

// reportLog says what part of the log its own checksums prove.
func reportLog(w io.Writer, streams []eventlog.StreamFiles, findings []eventlog.Finding) (err error) {
	if len(streams) == 0 {
		_, err = fmt.Fprintln(w, "log: in a NATS cluster, whose files were not read")
		return err
	}
	for _, s := range streams {
		_, err = fmt.Fprintf(w, "log: %s: entries %d to %d, %s bytes read from the disk against their checksums\n",
			ctl.TerminalSafe(s.Stream), s.First, s.Last, progress.Count(float64(s.Bytes)))
	}
	for _, f := range findings {
		_, err = fmt.Fprintf(w, "PROBLEM %s\n", ctl.TerminalSafe(f.String()))
	}
	return err
}
