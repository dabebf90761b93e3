package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/receiptd/receiptd/internal/ctl"
)

// poisonCommand lists dead letters: what NATS clients published without effect.
type poisonCommand struct {
	JSON bool `name:"json" help:"Print the server's answer as it is."`
}

// Help is the long description of the command.
func (poisonCommand) Help() string {
	return `Events that are published to receipts.in.… are stored before anybody looks at them. This lists the
latest of those that had no effect, since they are no events, do not fit their subject, or are of an
app that does not exist (these since the server's start), with what was published. A request to
receipts.submit.… would have been refused with the same reason.`
}

// deadLetter is an entry of a NATS client that had no effect.
type deadLetter struct {
	Partition int    `json:"partition"`
	Sequence  uint64 `json:"sequence"`
	Time      string `json:"time"`
	Reason    string `json:"reason"`
	Subject   string `json:"subject"`
	Data      string `json:"data"`
	Bytes     []byte `json:"bytes"`
}

// Run asks and prints.
func (c poisonCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	client, err := target.Client()
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := client.Call(ctx, "GET", "/v1/admin/poison", nil, nil, &raw); err != nil {
		return err
	}
	if c.JSON {
		_, err = fmt.Fprintf(std.out, "%s\n", raw)
		return err
	}
	var answer struct {
		Total      uint64       `json:"total"`
		Latest     []deadLetter `json:"latest"`
		UnknownApp struct {
			Total  uint64       `json:"total"`
			Latest []deadLetter `json:"latest"`
		} `json:"unknown_app"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return fmt.Errorf("decode the answer: %w", err)
	}
	fmt.Fprintf(std.out, "entries that are no events: %d; events of apps that do not exist: %d\n", answer.Total, answer.UnknownApp.Total)
	return printDeadLetters(std.out, append(answer.Latest, answer.UnknownApp.Latest...))
}

func printDeadLetters(w io.Writer, list []deadLetter) error {
	if len(list) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TIME\tPOSITION\tREASON\tSUBJECT\tDATA")
	for _, x := range list {
		data := ctl.TerminalSafe(x.Data)
		if x.Bytes != nil {
			data = fmt.Sprintf("%q", x.Bytes)
		}
		fmt.Fprintf(t, "%s\t%d:%d\t%s\t%s\t%s\n", ctl.TerminalSafe(x.Time), x.Partition, x.Sequence, ctl.TerminalSafe(x.Reason), ctl.TerminalSafe(x.Subject), data)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
