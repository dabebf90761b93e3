package notify_test

import (
	"context"
	"fmt"
	"log"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// What a fold did to a message is passed on to its author, who is connected.
func ExampleHub() {
	app := events.AppKey("acme", "chat")
	hub := notify.New(1, notify.Options{})
	defer hub.Close()
	ann := hub.Subscribe(app, "ann")
	defer ann.Close()

	// A live fold has effects, of those who are Online: Partition.TakeEffects returns them.
	hub.Push([]projections.Effect{{
		Kind: events.MessageRead, App: app, To: "ann", Group: "team", Message: "m1", Reader: "ben", Count: 1, Eligible: 2,
	}})

	push, err := ann.Next(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for _, n := range push.Notifications {
		fmt.Printf("%s: %s, %d of %d\n", n.Message, n.Reader, n.Count, n.Eligible)
	}
	// Output: m1: ben, 1 of 2
}
