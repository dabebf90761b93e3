package eventlog_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
)

// A program with a log of its own: events are submitted, durable, and read again. With Config.URL
// in place of Dir it would be a log in a NATS cluster, which a receiptd may follow.
func Example() {
	dir, err := os.MkdirTemp("", "eventlog")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()

	l, err := eventlog.Open(ctx, eventlog.Config{Dir: filepath.Join(dir, "log"), Partitions: 1})
	if err != nil {
		log.Fatal(err)
	}
	app := events.AppKey("acme", "chat")
	ticket, err := l.Submit(ctx, []events.Event{
		{App: app, Kind: events.MessageSent, Group: "team", User: "ann", Message: "m1", Receipt: true},
		{App: app, Kind: events.MessageRead, Group: "team", User: "ben", Message: "m1"},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := ticket.Wait(ctx); err != nil { // synced to the disk
		log.Fatal(err)
	}
	fmt.Println("stored at", ticket.Positions())

	r, err := l.Read(ctx, 0, 0) // partition 0, from its start
	if err != nil {
		log.Fatal(err)
	}
	entry, err := r.Next(ctx)
	if err != nil {
		log.Fatal(err)
	}
	r.Close()
	var batch events.Batch
	if err := events.DecodeEntry(entry.Subject, entry.Data, entry.MsgID, l.Partitions(), &batch); err != nil {
		log.Fatal(err)
	}
	var e events.Event
	for i := range batch.Len() {
		batch.Event(i, &e)
		fmt.Println(e.Kind, e.Message, "by", e.User)
	}
	if err := l.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// stored at [{0 1}]
	// message.sent m1 by ann
	// message.read m1 by ben
}

// A program that shares a NATS cluster with receiptd appends to the same log, of as many partitions
// as that has.
func ExampleLog_Submit() {
	report := func(ctx context.Context) error {
		log, err := eventlog.Open(ctx, eventlog.Config{URL: "nats://nats-1:4222"})
		if err != nil {
			return err
		}
		defer log.Close(ctx)
		ticket, err := log.Submit(ctx, []events.Event{
			{App: events.AppKey("acme", "chat"), Kind: events.MessageRead, Group: "team", User: "ben", Message: "m1"},
		})
		if err != nil {
			return err
		}
		return ticket.Wait(ctx) // it is on the disks of a majority
	}
	if err := report(context.Background()); err != nil {
		log.Fatal(err)
	}
}
