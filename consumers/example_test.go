package consumers_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/receiptd/receiptd/consumers"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/projections"
)

// A consumer of one's own: it counts what happened, and stops at the end of what is there. One that
// remembers the sequence it has handled goes on after it.
func ExampleFollow() {
	dir, err := os.MkdirTemp("", "consumer")
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
		{App: app, Kind: events.MessageSent, Peer: "ben", User: "ann", Message: "m1"},
		{App: app, Kind: events.MessageDelivered, Peer: "ann", User: "ben", Message: "m1"},
		{App: app, Kind: events.MessageRead, Peer: "ann", User: "ben", Message: "m1"},
	})
	if err == nil {
		err = ticket.Wait(ctx)
	}
	if err != nil {
		log.Fatal(err)
	}

	counts := map[events.Kind]int{}
	_, last, err := l.Bounds(ctx, 0)
	if err != nil {
		log.Fatal(err)
	}
	err = consumers.Follow(ctx, l, consumers.Options{Partition: 0, Upto: last},
		consumers.HandlerFunc(func(_ context.Context, x *projections.Decoded, _ *eventlog.Entry) error {
			if x.Poison != "" { // an entry that is no events: nothing to count
				return nil
			}
			for _, kind := range x.Batch.Kinds {
				counts[kind]++
			}
			return nil
		}))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(counts[events.MessageSent], "sent,", counts[events.MessageDelivered], "delivered,", counts[events.MessageRead], "read")
	if err := l.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: 1 sent, 1 delivered, 1 read
}
