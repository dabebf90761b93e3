package main

import (
	"context"
	"fmt"
	"io"

	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/schema/client"
)

// tokenCommand makes a token of a user.
type tokenCommand struct {
	inApp
	User string `arg:"" placeholder:"USER" help:"Whom the token is for."`
	TTL  string `name:"ttl" placeholder:"DURATION" help:"How long it is good; 24h if nothing is said, 2160h at most."`
	JSON bool   `name:"json" help:"Print the server's answer as it is."`
}

// Help is the long description of the command.
func (tokenCommand) Help() string {
	return `For example: receiptctl token bob --ttl 1h

Prints a token with which bob, and nobody else, may be asked about and reported for: a client app
sends it as Authorization: Bearer TOKEN.`
}

// Run asks and prints.
func (c tokenCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	q := c.of("POST", c.JSON, "users", c.User, "tokens")
	in := map[string]string{}
	if c.TTL != "" {
		in["ttl"] = c.TTL
	}
	q.in = in
	_, err := ask(ctx, target, std, q, func(w io.Writer, answer *client.PostTokenAnswer) error {
		_, err := fmt.Fprintln(w, ctl.TerminalSafe(answer.Token))
		return err
	})
	return err
}
