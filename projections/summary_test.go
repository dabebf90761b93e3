package projections_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
	"github.com/receiptd/receiptd/projections"
)

// A summary written by a version that had the numbers of its items only in their keys can still be
// read.
func TestSummariesOfOlderStatesAreThere(t *testing.T) {
	logs := history.Logs()
	rapid.Check(t, func(t *rapid.T) {
		state := memory{}
		f := newFold(t, state, 0)
		for _, e := range logs.Draw(t, "log") {
			for i := range e.Events { // which knew of no devices
				if x := &e.Events[i]; x.Device != "" {
					x.Device, x.Upto = "", max(x.Upto, 1)
				}
			}
			f.apply(e)
		}
		f.commit()
		older := memory(projections.EarlierSummaries(state, true))
		g := newFold(t, older, 0)
		for _, app := range []string{"o#a", "o#b"} {
			for _, user := range []string{"u1", "u2", "u3", "u4", "u5", "u6"} {
				want, _, err := f.part.Summary(app, user, "")
				if err != nil {
					t.Fatal(err)
				}
				got, _, err := g.part.Summary(app, user, "")
				if err != nil || !reflect.DeepEqual(got.Items, want.Items) {
					t.Fatalf("summary of %s in %s: %v, %v, not %v", user, app, got, err, want)
				}
			}
		}
	})
}

// TestSummaryInTheOrderOfTheLog has the members of a group read messages in one entry: the summary
// tells them in that order. A message that is read again while the summary is full is not the next
// to be pushed out, and what was is counted until it is acknowledged.
func TestSummaryInTheOrderOfTheLog(t *testing.T) {
	const limit = 4
	state := memory{}
	open := func() *projections.Partition {
		part, err := projections.Open(0, state, projections.Options{Limits: projections.Limits{SummaryItems: limit}})
		if err != nil {
			t.Fatal(err)
		}
		return part
	}
	part, seq := open(), uint64(0)
	apply := func(list ...events.Event) (last events.Outcome) {
		seq++
		for i := range list {
			list[i].App = "o#a"
		}
		var b events.Batch
		b.SetEvents(list)
		outcomes, err := part.Apply(projections.Decoded{Sequence: seq, At: int64(seq), Batch: &b})
		if err != nil {
			t.Fatal(err)
		}
		last = outcomes[len(outcomes)-1]
		c, err := part.Capture()
		if err != nil {
			t.Fatal(err)
		}
		if err := state.commit(c); err != nil {
			t.Fatal(err)
		}
		part = open()
		return last
	}
	is := func(dropped int, want ...string) {
		t.Helper()
		s, upto, err := part.Summary("o#a", "ann", "")
		var got []string
		for _, x := range s.Items {
			got = append(got, x.Message)
		}
		if err != nil || !slices.Equal(got, want) || s.Dropped != dropped || upto != seq {
			t.Errorf("summary %v up to %d, %d dropped, %v; want %v, %d", got, upto, s.Dropped, err, want, dropped)
		}
	}
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled = true
	apply(events.Event{Kind: events.AppConfigured, Settings: &settings, Revision: 1},
		events.Event{Kind: events.GroupCreated, Group: "g", User: "ann", Members: []string{"ben", "cleo", "dan"}})
	for i := range 8 {
		apply(events.Event{Kind: events.MessageSent, Group: "g", User: "ann", Message: fmt.Sprint("m", i), Receipt: true})
	}
	read := func(user, id string) events.Event {
		return events.Event{Kind: events.MessageRead, Group: "g", User: user, Message: id}
	}
	apply(read("ben", "m7"), read("ben", "m1"), read("ben", "m3"), read("ben", "m0"))
	is(0, "m7", "m1", "m3", "m0")
	apply(read("cleo", "m7"))
	is(0, "m1", "m3", "m0", "m7")
	apply(read("ben", "m5"))
	is(1, "m3", "m0", "m7", "m5")
	early := seq
	apply(read("ben", "m6"), read("dan", "m7"))
	is(2, "m0", "m5", "m6", "m7")
	seen := func(upto uint64) events.Event {
		return events.Event{Kind: events.StatisticSeen, User: "ann", Upto: upto}
	}
	apply(seen(early))
	is(2, "m6", "m7")
	if o := apply(seen(seq)); o != events.OutcomeApplied {
		t.Errorf("seen: %v", o)
	}
	is(0)
}

// TestAcknowledgedLossesLeaveNothing: an author who was told of items that were pushed out, and
// then names a device, is the same after a restart in between as without one.
func TestAcknowledgedLossesLeaveNothing(t *testing.T) {
	options := projections.Options{Limits: projections.Limits{SummaryItems: 1}}
	dumps := map[bool]string{}
	for _, restarted := range []bool{false, true} {
		s := memory{}
		part := open(t, s, options)
		pause := func() {
			if restarted {
				settle(t, s, part)
				part = open(t, s, options)
			}
		}
		foldEach(t, part, 1000, events.Event{Kind: events.AppConfigured, Settings: countsAbove(100), Revision: 1})
		for _, id := range []string{"m1", "m2"} {
			foldEach(t, part, 1000,
				events.Event{Kind: events.MessageSent, Peer: "ben", User: "ann", Message: id},
				events.Event{Kind: events.MessageRead, Peer: "ann", User: "ben", Message: id})
		}
		if sum, _, err := part.Summary(theApp, "ann", ""); err != nil || sum.Dropped != 1 {
			t.Fatalf("%+v, %v", sum, err)
		}
		foldEach(t, part, 1000, events.Event{Kind: events.StatisticSeen, User: "ann", Upto: 5})
		pause()
		foldEach(t, part, 1000, events.Event{Kind: events.StatisticSeen, User: "ann", Upto: 6, Device: "d"})
		settle(t, s, part)
		dumps[restarted] = s.dump()
	}
	if dumps[false] != dumps[true] {
		t.Errorf("without a restart\n%s, with one\n%s", dumps[false], dumps[true])
	}
}
