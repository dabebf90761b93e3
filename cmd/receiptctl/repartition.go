package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/internal/progress"
	"github.com/receiptd/receiptd/internal/runtime"
)

// repartitionCommand doubles the number of partitions of a log.
type repartitionCommand struct {
	To      int    `placeholder:"N" help:"How many partitions there are to be: the double of what there is, which is the default."`
	DryRun  bool   `help:"Only print what would be done."`
	Witness string `placeholder:"DIR" help:"Directory of the log's witness, as for receiptd, with --data. Empty: DATA/witness."`
	JSON    bool   `name:"json" help:"Print what is done as one JSON object, and nothing else."`
}

// Help is the long description of the command.
func (repartitionCommand) Help() string {
	return `Doubles the number of partitions. Each one is split in two by an entry of the log; what it
holds stays where it is, and the new partition begins with it. Only the states are rewritten. A
running server drains, does it and serves again, at the same addresses: whoever asks meanwhile finds
nobody for some seconds, and events that were acknowledged are there. With --data it is done on a
stopped server's data, and the next start splits the states. What is cut off is finished by the next
start. There is no way back but a backup, and an earlier version does not serve the log any more.
Nodes of a cluster do it together, whichever is asked: all drain, and serve again. Each of them has
to be there, and one that stands still meanwhile is fenced after 15 s: it stores nothing any more,
and begins again when it goes on.`
}

// Run repartitions, or prints what would be done.
func (r repartitionCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	plan, err := r.stopped(ctx, target, std)
	if !target.Stopped() || errors.Is(err, runtime.ErrInUse) {
		plan, err = r.running(ctx, target)
	}
	if err != nil {
		return err
	}
	if r.JSON {
		return json.NewEncoder(std.out).Encode(plan)
	}
	what := "partitions: %d, and %d before; entries in the log: %s, which stay where they are; states: %s bytes, of which each keeps its half\n"
	if r.DryRun {
		what = "partitions: %[2]d, and %[1]d afterwards; entries in the log: %[3]s, which stay where they are; states: %[4]s bytes, of which each keeps its half\n"
	}
	_, err = fmt.Fprintf(std.out, what, plan.To, plan.From, progress.Count(float64(plan.Entries)), progress.Count(float64(plan.StateBytes)))
	return err
}

// stopped works on the data of a stopped server.
func (r repartitionCommand) stopped(ctx context.Context, target ctl.Target, std streams) (plan runtime.RepartitionPlan, err error) {
	if !target.Stopped() {
		return plan, nil
	}
	logger := slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if plan, err = r.plan(ctx, target, logger); err != nil || r.DryRun {
		return plan, err
	}
	_, err = runtime.Repartition(ctx, dataConfig(target, r.Witness), plan.To, logger)
	return plan, err
}

func (r repartitionCommand) plan(ctx context.Context, target ctl.Target, logger *slog.Logger) (plan runtime.RepartitionPlan, err error) {
	core, err := runtime.OpenStopped(ctx, target.Data, "", logger)
	if err != nil {
		return plan, err
	}
	defer func() { err = errors.Join(err, core.Close(context.WithoutCancel(ctx))) }()
	return core.PlanRepartition(ctx, r.To)
}

// repartitionWait is how long a server may take to serve again.
const repartitionWait = 30 * time.Minute

// running has the running server do it, and waits until it serves again.
func (r repartitionCommand) running(ctx context.Context, target ctl.Target) (plan runtime.RepartitionPlan, err error) {
	client, err := target.Client()
	if err != nil {
		return plan, err
	}
	query := url.Values{}
	if r.To != 0 {
		query.Set("to", strconv.Itoa(r.To))
	}
	if r.DryRun {
		query.Set("dry_run", "true")
	}
	if err := client.Call(ctx, http.MethodPost, "/v1/admin/repartition", query, nil, &plan); err != nil || r.DryRun {
		return plan, err
	}
	ctx, cancel := context.WithTimeout(ctx, repartitionWait)
	defer cancel()
	for {
		var status struct {
			Partitions []struct{} `json:"partitions"`
		}
		err := client.Call(ctx, http.MethodGet, "/v1/status", nil, nil, &status)
		if err == nil && len(status.Partitions) == plan.To && client.Call(ctx, http.MethodGet, "/readyz", nil, nil, nil) == nil {
			return plan, nil
		}
		select {
		case <-time.After(200 * time.Millisecond): // the server is away for some seconds
		case <-ctx.Done():
			return plan, errors.Join(fmt.Errorf("the server does not serve %d partitions yet", plan.To), err)
		}
	}
}
