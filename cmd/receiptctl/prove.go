package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/internal/ctl"
)

// proveCommand makes evidence, or checks it.
type proveCommand struct {
	App     string `placeholder:"ORG#APP" help:"App of the message, as org#app or org/app. Empty: the only one there is."`
	Message string `placeholder:"ID" help:"Message that was read."`
	User    string `placeholder:"ID" help:"Who has read it."`
	Group   string `placeholder:"ID" help:"Group of the message. Needed, or --users, if several conversations have a message with this id."`
	Users   string `placeholder:"ID,ID" help:"The two users of the single chat of the message."`
	Entry   bool   `help:"Put the whole entry of the log into the file, with all events in it, also those of other apps."`
	Out     string `placeholder:"FILE" help:"Where to write. Empty: standard output."`

	Check     string `placeholder:"FILE" help:"Check this file instead; takes no server."`
	Key       string `placeholder:"KEY" help:"Public key of the log, or a file with it, for --check."`
	PublicKey bool   `help:"Print the server's public key instead."`
}

// Help is the long description of the command.
func (proveCommand) Help() string {
	return `With --message and --user, and --app where the server has several: writes a file with the receipt,
its entry in the log, the path from there to a signed head of the log, and that head. Others check
it with --check and --key, without the server; a file in which any byte was changed is refused, with
exit code 1.

An entry has the receipts of many users, often of several apps. Unless the receipt is alone in it,
the file has only its hash, and a statement, signed with the same key, that the receipt is in it;
with --entry it has all of it and needs no statement.

With --public-key: prints the key. Hand it out by a way that others trust; one that comes together
with the file proves nothing.`
}

// Run makes or checks.
func (p proveCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	switch {
	case p.Check != "":
		return p.check(std.out)
	case p.PublicKey:
		return p.fetch(ctx, target, "/v1/log/key", nil, std.out)
	case p.Message == "" || p.User == "":
		return errors.New("--message and --user say what to prove; --check FILE checks a file")
	}
	key, err := p.app(ctx, target)
	if err != nil {
		return err
	}
	org, app, ok := strings.Cut(strings.Replace(key, "#", "/", 1), "/")
	if !ok {
		return fmt.Errorf("--app %s is not like org#app", p.App)
	}
	path := (&url.URL{}).JoinPath("v1", "apps", org, app, "messages", url.PathEscape(p.Message), "readers", url.PathEscape(p.User), "proof").String()
	query := url.Values{"entry": {fmt.Sprint(p.Entry)}}
	for name, value := range map[string]string{"group": p.Group, "users": p.Users} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if p.Out == "" {
		return p.fetch(ctx, target, path, query, std.out)
	}
	var file strings.Builder
	if err := p.fetch(ctx, target, path, query, &file); err != nil {
		return err
	}
	return os.WriteFile(p.Out, []byte(file.String()), 0o644)
}

// app is the app of the message: the only one that the server has, if none was named.
func (p proveCommand) app(ctx context.Context, target ctl.Target) (string, error) {
	if p.App != "" {
		return p.App, nil
	}
	client, err := target.Client()
	if err != nil {
		return "", err
	}
	apps, err := client.Apps(ctx)
	if err != nil {
		return "", err
	}
	if len(apps) != 1 {
		return "", fmt.Errorf("the server has %d apps: name the message's with --app", len(apps))
	}
	return apps[0], nil
}

// fetch writes what the server answers.
func (p proveCommand) fetch(ctx context.Context, target ctl.Target, path string, query url.Values, w io.Writer) error {
	client, err := target.Client()
	if err != nil {
		return err
	}
	text, err := client.Text(ctx, path, query)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

func (p proveCommand) check(w io.Writer) error {
	file, err := os.ReadFile(p.Check)
	if err != nil {
		return err
	}
	if p.Key == "" {
		return errors.New("--check takes --key, the public key of the log")
	}
	verifier, err := verifierOf(p.Key)
	if err != nil {
		return err
	}
	proven, err := merkle.CheckEvidence(file, verifier)
	if err != nil {
		return err
	}
	e := &proven.Event
	where := "group " + e.Group
	if e.Group == "" {
		where = "the chat with " + e.Peer
	}
	what := "message " + e.Message
	if e.Kind == events.ConversationRead {
		what = "all that was sent before"
	}
	by := "the entry is in the file"
	if proven.Stated {
		by = "the entry is not in the file: that it holds the receipt is what the key's owner signed"
	}
	_, err = fmt.Fprintf(w, "proven: %s of app %s has read %s in %s at %s\nlog %s, entry %d, under the head of %d entries\n%s\n",
		e.User, e.App, what, where, proven.Time.Format(time.RFC3339Nano), proven.Origin, proven.Sequence, proven.Head.Size, by)
	return err
}
