package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"text/tabwriter"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/ctl"
)

// rejectionsCommand lists the latest events of an app that broke a rule.
type rejectionsCommand struct {
	App   string `arg:"" placeholder:"ORG/APP" help:"The app."`
	Limit int    `default:"20" placeholder:"N" help:"How many, newest first; at most 200."`
	JSON  bool   `name:"json" help:"Print the server's answer as it is."`
}

// Help is the long description of the command.
func (rejectionsCommand) Help() string {
	return `Events are stored when they are answered, and the rules are applied afterwards: an event
that breaks one is rejected. This lists the latest, with the reason; docs/ingress.md has a table of
all reasons. --wait=applied and the header Receiptd-Wait tell a producer at once.`
}

// Validate finds what is wrong with the arguments.
func (c rejectionsCommand) Validate() error {
	_, err := appPath(c.App)
	return err
}

// appPath is the path of an app in the API.
func appPath(app string) (string, error) {
	org, name, err := splitApp(app)
	return "/v1/apps/" + url.PathEscape(org) + "/" + url.PathEscape(name), err
}

// Run asks and prints.
func (c rejectionsCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	client, err := target.Client()
	if err != nil {
		return err
	}
	path, err := appPath(c.App)
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := client.Call(ctx, "GET", path+"/rejections", url.Values{"limit": {strconv.Itoa(c.Limit)}}, nil, &raw); err != nil {
		return err
	}
	if c.JSON {
		_, err = fmt.Fprintf(std.out, "%s\n", raw)
		return err
	}
	var answer struct {
		Rejections []struct {
			Partition int    `json:"partition"`
			Sequence  uint64 `json:"sequence"`
			At        string `json:"at"`
			Type      string `json:"type"`
			Group     string `json:"group"`
			Peer      string `json:"peer"`
			User      string `json:"user"`
			Message   string `json:"message"`
			Code      int    `json:"code"`
			Reason    string `json:"reason"`
		} `json:"rejections"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return fmt.Errorf("decode the answer: %w", err)
	}
	t := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TIME\tPOSITION\tTYPE\tCONVERSATION\tUSER\tMESSAGE\tCODE\tREASON")
	for _, x := range answer.Rejections {
		fmt.Fprintf(t, "%s\t%d:%d\t%s\t%s\t%s\t%s\t%d\t%s\n", x.At, x.Partition, x.Sequence, x.Type, x.Group+x.Peer, x.User, x.Message, x.Code, x.Reason)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

var errNoApp = config.Problem{Setting: "app", Reason: "is not ORG/APP"}
