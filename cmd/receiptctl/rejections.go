package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/schema/client"
)

// rejectionsCommand lists the latest events of an app that broke a rule.
type rejectionsCommand struct {
	Of string `arg:"" optional:"" placeholder:"ORG/APP" help:"The app, unless --app says it."`
	inApp
	Limit int  `default:"20" placeholder:"N" help:"How many, newest first; at most 200."`
	JSON  bool `name:"json" help:"Print the server's answer as it is."`
}

// Help is the long description of the command.
func (rejectionsCommand) Help() string {
	return `Events are stored when they are answered, and the rules are applied afterwards: an event
that breaks one is rejected. This lists the latest, with the reason; docs/ingress.md has a table of
all reasons. --wait=applied and the header Receiptd-Wait tell a producer at once.`
}

// Validate finds what is wrong with the arguments.
func (c rejectionsCommand) Validate() error { return c.app().Validate() }

func (c rejectionsCommand) app() inApp { return inApp{cmp.Or(c.Of, c.App)} }

// Run asks and prints.
func (c rejectionsCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	q := c.app().of("GET", c.JSON, "rejections")
	q.query = queryOf("limit", strconv.Itoa(c.Limit))
	_, err := ask(ctx, target, std, q, func(w io.Writer, answer *client.GetRejectionsAnswer) error {
		var rows []string
		for _, x := range answer.Rejections {
			rows = append(rows, columns(x.At, fmt.Sprintf("%d:%d", x.Partition, x.Sequence), x.Type, x.Group+x.Peer, x.User, x.Message, x.Code, x.Reason))
		}
		if err := table(w, "TIME\tPOSITION\tTYPE\tCONVERSATION\tUSER\tMESSAGE\tCODE\tREASON", rows); err != nil || len(rows) < c.Limit {
			return err
		}
		fmt.Fprintln(w, "there may be older ones: --limit says how many")
		return nil
	})
	return err
}
