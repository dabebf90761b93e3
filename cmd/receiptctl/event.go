package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/schema/client"
)

// eventCommand sends an event.
type eventCommand struct {
	inApp
	Type   string   `arg:"" placeholder:"TYPE" help:"What happened, such as message.read; or the event as JSON; or - to read that from standard input."`
	Fields []string `arg:"" optional:"" placeholder:"FIELD=VALUE" help:"The fields of the event."`
	JSON   bool     `name:"json" help:"Print the server's answer as it is."`
}

// Help is the long description of the command.
func (eventCommand) Help() string {
	return `For example: receiptctl event message.read message=m1 user=bob group=g1 content='on it'

Types and their fields ("group or peer" names the conversation, peer being the other user of a
single chat):

  message.sent       id, from, group or peer, receipt, silent, label
  message.delivered  message, user, peer
  message.read       message or messages, user, group or peer, content
  conversation.read  user, group or peer, upto
  message.recalled   message, user, group or peer
  conversation.marked_unread  user, group or peer
  group.created      group, owner, members, admins
  group.joined       group, user
  group.left         group, user
  group.role         group, user, role
  group.dissolved    group

Each may have time and event_id; receipts also strict. receipt, silent and strict need no value.
members, admins and messages are ids with commas between them; FIELD:=JSON gives any value as JSON.

Prints what the rules made of it: applied, duplicate (all was so already), parked (waits for its
message) or rejected with the reason. Exits with 0 if it was applied or a duplicate, with 3 if it
was rejected and with 4 if it is parked.`
}

// Exit codes of event, beside those of all commands.
const (
	exitRejected exitCode = 3
	exitParked   exitCode = 4
)

// exitCode ends the program with this code, when all has been said.
type exitCode int

// Error is of no use to anybody.
func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// written is an event that was given by its type and fields, or the JSON that was given in place of
// the type.
func written(kind string, args []string) (json.RawMessage, error) {
	text := []byte(kind)
	if kind == "-" {
		var err error
		if text, err = io.ReadAll(io.LimitReader(os.Stdin, events.MaxBatchBytes)); err != nil {
			return nil, fmt.Errorf("read the event: %w", err)
		}
	} else if !strings.HasPrefix(kind, "{") && !strings.HasPrefix(kind, "[") {
		event, err := fields(args, eventValue)
		if err != nil {
			return nil, err
		}
		event["type"] = kind
		return json.Marshal(event)
	}
	if len(args) > 0 {
		return nil, config.Problem{Setting: "event", Reason: "is JSON, and has its fields in it"}
	}
	if text = bytes.TrimSpace(text); !json.Valid(text) {
		return nil, config.Problem{Setting: "event", Reason: "is not JSON"}
	}
	return text, nil
}

// Run sends it and prints its outcome.
func (c eventCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	body, err := written(c.Type, c.Fields)
	if err != nil {
		return err
	}
	q := c.of("POST", c.JSON, "events")
	q.query, q.in = queryOf("wait", "applied"), body
	answer, err := ask(ctx, target, std, q, printOutcomes)
	if err != nil {
		return err
	}
	code := exitCode(exitOK)
	for _, x := range answer.Outcomes {
		switch x.Outcome {
		case "rejected":
			code = exitRejected
		case "parked":
			if code == exitOK {
				code = exitParked
			}
		}
	}
	if code != exitOK {
		return code
	}
	return nil
}

func printOutcomes(w io.Writer, answer *client.Accepted) (err error) {
	for _, x := range answer.Outcomes {
		switch {
		case err != nil:
		case x.Outcome == "rejected":
			_, err = fmt.Fprintf(w, "rejected: %s (%d)\n", ctl.TerminalSafe(x.Reason), x.Code)
		case x.Outcome == "parked":
			_, err = fmt.Fprintln(w, "parked: it waits for its message")
		default:
			_, err = fmt.Fprintln(w, ctl.TerminalSafe(string(x.Outcome)))
		}
	}
	return err
}
