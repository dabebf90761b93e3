package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/internal/progress"
	"github.com/receiptd/receiptd/schema/client"
)

const (
	// What a request of an import has at most. Lines that name many messages count for as many.
	importEvents = 2000
	importBytes  = 2 << 20
	// importTold is how many lines that were wrong are told one by one.
	importTold = 20
	// importPatience bounds how long a request is sent again while the server has no time for it.
	importPatience = 5 * time.Minute
)

// importCommand pours history into an app.
type importCommand struct {
	inApp
	File   string `arg:"" placeholder:"FILE" help:"Events as lines of JSON, in the order of time; - reads standard input."`
	From   int    `name:"from-line" default:"1" placeholder:"N" help:"Begin with this line, where an import was interrupted."`
	DryRun bool   `name:"dry-run" help:"Check the lines, their times and their order, and send nothing."`
	JSON   bool   `name:"json" help:"Print the result as one JSON object, and nothing else."`
}

// Help is the long description of the command.
func (importCommand) Help() string {
	return `For example: receiptctl import history.ndjson --app acme/chat --dry-run

Pours what happened in another system into an app. Each line is an event as for POST …/events, with
the "time" at which it happened:

  {"type":"group.created","group":"g1","owner":"ann","members":["ben"],"time":"2021-05-01T08:00:00Z"}
  {"type":"message.sent","id":"m1","from":"ann","group":"g1","receipt":true,"time":"2021-05-01T08:30:00Z"}
  {"type":"message.read","message":"m1","user":"ben","group":"g1","time":"2021-05-01T08:31:12Z"}

All is decided by these times, and nobody is told of it. Within a conversation they must not go
back. Import before the first live event of a conversation; docs/rules.md, "Imported events", says
what happens otherwise.

A line that is malformed ends the import; what the rules reject is told and passed over. An import
that was interrupted says with which line to go on. Lines that are sent twice have no effect:
requests name their events by what is in them.

Exits with 0 if all was imported, with 3 if lines were rejected.`
}

// importResult is what became of an import.
type importResult struct {
	Lines    int            `json:"lines"`
	Events   int            `json:"events"`
	Outcomes map[string]int `json:"outcomes,omitempty"`
	Rejected []rejectedLine `json:"rejected,omitempty"`
	Seconds  float64        `json:"seconds"`
}

type rejectedLine struct {
	Line   int    `json:"line"`
	Code   int    `json:"code,omitempty"`
	Reason string `json:"reason"`
}

// importer is an import on its way.
type importer struct {
	command importCommand
	client  *ctl.Client
	path    string
	decoder events.Decoder
	last    map[events.Conversation]int64 // the last time of each conversation, of a dry run
	now     int64

	// The request being gathered: its lines, and the line of each of its events.
	body   bytes.Buffer
	lines  []int
	result importResult
}

// Run imports and prints.
func (c importCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	if c.From < 1 {
		return config.Problem{Setting: "from-line", Reason: "is not the number of a line"}
	}
	path, err := ctl.AppPath(c.App)
	if err != nil {
		return err
	}
	from, size := io.Reader(os.Stdin), int64(0)
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return config.Problem{Setting: "FILE", Reason: err.Error()}
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil {
			size = info.Size()
		}
		from = f
	}
	m := &importer{command: c, path: path + "/import", last: map[events.Conversation]int64{}, now: time.Now().UnixMilli()}
	m.result.Outcomes = map[string]int{}
	if !c.DryRun {
		if m.client, err = target.Client(); err != nil {
			return err
		}
	}
	bar := progress.New(std.err, progress.Options{Label: "import", Unit: "bytes", Total: size, Quiet: c.JSON})
	defer bar.Close()
	began := time.Now()
	err = m.all(ctx, from, func(done int64) { bar.Set(done) })
	bar.Close()
	m.result.Seconds = time.Since(began).Seconds()
	if err != nil {
		return explain(err)
	}
	if err := show(std.out, c.JSON, &m.result, m.print); err != nil {
		return err
	}
	if m.result.Outcomes["rejected"] > 0 || c.DryRun && len(m.result.Rejected) > 0 {
		return exitRejected
	}
	return nil
}

// all takes the lines of a file.
func (m *importer) all(ctx context.Context, from io.Reader, report func(done int64)) error {
	in := bufio.NewScanner(from)
	in.Buffer(nil, events.MaxBatchBytes)
	done := int64(0)
	for n := 1; in.Scan(); n++ {
		done += int64(len(in.Bytes())) + 1
		if n < m.command.From || len(bytes.TrimSpace(in.Bytes())) == 0 {
			continue
		}
		if err := m.add(ctx, n, in.Bytes()); err != nil {
			return err
		}
		report(done)
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("read %s after line %d: %w", m.command.File, m.result.Lines, err)
	}
	return m.send(ctx)
}

// add takes a line.
func (m *importer) add(ctx context.Context, n int, line []byte) error {
	width := 0
	var wrong string
	err := m.decoder.Decode(line, events.FormatNDJSON, func(_ int, e *events.Event) error {
		width++
		wrong = m.problem(e)
		return nil
	})
	if bad, ok := errors.AsType[*events.EventError](err); ok {
		wrong = bad.Problem
		if bad.Field != "" {
			wrong = bad.Field + ": " + wrong
		}
	} else if err != nil {
		return fmt.Errorf("line %d: %w", n, err)
	}
	if wrong != "" && !m.command.DryRun {
		return errors.Join(m.send(ctx), fmt.Errorf("line %d: %s; what is above it is imported, go on with --from-line %d", n, wrong, n))
	}
	if wrong != "" {
		m.reject(rejectedLine{Line: n, Reason: wrong})
	}
	if len(m.lines) > 0 && (len(m.lines)+width > importEvents || m.body.Len()+len(line) >= importBytes) {
		if err := m.send(ctx); err != nil {
			return err
		}
	}
	m.body.Write(line)
	m.body.WriteByte('\n')
	m.lines = append(m.lines, slices.Repeat([]int{n}, width)...)
	m.result.Lines++
	m.result.Events += width
	return nil
}

// problem says what is wrong with the time of an event. The order is the server's business, which
// knows what was imported before; a dry run looks at the file alone.
func (m *importer) problem(e *events.Event) string {
	switch {
	case e.Time == 0:
		return "time: missing: an imported event says when it happened"
	case e.Time > m.now:
		return "time: has not come yet"
	case !m.command.DryRun:
		return ""
	}
	c := events.Conversation{Group: strings.Clone(e.Group)}
	if e.Group == "" {
		c = events.SingleChat("", strings.Clone(e.User), strings.Clone(e.Peer))
	}
	if before := m.last[c]; e.Time < before {
		return "time: before " + string(events.AppendTime(nil, before)) + ", of an event of the same conversation above it"
	}
	m.last[c] = e.Time
	return ""
}

func (m *importer) reject(r rejectedLine) {
	if len(m.result.Rejected) < importTold || m.command.JSON {
		m.result.Rejected = append(m.result.Rejected, r)
	}
}

// send sends what was gathered, again and again while the server has no time for it.
func (m *importer) send(ctx context.Context) error {
	defer func() {
		m.body.Reset()
		m.lines = m.lines[:0]
	}()
	if len(m.lines) == 0 || m.command.DryRun {
		return nil
	}
	sum := sha256.Sum256(m.body.Bytes())
	var answer client.Accepted
	try := func() error {
		err := m.client.PostEvents(ctx, m.path, queryOf("wait", "applied"), "import-"+hex.EncodeToString(sum[:16]), m.body.Bytes(), &answer)
		var told *ctl.Error
		if errors.As(err, &told) && !told.Temporary() || ctx.Err() != nil {
			return backoff.Permanent(err)
		}
		return err
	}
	wait := backoff.NewExponentialBackOff(backoff.WithMaxElapsedTime(importPatience))
	if err := backoff.Retry(try, backoff.WithContext(wait, ctx)); err != nil {
		return fmt.Errorf("lines %d to %d: %w; go on with --from-line %d", m.lines[0], m.lines[len(m.lines)-1], err, m.lines[0])
	}
	for i, x := range answer.Outcomes {
		m.result.Outcomes[string(x.Outcome)]++
		if x.Outcome == "rejected" {
			m.reject(rejectedLine{Line: m.lines[min(i, len(m.lines)-1)], Code: x.Code, Reason: x.Reason})
		}
	}
	return nil
}

func (m *importer) print(w io.Writer, r *importResult) error {
	for _, x := range r.Rejected {
		fmt.Fprintf(w, "line %d: %s\n", x.Line, x.Reason)
	}
	if more := r.Outcomes["rejected"] - len(r.Rejected); more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
	var parts []string
	for _, outcome := range slices.Sorted(maps.Keys(r.Outcomes)) {
		parts = append(parts, fmt.Sprintf("%d %s", r.Outcomes[outcome], outcome))
	}
	what := "imported: " + strings.Join(parts, ", ")
	if m.command.DryRun {
		what = "nothing was sent"
	}
	_, err := fmt.Fprintf(w, "%d lines, %d events in %s; %s\n", r.Lines, r.Events, time.Duration(r.Seconds*float64(time.Second)).Round(10*time.Millisecond), what)
	return err
}
