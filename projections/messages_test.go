package projections_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// apply folds events as one entry.
func apply(t *testing.T, part *projections.Partition, sequence uint64, list []events.Event) {
	t.Helper()
	var batch events.Batch
	batch.SetEvents(list)
	if _, err := part.Apply(projections.Decoded{Sequence: sequence, At: int64(1_700_000_000_000 + sequence), Batch: &batch}); err != nil {
		t.Fatal(err)
	}
}

// Lists of messages are complete and in order over the steps in which they are looked at, whatever
// of them is in memory, stored, or just recalled.
func TestMessagesOfALongGroup(t *testing.T) {
	state := memory{}
	part, err := projections.Open(0, state, projections.Options{})
	if err != nil {
		t.Fatal(err)
	}
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled = true
	in := func(kind events.Kind, user string, n int) events.Event {
		return events.Event{Kind: kind, App: "o#a", Group: "g", User: user, Message: fmt.Sprint("m", n), Receipt: kind == events.MessageSent}
	}
	const n = 150
	var want, wantRead []string
	list := []events.Event{
		{Kind: events.AppConfigured, App: "o#a", Settings: &settings, Revision: 1},
		{Kind: events.GroupCreated, App: "o#a", Group: "g", User: "ann", Members: []string{"ben"}},
	}
	var after []events.Event
	for i := 1; i <= n; i++ {
		list = append(list, in(events.MessageSent, "ann", i))
		if i%3 == 0 {
			list = append(list, in(events.MessageRead, "ben", i))
		}
		if i%7 == 0 { // some before the checkpoint, some after it
			if i < n/2 {
				list = append(list, in(events.MessageRecalled, "ann", i))
			} else {
				after = append(after, in(events.MessageRecalled, "ann", i))
			}
			continue
		}
		want = append(want, fmt.Sprint("m", i))
		if i%3 == 0 {
			wantRead = append(wantRead, fmt.Sprint("m", i))
		}
	}
	slices.Reverse(want)
	slices.Reverse(wantRead)
	apply(t, part, 1, list)
	checkpoint, err := part.Capture()
	if err != nil {
		t.Fatal(err)
	}
	if err := checkpoint.Each(func(key, value []byte) error { state[string(key)] = string(value); return nil },
		func(key []byte) error { delete(state, string(key)); return nil }); err != nil {
		t.Fatal(err)
	}
	part.Committed(checkpoint)
	if part, err = projections.Open(0, state, projections.Options{}); err != nil {
		t.Fatal(err)
	}
	apply(t, part, 2, after)
	for _, limit := range []int{1, 7, 16, 17, 1000} {
		var got, read []string
		for before, more := uint64(0), true; more; more = before != 0 {
			page, err := part.GroupMessages("o#a", "g", before, limit)
			if err != nil || len(page.Messages) > limit || page.Next != 0 && len(page.Messages) < limit {
				t.Fatalf("%d of %d messages, next %d: %v", len(page.Messages), limit, page.Next, err)
			}
			for _, m := range page.Messages {
				got = append(got, m.ID)
			}
			before = page.Next
		}
		for before, more := uint64(0), true; more; more = before != 0 {
			page, err := part.Reads("o#a", "g", "", "ben", before, limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Reads {
				read = append(read, r.ID)
			}
			before = page.Next
		}
		if !slices.Equal(got, want) || !slices.Equal(read, wantRead) {
			t.Errorf("by %d: got %v and %v\nwant %v and %v", limit, got, read, want, wantRead)
		}
	}
	if _, err := part.GroupMessages("o#a", "x", 0, 1); !errors.Is(err, projections.ErrNotFound) {
		t.Errorf("no such group: %v", err)
	}
}

// A page ends after a bounded number of messages, whether it found any or not.
func TestPagesOfReadsAreBounded(t *testing.T) {
	part, err := projections.Open(0, memory{}, projections.Options{})
	if err != nil {
		t.Fatal(err)
	}
	settings := events.DefaultSettings()
	list := []events.Event{
		{Kind: events.AppConfigured, App: "o#a", Settings: &settings, Revision: 1},
		{Kind: events.GroupCreated, App: "o#a", Group: "g", User: "ann", Members: []string{"ben"}},
	}
	const n = 4500
	for i := range n {
		list = append(list, events.Event{Kind: events.MessageSent, App: "o#a", Group: "g", User: "ann", Message: fmt.Sprint("m", i)})
	}
	apply(t, part, 1, list)
	looked, pages := 0, 0
	for before, more := uint64(0), true; more; more = before != 0 {
		page, err := part.Reads("o#a", "g", "", "ben", before, 10)
		if err != nil || len(page.Reads) > 0 || page.Looked > 2100 {
			t.Fatalf("%d reads of %d messages: %v", len(page.Reads), page.Looked, err)
		}
		looked, pages, before = looked+page.Looked, pages+1, page.Next
	}
	if looked != n || pages != 3 {
		t.Errorf("%d messages in %d pages", looked, pages)
	}
}
