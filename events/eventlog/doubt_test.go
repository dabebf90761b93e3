package eventlog_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
)

// For how long the server remembers an id counts from the first try that may have stored it,
// however many there were since: each of them is answered with silence here.
func TestDoubtIsAsOldAsItsFirstTry(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	// The tries come more often than that.
	const trust = 3 * time.Second
	o := openOutside(t, eventlog.Config{Partitions: 1}, eventlog.Hooks{Trust: trust, AckTimeout: 50 * time.Millisecond})
	o.deafen(t, ctx)
	tries := make(chan *nats.Msg, 256)
	if _, err := o.js.Conn().ChanSubscribe(events.BatchSubject(0), tries); err != nil {
		t.Fatal(err)
	}
	if err := o.js.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	ticket, err := o.log.Submit(ctx, receipts(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	var m *nats.Msg
	searched := func() bool { return m != nil && m.Header.Get(jetstream.ExpectedLastSeqHeader) != "" }
	for end := time.Now().Add(5 * trust); !searched() && time.Now().Before(end); {
		select {
		case m = <-tries:
		case <-ctx.Done():
			t.Fatal("no further try")
		}
	}
	if !searched() {
		t.Errorf("%v after the first try the publisher still relies on the server's memory", 5*trust)
	}
	if err := m.Respond([]byte(`{"stream":"RECEIPTS_0","seq":1}`)); err != nil {
		t.Fatal(err)
	}
	if err := ticket.Wait(ctx); err != nil {
		t.Fatal(err)
	}
}
