package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/receiptd/receiptd/internal/ctl"
)

// statsCommand prints how much was read.
type statsCommand struct {
	inApp
	GroupBy string `name:"group-by" default:"hour" placeholder:"WHAT" help:"What a row stands for: hour, day, group, sender, label or app; with ClickHouse also week, weekday_hour, message or reader."`
	Since   string `default:"24h" placeholder:"WHEN" help:"Messages sent since then: a duration back from now, or a time."`
	Until   string `placeholder:"WHEN" help:"Messages sent until then. Empty: now."`
	Group   string `placeholder:"ID" help:"Only messages of this group."`
	Sender  string `placeholder:"ID" help:"Only messages of this sender."`
	Label   string `placeholder:"TEXT" help:"Only messages with this label."`
	Zone    string `name:"tz" placeholder:"ZONE" help:"Time zone of days, weeks and hours, such as Asia/Kolkata. Empty: UTC."`
	Limit   int    `default:"100" placeholder:"N" help:"How many rows; at most 1000."`
	JSON    bool   `name:"json" help:"Print the server's answer as it is."`
}

// Help is the long description of the command.
func (statsCommand) Help() string {
	return `For example: receiptctl stats --group-by group --since 168h

Of the messages that asked for receipts, sent in each hour or day, in each group or by each sender: how many
there were, how many could read them, how many have, how soon half and nine tenths of these had, and how soon half of all
who could; - says that it is not so yet.`
}

type statsAnswer struct {
	Rows []struct {
		Key       string   `json:"key"`
		Messages  int      `json:"messages"`
		Eligible  int      `json:"eligible"`
		Delivered int      `json:"delivered"`
		Read      int      `json:"read"`
		ReadRate  float64  `json:"read_rate"`
		P50       *float64 `json:"p50_ms"`
		P90       *float64 `json:"p90_ms"`
		AllP50    *float64 `json:"recipients_p50_ms"`
	} `json:"rows"`
}

// Run asks and prints.
func (c statsCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	q := c.of("GET", c.JSON, "analytics", "read-rate")
	now := time.Now()
	q.query = queryOf("group_by", c.GroupBy, "from", moment(c.Since, now), "to", moment(c.Until, now),
		"group", c.Group, "sender", c.Sender, "label", c.Label, "tz", c.Zone, "limit", strconv.Itoa(c.Limit))
	_, err := ask(ctx, target, std, q, func(w io.Writer, answer *statsAnswer) error {
		var rows []string
		for _, r := range answer.Rows {
			rows = append(rows, columns(r.Key, r.Messages, r.Eligible, r.Read, fmt.Sprintf("%.1f %%", 100*r.ReadRate), soon(r.P50), soon(r.P90), soon(r.AllP50)))
		}
		return table(w, strings.ToUpper(c.GroupBy)+"\tMESSAGES\tCOULD READ\tHAVE READ\tRATE\tHALF OF THESE IN\tNINE TENTHS IN\tHALF OF ALL IN", rows)
	})
	return err
}

// moment is a time as the API takes it: a duration is that long before now.
func moment(text string, now time.Time) string {
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(-d).UTC().Format(time.RFC3339)
	}
	return text
}

// soon is a time in milliseconds for people.
func soon(ms *float64) string {
	if ms == nil {
		return "-"
	}
	d := time.Duration(*ms * float64(time.Millisecond))
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}
