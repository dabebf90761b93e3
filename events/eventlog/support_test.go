package eventlog_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
)

// testContext bounds a test that waits for something that never comes.
func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// read is a group read, whose user names the producer and the event.
func read(group, user string) events.Event {
	return events.Event{
		App: "acme#chat", Kind: events.MessageRead, Group: group, User: user, Message: "m1",
	}
}

// receipts makes n reads shaped like traffic: bursts of a group's members reading a few messages.
func receipts(n, seed int) []events.Event {
	evs := make([]events.Event, n)
	for i := range evs {
		burst := (seed + i) / 50
		evs[i] = events.Event{
			App: "acme#chat", Kind: events.MessageRead,
			Group:   fmt.Sprintf("group-%04d", burst%100),
			Message: fmt.Sprintf("1284712%09d", burst),
			User:    fmt.Sprintf("user%05d", (burst%100)*50+(seed+i)%50),
		}
	}
	return evs
}

// stored is one event read back, with where it was.
type stored struct {
	sequence uint64
	index    int
	group    string
	user     string
}

// entriesOf reads a partition up to its end.
func entriesOf(t testing.TB, ctx context.Context, l *eventlog.Log, partition int) (list []eventlog.Entry) {
	t.Helper()
	_, last, err := l.Bounds(ctx, partition)
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.Read(ctx, partition, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for r.Last() < last {
		e, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// readAll are the events of a partition.
func readAll(t testing.TB, ctx context.Context, l *eventlog.Log, partition int) []stored {
	t.Helper()
	var all []stored
	var batch events.Batch
	for _, e := range entriesOf(t, ctx, l, partition) {
		if err := batch.Decode(e.Data); err != nil {
			t.Fatalf("entry %d: %v", e.Sequence, err)
		}
		for i := range batch.Len() {
			all = append(all, stored{
				sequence: e.Sequence, index: i,
				group: string([]byte(batch.Conversations[batch.Conv[i]].Group)),
				user:  string([]byte(batch.Users[batch.User[i]])),
			})
		}
	}
	return all
}
