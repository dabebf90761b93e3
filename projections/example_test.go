package projections_test

import (
	"fmt"
	"log"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// nothing is the backing of a state that is in memory alone. Package projections/store has one
// that lasts.
type nothing struct{}

func (nothing) Get([]byte) ([]byte, error)                               { return nil, nil }
func (nothing) Scan([]byte, func(key, value []byte) error) error         { return nil }
func (nothing) Range(first, end []byte, f func(k, v []byte) error) error { return nil }

// The rules decide about events, entry by entry, and the state answers. There is no log and no
// clock but what the entries say.
func ExamplePartition() {
	p, err := projections.Open(0, nothing{}, projections.Options{})
	if err != nil {
		log.Fatal(err)
	}
	app := events.AppKey("acme", "chat")
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled = true
	var batch events.Batch
	batch.SetEvents([]events.Event{
		{App: app, Kind: events.AppConfigured, Settings: &settings, Revision: 1},
		{App: app, Kind: events.GroupCreated, Group: "team", User: "ann", Members: []string{"ben", "cleo"}},
		{App: app, Kind: events.MessageSent, Group: "team", User: "ann", Message: "m1", Receipt: true},
		{App: app, Kind: events.MessageRead, Group: "team", User: "ben", Message: "m1"},
		{App: app, Kind: events.MessageRead, Group: "team", User: "ben", Message: "m1"},
		{App: app, Kind: events.MessageRead, Group: "team", User: "dan", Message: "m1"},
	})
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixMilli()
	outcomes, err := p.Apply(projections.Decoded{Sequence: 1, At: at, Batch: &batch})
	if err != nil {
		log.Fatal(err)
	}
	for _, o := range outcomes[3:] {
		fmt.Printf("%v %q\n", o, o.Reason())
	}
	m, err := p.Message(app, "m1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("read by", m.Read, "of", m.Eligible)
	// Output:
	// applied ""
	// duplicate ""
	// rejected "not in group or chatroom"
	// read by 1 of 2
}
