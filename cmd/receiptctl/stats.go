package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/schema/client"
)

// statsCommand prints how much was read.
type statsCommand struct {
	inApp
	AllApps bool   `name:"all-apps" help:"Ask about all apps in place of one."`
	GroupBy string `name:"group-by" placeholder:"WHAT" help:"What a row stands for: hour, day, week, weekday_hour, group, sender, label or app; with ClickHouse also message or reader. Of all apps app or what is a time. Empty: hour, and app of all apps."`
	Since   string `default:"24h" placeholder:"WHEN" help:"Messages sent since then: a duration back from now, or a time."`
	Until   string `placeholder:"WHEN" help:"Messages sent until then. Empty: now."`
	Group   string `placeholder:"ID" help:"Only messages of this group."`
	Sender  string `placeholder:"ID" help:"Only messages of this sender."`
	Label   string `placeholder:"TEXT" help:"Only messages with this label."`
	Zone    string `name:"tz" placeholder:"ZONE" help:"Time zone of days, weeks and hours, such as Asia/Kolkata. Empty: UTC."`
	Limit   int    `default:"100" placeholder:"N" help:"How many rows."`
	JSON    bool   `name:"json" xor:"format" help:"Print the server's answer as it is; at most 1000 rows."`
	CSV     bool   `name:"csv" xor:"format" help:"Print a table as CSV."`
	NDJSON  bool   `name:"ndjson" xor:"format" help:"Print a JSON object for each row."`
}

// Help is the long description of the command.
func (statsCommand) Help() string {
	return `For example: receiptctl stats --group-by group --since 168h

Of the messages that asked for receipts, sent in each hour or day, in each group or by each sender:
how many there were, how many could read them, how many have, how soon half and nine tenths of these
had, and how soon half of all who could; - says that it is not so yet. With --all-apps it is about
all apps, whose rows stand for apps or times.`
}

// Validate finds what is wrong with the flags.
func (c statsCommand) Validate() error {
	if !c.AllApps {
		return c.inApp.Validate()
	}
	for setting, value := range map[string]string{"group": c.Group, "sender": c.Sender, "label": c.Label} {
		if value != "" {
			return config.Problem{Setting: setting, Reason: "names something in one app: not beside --all-apps"}
		}
	}
	return nil
}

// question is what the server is asked, without a limit.
func (c statsCommand) question() question {
	q, by := c.of("GET", c.JSON, "analytics", "read-rate"), c.GroupBy
	if c.AllApps {
		q.path, by = "/v1/analytics/read-rate", cmp.Or(by, "app")
	}
	now := time.Now()
	q.query = queryOf("group_by", cmp.Or(by, "hour"), "from", moment(c.Since, now), "to", moment(c.Until, now),
		"group", c.Group, "sender", c.Sender, "label", c.Label, "tz", c.Zone)
	return q
}

// Run asks and prints.
func (c statsCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	switch {
	case c.CSV:
		return c.lines(ctx, target, std, "text/csv")
	case c.NDJSON:
		return c.lines(ctx, target, std, "application/x-ndjson")
	}
	const page = 1000 // rows are at most in an answer
	var rows []string
	q := c.question()
	for {
		q.query.Set("limit", strconv.Itoa(min(c.Limit-len(rows), page)))
		answer, err := ask(ctx, target, std, q, func(_ io.Writer, answer *client.ReadRates) error {
			for _, r := range answer.Rows {
				rows = append(rows, columns(r.Key, r.Messages, r.Eligible, r.Read, fmt.Sprintf("%.1f %%", 100*r.ReadRate), soon(r.P50Ms), soon(r.P90Ms), soon(r.RecipientsP50Ms)))
			}
			return nil
		})
		if err != nil || c.JSON {
			return err
		}
		if answer.NextCursor == "" || len(rows) >= c.Limit || len(answer.Rows) == 0 {
			if err := table(std.out, strings.ToUpper(q.query.Get("group_by"))+"\tMESSAGES\tCOULD READ\tHAVE READ\tRATE\tHALF OF THESE IN\tNINE TENTHS IN\tHALF OF ALL IN", rows); err != nil {
				return err
			}
			c.tellMore(std, len(rows), answer.Total)
			return nil
		}
		q.query.Set("cursor", answer.NextCursor)
	}
}

// lines prints rows in a format of lines.
func (c statsCommand) lines(ctx context.Context, target ctl.Target, std streams, mediaType string) error {
	server, err := target.Client()
	if err != nil {
		return err
	}
	const page = 100_000 // rows are at most in an answer
	q := c.question()
	for rows := (rowWriter{w: std.out, headed: c.CSV}); ; rows.next() {
		before := rows.n
		q.query.Set("limit", strconv.Itoa(min(c.Limit-before, page)))
		header, err := server.Lines(ctx, q.path, q.query, mediaType, &rows)
		if err != nil {
			return explain(err)
		}
		total, _ := strconv.Atoi(header.Get("X-Total"))
		next := header.Get("X-Next-Cursor")
		if next == "" || rows.n >= c.Limit || rows.n == before {
			c.tellMore(std, rows.n, total)
			return nil
		}
		q.query.Set("cursor", next)
	}
}

// tellMore says how many rows there are beside those that were printed.
func (c statsCommand) tellMore(std streams, printed, total int) {
	if printed < total {
		fmt.Fprintf(std.err, "%d of %d rows: --limit says how many\n", printed, total)
	}
}

// rowWriter writes the lines of several answers as those of one, and counts the rows. Of answers
// with a header only the first one's is written.
type rowWriter struct {
	w      io.Writer
	headed bool // the first line is a header
	past   bool // it was written
	begun  bool // this answer's first line is over
	n      int  // rows
}

// next is called between answers.
func (r *rowWriter) next() { r.past, r.begun = true, false }

func (r *rowWriter) Write(b []byte) (int, error) {
	size := len(b)
	if r.headed && !r.begun {
		end := bytes.IndexByte(b, '\n') + 1
		if r.begun = end > 0; !r.begun {
			end = len(b)
		}
		if !r.past {
			if n, err := r.w.Write(b[:end]); err != nil {
				return n, err
			}
		}
		b = b[end:]
	}
	r.n += bytes.Count(b, []byte("\n"))
	n, err := r.w.Write(b)
	return size - len(b) + n, err
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
