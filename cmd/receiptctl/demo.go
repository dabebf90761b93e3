package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/internal/lab/day"
	"github.com/receiptd/receiptd/internal/progress"
)

// demoCommand pours a day of traffic into a running server.
type demoCommand struct {
	Apps     int           `default:"2" placeholder:"N" help:"How many apps, 1 to 20: demo/chat, demo/support and so on."`
	Messages int           `default:"2000" placeholder:"N" help:"How many messages in all of them, 1 to 100000. Each has some 25 events."`
	For      time.Duration `default:"30s" placeholder:"DURATION" help:"How long the day takes; 0s is as long as the server does."`
	Rate     float64       `default:"0" placeholder:"N" help:"Events a second, instead of --for, all day long the same."`
	Seed     uint64        `default:"0" placeholder:"N" help:"Makes the day come out the same again; 0 takes another one each time."`
	Existing bool          `name:"into-existing" help:"Pour into demo apps that exist: a second day, with the groups of the first."`
	JSON     bool          `name:"json" help:"Print what was sent as one JSON object, and nothing else."`
}

// Help is the long description of the command.
func (demoCommand) Help() string {
	return `For example: receiptctl demo --messages 500 --for 10s

Makes apps of its own, with groups of 3 to 240 people, and sends a day of them through the public
API: quiet nights and busy noons, bursts, quick and late readers, campaigns with a label, some who
hide their reads, recalls, receipts that come twice or too early, authors who are away and have a
summary waiting. Every event has the time of that day as its "time". Then it says where to look. An
app that exists is not touched, unless --into-existing says so.`
}

// Validate finds what is wrong with the flags, all at once.
func (c demoCommand) Validate() error {
	var problems config.Problems
	for _, x := range []struct {
		setting string
		wrong   bool
		reason  string
	}{
		{"apps", c.Apps < 1 || c.Apps > day.MaxApps, fmt.Sprintf("%d is not from 1 to %d", c.Apps, day.MaxApps)},
		{"messages", c.Messages < 1 || c.Messages > day.MaxMessages, fmt.Sprintf("%d is not from 1 to %d", c.Messages, day.MaxMessages)},
		{"for", c.For < 0, fmt.Sprintf("%s is negative", c.For)},
		{"rate", c.Rate < 0, fmt.Sprintf("%v is negative", c.Rate)},
	} {
		if x.wrong {
			problems = append(problems, config.Problem{Setting: x.setting, Reason: x.reason})
		}
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

// Run pours and prints.
func (c demoCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	client, err := target.Client()
	if err != nil {
		return err
	}
	seed := c.Seed
	for seed == 0 {
		seed = rand.Uint64N(1_000_000)
	}
	plan, err := day.New(day.Options{Apps: c.Apps, Messages: c.Messages, Seed: seed, End: time.Now()})
	if err != nil {
		return err
	}
	bar := progress.New(std.err, progress.Options{Label: "demo", Unit: "events", Quiet: c.JSON})
	defer bar.Close()
	o := day.Pouring{Server: client, For: c.For, Rate: c.Rate, Existing: c.Existing}
	o.Report = func(part float64, done int) {
		if part > 0 {
			bar.SetTotal(int64(float64(done) / part))
		}
		bar.Set(int64(done))
	}
	result, err := o.Pour(ctx, plan)
	bar.Close()
	if errors.Is(err, day.ErrExists) {
		return fmt.Errorf("%w; --into-existing pours into it all the same", err)
	}
	if err != nil {
		return explain(err)
	}
	return show(std.out, c.JSON, &result, func(w io.Writer, r *day.Result) error { return c.print(w, client, seed, r) })
}

func (c demoCommand) print(w io.Writer, server *ctl.Client, seed uint64, r *day.Result) error {
	var parts []string
	for _, outcome := range slices.Sorted(maps.Keys(r.Outcomes)) {
		parts = append(parts, fmt.Sprintf("%d %s", r.Outcomes[outcome], outcome))
	}
	fmt.Fprintf(w, "%d events in %s (%s); the same again with --seed %d\n\n",
		r.Events, time.Duration(r.Seconds*float64(time.Second)).Round(100*time.Millisecond), strings.Join(parts, ", "), seed)
	fmt.Fprintf(w, "The page: %s  (it asks for the admin key, admin.key in the server's data directory)\n", server.URL("/"))
	for _, line := range []struct{ what, command string }{
		{"How much was read in each group", "receiptctl stats --app " + r.Apps[0] + " --group-by group"},
		{"How the campaigns of the day went", "receiptctl stats --app " + r.Apps[0] + " --group-by label"},
		{"A message that many have read", "receiptctl readers --app " + r.Apps[0] + " --group " + r.Group + " " + r.Message},
		{"What the rules refused, and why", "receiptctl rejections --app " + r.Apps[0]},
	} {
		fmt.Fprintf(w, "%-35s%s\n", line.what+":", line.command)
	}
	if r.Changes > 0 {
		fmt.Fprintf(w, "Away since the evening is %s, whose summary has %d changes waiting.\n", r.Waiting, r.Changes)
	}
	return nil
}
