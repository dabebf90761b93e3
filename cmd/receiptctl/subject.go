package main

import (
	"context"
	"fmt"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/ctl"
)

// subjectCommand prints the NATS subject of an event.
type subjectCommand struct {
	App    string   `arg:"" placeholder:"ORG/APP" help:"The app."`
	Type   string   `arg:"" optional:"" placeholder:"TYPE" help:"What happened, such as message.read; or the event as JSON; or - to read that from standard input. Without it: the subject of requests."`
	Fields []string `arg:"" optional:"" placeholder:"FIELD=VALUE" help:"The fields of the event."`
	Submit bool     `help:"The subject of requests, receipts.submit.…, for which the event does not matter."`
}

// Help is the long description of the command.
func (subjectCommand) Help() string {
	return `For example: receiptctl subject acme/chat message.read message=m1 user=bob group=g1

Prints where a NATS client sends an event: with an event, the subject on which it is published by
itself (receipts.in.…); without one, that of requests (receipts.submit.…). Names and ids are escaped
as they have to be. The event is written as receiptctl event takes it. It talks to no server.
docs/nats.md has the rest.`
}

// Run prints.
func (c subjectCommand) Run(_ context.Context, std streams) error {
	org, name, err := ctl.SplitApp(c.App)
	if err != nil {
		return checkApp(c.App)
	}
	subject, err := events.SubmitSubject(events.AppKey(org, name))
	if err != nil {
		return err
	}
	if c.Type != "" && !c.Submit {
		text, err := written(c.Type, c.Fields)
		if err != nil {
			return err
		}
		if subject, err = ingressSubject(events.AppKey(org, name), text); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(std.out, subject)
	return err
}

// ingressSubject is where the only event of a text is published.
func ingressSubject(app string, text []byte) (subject string, err error) {
	err = new(events.Decoder).Decode(text, events.FormatJSON, func(i int, e *events.Event) error {
		if i > 0 {
			return fmt.Errorf("more than one event: each is published by itself")
		}
		e.App = app
		subject, err = events.IngressSubject(e)
		return err
	})
	return subject, err
}
