package projections_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// open opens a partition on what was committed.
func open(t *testing.T, s memory, options projections.Options) *projections.Partition {
	t.Helper()
	part, err := projections.Open(0, s, options)
	if err != nil {
		t.Fatal(err)
	}
	return part
}

// foldEach folds events, each in an entry of its own at a time, after those that the partition has.
func foldEach(t *testing.T, part *projections.Partition, at int64, evs ...events.Event) (last events.Outcome) {
	t.Helper()
	var batch events.Batch
	for _, e := range evs {
		e.App = theApp
		batch.SetEvents([]events.Event{e})
		sequence, _ := part.Position()
		out, err := part.Apply(projections.Decoded{Sequence: sequence + 1, At: at, Batch: &batch})
		if err != nil {
			t.Fatal(err)
		}
		last = out[0]
	}
	return last
}

func settle(t *testing.T, s memory, part *projections.Partition) {
	t.Helper()
	c, err := part.Capture()
	if err == nil {
		err = s.commit(c)
	}
	if err != nil {
		t.Fatal(err)
	}
	part.Committed(c)
}

func countsAbove(size int) *events.Settings {
	s := events.DefaultSettings()
	s.GroupReceipts.Enabled, s.GroupReceipts.MaxGroupSize, s.GroupReceipts.AboveLimit = true, size, events.AboveLimitCounts
	return &s
}

var theMessage = events.Conversation{App: theApp, Group: "g"}

// TestCountsTakeABitForEachMember: in a large group each reader counts once, whatever is sent
// again, stored or restarted, and what is stored of the message is bounded by the size of
// the group.
func TestCountsTakeABitForEachMember(t *testing.T) {
	const size = 3000
	s := memory{}
	part := open(t, s, projections.Options{})
	create := events.Event{Kind: events.GroupCreated, Group: "g", User: "ann"}
	for i := range size {
		create.Members = append(create.Members, fmt.Sprint("u", i))
	}
	foldEach(t, part, 1, events.Event{Kind: events.AppConfigured, Settings: countsAbove(200), Revision: 1}, create,
		events.Event{Kind: events.MessageSent, Group: "g", User: "ann", Message: "m", Receipt: true},
		events.Event{Kind: events.UserConfigured, User: "u7", SendReads: events.ChoiceHide, Revision: 1},
		events.Event{Kind: events.UserConfigured, User: "u2999", SendReads: events.ChoiceHide, Revision: 1})
	read := func(i int) events.Outcome {
		return foldEach(t, part, int64(10+i), events.Event{Kind: events.MessageRead, Group: "g", User: fmt.Sprint("u", i), Message: "m", Content: "seen"})
	}
	for i := range size {
		if o := read(i); o != events.OutcomeApplied && o != events.OutcomeHidden {
			t.Fatalf("u%d: %v", i, o)
		}
		switch i {
		case 5, 1000, 2500:
			settle(t, s, part)
			part = open(t, s, projections.Options{})
		}
	}
	for range 2 {
		for i := range size {
			if o := read(i); o != events.OutcomeDuplicate {
				t.Fatalf("u%d again: %v", i, o)
			}
		}
		m, err := part.MessageIn(theMessage, "m", "")
		if err != nil || m.Counts != (projections.Counts{Eligible: size, Delivered: size - 2, Read: size - 2}) || m.FirstReadAt != 10 || m.LastReadAt != 10+size-2 {
			t.Fatalf("%+v, %v", m.Message, err)
		}
		settle(t, s, part)
		part = open(t, s, projections.Options{})
	}
	largest := 0
	for key, value := range s {
		if key[0] == 'm' { // a message
			largest = max(largest, len(value))
		}
	}
	if most := 2*size/8 + 64; largest > most {
		t.Errorf("%d bytes are stored, at most %d expected", largest, most)
	}
	if _, err := part.Readers(theMessage, "m", 0, 10); !errors.Is(err, projections.ErrNoNames) {
		t.Errorf("readers: %v", err)
	}
	if _, err := part.NonReaders(theMessage, "m", 0, 10); !errors.Is(err, projections.ErrNoNames) {
		t.Errorf("nonreaders: %v", err)
	}
}

// TestCountsOutliveTheirSettings: what a message collects is decided when it is sent, and a recall
// takes its reads out of the rollup.
func TestCountsOutliveTheirSettings(t *testing.T) {
	s := memory{}
	part := open(t, s, projections.Options{})
	ask := func(id string) events.Event {
		return events.Event{Kind: events.MessageSent, Group: "g", User: "ann", Message: id, Receipt: true}
	}
	read := func(user, id string) events.Event {
		return events.Event{Kind: events.MessageRead, Group: "g", User: user, Message: id}
	}
	nothing := *countsAbove(2)
	nothing.GroupReceipts.AboveLimit = events.AboveLimitNothing
	foldEach(t, part, 1, events.Event{Kind: events.AppConfigured, Settings: &nothing, Revision: 1},
		events.Event{Kind: events.GroupCreated, Group: "g", User: "ann", Members: []string{"ben", "cleo"}},
		ask("oversize"), events.Event{Kind: events.AppConfigured, Settings: countsAbove(2), Revision: 2}, ask("counted"), ask("recalled"),
		events.Event{Kind: events.AppConfigured, Settings: &nothing, Revision: 3},
		read("ben", "oversize"), read("ben", "counted"), read("ben", "recalled"))
	rate := func() projections.CohortCounts {
		scan := projections.NewRateScan(projections.RateQuery{App: theApp, From: 0, To: 10, Limit: 10})
		for scan.Next() {
			for done, err := scan.Step(part); !done; done, err = scan.Step(part) {
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		page, err := scan.Page()
		if err != nil || len(page.Rows) != 1 {
			t.Fatalf("%v, %v", page, err)
		}
		return page.Rows[0].CohortCounts
	}
	if got := rate(); got != (projections.CohortCounts{Messages: 2, Eligible: 4, Delivered: 2, Read: 2}) {
		t.Errorf("rates %+v", got)
	}
	settle(t, s, part)
	part = open(t, s, projections.Options{})
	foldEach(t, part, 2, events.Event{Kind: events.MessageRecalled, Group: "g", User: "ann", Message: "recalled"})
	if got := rate(); got != (projections.CohortCounts{Messages: 1, Eligible: 2, Delivered: 1, Read: 1, Recalled: 1}) {
		t.Errorf("rates %+v", got)
	}
	for id, want := range map[string]projections.Counts{"oversize": {}, "counted": {Eligible: 2, Delivered: 1, Read: 1}, "recalled": {}} {
		if m, err := part.MessageIn(theMessage, id, ""); err != nil || m.Counts != want || m.CountsOnly == (id == "oversize") {
			t.Errorf("%s: %+v, %v", id, m.Message, err)
		}
	}
}

// TestLateReadersArePagedInTheirOrder: a list is in the order of reading, and whoever reads it page
// by page sees each reader once, though others are put between those while they do.
func TestLateReadersArePagedInTheirOrder(t *testing.T) {
	s := memory{}
	part := open(t, s, projections.Options{})
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled, settings.ReceiptTime = true, events.ReceiptTimeReported
	create := events.Event{Kind: events.GroupCreated, Group: "g", User: "ann"}
	for i := range 10 {
		create.Members = append(create.Members, fmt.Sprint("u", i))
	}
	foldEach(t, part, 1000, events.Event{Kind: events.AppConfigured, Settings: &settings, Revision: 1}, create,
		events.Event{Kind: events.MessageSent, Group: "g", User: "ann", Message: "m", Receipt: true})
	read := func(i int, at int64) {
		foldEach(t, part, 2000, events.Event{Kind: events.MessageRead, Group: "g", User: fmt.Sprint("u", i), Message: "m", Time: at})
	}
	for i, at := range []int64{1500, 1200, 1800, 1100, 1500} {
		read(i, at)
	}
	settle(t, s, part)
	part = open(t, s, projections.Options{})
	list := func(from int) (users string, next int) {
		page, err := part.Readers(theMessage, "m", from, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Readers {
			users += fmt.Sprintf("%s at %d, ", r.User, r.ReadAt)
		}
		return fmt.Sprintf("%s%d before of %d", users, page.Before, page.Total), page.Next
	}
	first, next := list(0)
	read(5, 1150) // before where the list goes on
	read(6, 1300) // after it
	second, next := list(next)
	third, next := list(next)
	for i, want := range []string{
		"u3 at 1100, u1 at 1200, 0 before of 5",
		"u6 at 1300, u0 at 1500, 3 before of 7",
		"u4 at 1500, u2 at 1800, 5 before of 7",
	} {
		if got := []string{first, second, third}[i]; got != want {
			t.Errorf("page %d: %s, want %s", i, got, want)
		}
	}
	if next != 0 {
		t.Errorf("a page after the last, at %d", next)
	}
}

// TestCountedReadsAreHiddenFromWhoHides their own, where that is reciprocal: the summary does not
// tell of them either.
func TestCountedReadsAreHiddenFromWhoHides(t *testing.T) {
	part := open(t, memory{}, projections.Options{})
	settings := countsAbove(2)
	settings.Reciprocal = true
	foldEach(t, part, 1, events.Event{Kind: events.AppConfigured, Settings: settings, Revision: 1},
		events.Event{Kind: events.GroupCreated, Group: "g", User: "ann", Members: []string{"ben", "cleo"}},
		events.Event{Kind: events.MessageSent, Group: "g", User: "ann", Message: "m", Receipt: true},
		events.Event{Kind: events.MessageRead, Group: "g", User: "ben", Message: "m"})
	if s, _, err := part.Summary(theApp, "ann", ""); err != nil || len(s.Items) != 1 || s.Items[0].Count != 1 || s.Items[0].LastReader != "" {
		t.Errorf("%+v, %v", s.Items, err)
	}
	foldEach(t, part, 1, events.Event{Kind: events.UserConfigured, User: "ann", SendReads: events.ChoiceHide, Revision: 1})
	if s, _, err := part.Summary(theApp, "ann", ""); err != nil || len(s.Items) != 0 {
		t.Errorf("%+v, %v", s.Items, err)
	}
}
