package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/schema/client"
)

// alertsCommand lists what the rules of an app found too few readers of.
type alertsCommand struct {
	inApp
	Limit int  `default:"20" placeholder:"N" help:"How many, newest first; at most 1000."`
	JSON  bool `name:"json" help:"Print the server's answer as it is."`
}

// Help is the long description of the command.
func (alertsCommand) Help() string {
	return `An app sets rules, such as

  receiptctl app configure 'alerts:=[{"name":"quiet groups","by":"group","after":"24h","read_percent_below":30}]'

Each judges the messages that a group, a sender or a label sent in one hour of UTC, so many hours
after the end of that hour. This lists where fewer have read than the rule asks for.`
}

// Run asks and prints.
func (c alertsCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	q := c.of("GET", c.JSON, "alerts")
	q.query = queryOf("limit", strconv.Itoa(c.Limit))
	_, err := ask(ctx, target, std, q, func(w io.Writer, answer *client.GetAlertsAnswer) error {
		var rows []string
		for _, x := range answer.Alerts {
			wanted := fmt.Sprintf("%d %% in %s", x.Rule.ReadPercentBelow, x.Rule.After)
			if x.Rule.MedianAbove != "" {
				wanted = "half in " + x.Rule.MedianAbove
			}
			rows = append(rows, columns(x.DueAt, x.Rule.Name, string(x.Rule.By)+" "+x.Subject, x.SentFrom, x.Messages, x.Eligible, x.Read,
				fmt.Sprintf("%.1f %%", 100*x.ReadRate), wanted))
		}
		return table(w, "DUE\tRULE\tOF\tSENT FROM\tMESSAGES\tRECIPIENTS\tREAD\tSHARE\tWANTED", rows)
	})
	return err
}
