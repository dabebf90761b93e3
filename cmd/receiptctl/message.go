package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"

	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/schema/client"
)

// messageCommands are what concerns messages.
type messageCommands struct {
	Show messageShowCommand `cmd:"" help:"Print a message and its counts."`
	List messageListCommand `cmd:"" help:"Print the messages of a group, newest first."`
}

// messageShowCommand prints a message.
type messageShowCommand struct {
	inApp
	inConversation
	ID   string `arg:"" placeholder:"ID" help:"The message."`
	JSON bool   `name:"json" help:"Print the server's answer as it is."`
}

// Help is the long description of the command.
func (messageShowCommand) Help() string { return `For example: receiptctl message show m1` }

// Run asks and prints.
func (c messageShowCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	q := c.of("GET", c.JSON, "messages", c.ID)
	q.query = c.query()
	_, err := ask(ctx, target, std, q, func(w io.Writer, m *client.Message) error {
		rows := []string{columns("from", m.From), columns("to", m.Group+m.To), columns("sent", m.SentAt)}
		if m.Group == "" { // groups have no delivery receipts: the number would be that of reads
			rows = append(rows, columns("delivered", fmt.Sprintf("to %d of %d", m.Delivered, m.Eligible)))
		}
		return table(w, columns("message", m.ID), append(rows,
			columns("read", fmt.Sprintf("by %d of %d%s", m.Read, m.Eligible, uncounted(m))),
			columns("first read", m.FirstReadAt), columns("last read", m.LastReadAt),
		))
	})
	return err
}

// uncounted says why nobody is counted.
func uncounted(m *client.Message) string {
	switch {
	case m.Recalled:
		return ": it was recalled"
	case m.Group == "" || m.Eligible > 0:
		return ""
	case m.ReceiptRequested:
		return ": the group was too large for receipts"
	}
	return ": it asked for no receipts"
}

// messageListCommand prints the messages of a group.
type messageListCommand struct {
	inApp
	In    string `arg:"" name:"group" placeholder:"GROUP" help:"The group."`
	Limit int    `default:"20" placeholder:"N" help:"How many; at most 1000."`
	JSON  bool   `name:"json" help:"Print the server's answer as it is."`
}

// Help is the long description of the command.
func (messageListCommand) Help() string {
	return `For example: receiptctl message list team --limit 50

Messages that were recalled are not in it.`
}

// Run asks and prints.
func (c messageListCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	q := c.of("GET", c.JSON, "groups", c.In, "messages")
	q.query = queryOf("limit", strconv.Itoa(c.Limit))
	_, err := ask(ctx, target, std, q, func(w io.Writer, answer *client.GetGroupMessagesAnswer) error {
		var rows []string
		for _, m := range answer.Messages {
			rows = append(rows, columns(m.SentAt, m.ID, m.From, fmt.Sprintf("by %d of %d", m.Read, m.Eligible), m.LastReadAt))
		}
		if err := table(w, "SENT\tMESSAGE\tFROM\tREAD\tLAST READ", rows); err != nil || answer.NextCursor == "" {
			return err
		}
		fmt.Fprintln(w, "there are older ones: --limit says how many")
		return nil
	})
	return err
}

// readersCommand prints who has read a message and who has not.
type readersCommand struct {
	inApp
	inConversation
	ID    string `arg:"" placeholder:"ID" help:"The message."`
	Limit int    `default:"100" placeholder:"N" help:"How many of each; at most 1000."`
	JSON  bool   `name:"json" help:"Print the server's two answers as one JSON object: readers and nonreaders."`
}

// Help is the long description of the command.
func (readersCommand) Help() string {
	return `For example: receiptctl readers m1

Prints who has read the message, in the order of reading, and who could and has not.`
}

// Run asks and prints.
func (c readersCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	silent := streams{io.Discard, std.err}
	var both struct {
		Readers    json.RawMessage `json:"readers"`
		NonReaders json.RawMessage `json:"nonreaders"`
	}
	for below, answer := range map[string]*json.RawMessage{"readers": &both.Readers, "nonreaders": &both.NonReaders} {
		q := c.of("GET", true, "messages", c.ID, below)
		q.query = queryOf("limit", strconv.Itoa(c.Limit))
		maps.Copy(q.query, c.query())
		var err error
		if *answer, err = ask[json.RawMessage](ctx, target, silent, q, nil); err != nil {
			return err
		}
	}
	if c.JSON {
		return json.NewEncoder(std.out).Encode(both)
	}
	var readers client.Readers
	var others client.NonReaders
	if err := json.Unmarshal(both.Readers, &readers); err != nil {
		return fmt.Errorf("decode the answer: %w", err)
	}
	if err := json.Unmarshal(both.NonReaders, &others); err != nil {
		return fmt.Errorf("decode the answer: %w", err)
	}
	return printReaders(std.out, &readers, &others)
}

func printReaders(w io.Writer, readers *client.Readers, others *client.NonReaders) error {
	fmt.Fprintf(w, "%d have read it%s\n", readers.Total, more(readers.Total, len(readers.Readers)))
	if len(readers.Readers) > 0 {
		var rows []string
		for _, r := range readers.Readers {
			rows = append(rows, columns(r.User, r.ReadAt, r.Content))
		}
		if err := table(w, "USER\tREAD\tCONTENT", rows); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%d have not%s: %s\n", others.Total, more(others.Total, len(others.Users)), ctl.TerminalSafe(strings.Join(others.Users, ", ")))
	return err
}

// more says that not all are printed.
func more(total, printed int) string {
	if printed >= total {
		return ""
	}
	return fmt.Sprintf(", %d of them here", printed)
}
