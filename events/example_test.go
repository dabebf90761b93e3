package events_test

import (
	"fmt"
	"log"

	"github.com/receiptd/receiptd/events"
)

// Events come as lines of JSON and are told apart by their kinds.
func ExampleDecoder() {
	body := []byte(`{"type":"message.sent","id":"m1","from":"ann","group":"team","receipt":true}
{"type":"message.read","message":"m1","user":"ben","group":"team"}
`)
	var d events.Decoder
	err := d.Decode(body, events.FormatNDJSON, func(i int, e *events.Event) error {
		fmt.Println(i, e.Kind, e.Message, "by", e.User)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Decode([]byte(`{"type":"message.read","message":"m1","group":"team"}`), events.FormatJSON, nil))
	// Output:
	// 0 message.sent m1 by ann
	// 1 message.read m1 by ben
	// event 0: user: missing
}

// A batch is what one entry of the log holds: a builder encodes it, and it is decoded into columns.
func ExampleBuilder() {
	app := events.AppKey("acme", "chat")
	var b events.Builder
	for _, user := range []string{"ben", "cleo"} {
		e := events.Event{App: app, Kind: events.MessageRead, Group: "team", User: user, Message: "m1"}
		if err := e.Validate(); err != nil {
			log.Fatal(err)
		}
		b.Add(&e)
	}
	entry := b.Encode(nil)

	var batch events.Batch
	if err := batch.Decode(entry); err != nil {
		log.Fatal(err)
	}
	for i := range batch.Len() {
		fmt.Println(batch.Kinds[i], batch.Messages[batch.Msg[i]].ID, batch.Users[batch.User[i]])
	}
	// Output:
	// message.read m1 ben
	// message.read m1 cleo
}

// Events with ids have no effect when they are sent again. The same key and the same order give the
// same ids.
func ExampleNameEvents() {
	list := []events.Event{{Kind: events.GroupJoined}, {Kind: events.GroupLeft, EventID: "its-own"}}
	events.NameEvents("import-7", list)
	fmt.Println(list[0].EventID, list[1].EventID)
	// Output: import-7/00000 its-own
}
