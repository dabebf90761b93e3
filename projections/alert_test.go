package projections_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/oracle"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
	"github.com/receiptd/receiptd/projections"
)

// dealt is what a partition of several gets of an entry: the events of its conversations, and those
// that every partition gets.
func dealt(e history.Entry, partition, of int) history.Entry {
	var mine []events.Event
	for _, ev := range e.Events {
		if ev.Group == "" && ev.Peer == "" || events.Partition(&ev, of) == partition {
			mine = append(mine, ev)
		}
	}
	e.Events = mine
	return e
}

// TestAlertsAreOfAllPartitions folds histories in two partitions, whose clocks come to an hour at
// different entries, and compares the alerts of both together with the model's.
func TestAlertsAreOfAllPartitions(t *testing.T) {
	const partitions = 2
	logs := history.Logs()
	rapid.Check(t, func(t *rapid.T) {
		log := logs.Draw(t, "log")
		models := oracle.NewCluster(partitions, history.SmallLimits())
		var folds []*fold
		for range partitions {
			folds = append(folds, newFold(t, memory{}, 0))
		}
		for _, e := range log {
			for k, f := range folds {
				part := dealt(e, k, partitions)
				if len(part.Events) == 0 && part.Poison == "" {
					continue
				}
				part.Apply(models.Partitions[k])
				f.apply(part)
				if rapid.IntRange(0, 9).Draw(t, "then") == 0 {
					f.commit()
					f.crash()
				}
			}
			for _, app := range models.Partitions[0].Apps() {
				var decided []projections.PartAlerts
				for _, f := range folds {
					decided = append(decided, f.part.Alerts(app))
				}
				list, _ := projections.JoinAlerts(decided)
				same(t, "alerts of "+app, list, models.Alerts(app))
			}
		}
	})
}

// TestAlertsOfALabelAreOfTheSum: what is an alert in one partition is none together with another,
// and the other way round; and nothing is told before all clocks are there.
func TestAlertsOfALabelAreOfTheSum(t *testing.T) {
	const app, hour = theApp, projections.HourMillis
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled = true
	rule := events.AlertRule{By: events.AlertByLabel, ID: "spring", After: events.Duration(time.Hour)}
	for _, below := range []int{30, 50} {
		rule.Name, rule.ReadBelow = fmt.Sprint("below ", below), below
		settings.Alerts = append(settings.Alerts, rule)
	}
	silence := events.Event{App: app, Kind: events.AppConfigured, Settings: &settings, Revision: 1}
	read := func(reader string) events.Event {
		return events.Event{App: app, Kind: events.MessageRead, Group: "g", User: reader, Message: "m"}
	}
	sent := func(readers ...string) []events.Event {
		return []events.Event{silence, {App: app, Kind: events.GroupCreated, Group: "g", User: "ann", Members: readers},
			{App: app, Kind: events.MessageSent, Group: "g", User: "ann", Message: "m", Receipt: true, Label: "spring"}}
	}
	var parts []*projections.Partition
	for k, entry := range [][]events.Event{append(sent("b", "c"), read("b"), read("c")), sent("d", "e", "f", "g")} {
		part, err := projections.Open(k, memory{}, projections.Options{})
		if err != nil {
			t.Fatal(err)
		}
		foldEach(t, part, 100*hour, entry...)
		parts = append(parts, part)
	}
	alerts := func() []projections.Alert {
		list, _ := projections.JoinAlerts([]projections.PartAlerts{parts[0].Alerts(app), parts[1].Alerts(app)})
		return list
	}
	foldEach(t, parts[1], 102*hour, silence, read("d"))
	if list := alerts(); len(list) != 0 {
		t.Errorf("before all clocks are there: %+v", list)
	}
	foldEach(t, parts[0], 102*hour, silence)
	want := []projections.Alert{{Rule: rule, Key: "spring", Hour: 100, Messages: 2, Eligible: 6, Read: 2}}
	if list := alerts(); !slices.Equal(list, want) {
		t.Errorf("got %+v, want %+v", list, want)
	}
}

// TestAlertsAfterALongSilence: one entry decides what became due in months, in the order in which
// it did, stored or not.
func TestAlertsAfterALongSilence(t *testing.T) {
	const hour = projections.HourMillis
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled = true
	for _, after := range []time.Duration{168 * time.Hour, time.Hour} {
		settings.Alerts = append(settings.Alerts, events.AlertRule{Name: after.String(), After: events.Duration(after), ReadBelow: 30})
	}
	state := memory{}
	part, err := projections.Open(0, state, projections.Options{})
	if err != nil {
		t.Fatal(err)
	}
	foldEach(t, part, 100*hour, events.Event{Kind: events.AppConfigured, Settings: &settings, Revision: 1},
		events.Event{Kind: events.GroupCreated, Group: "g", User: "ann", Members: []string{"ben"}})
	for i := range int64(3) {
		foldEach(t, part, (100+i)*hour+1, events.Event{Kind: events.MessageSent, Group: "g", User: "ann", Message: fmt.Sprint("m", i), Receipt: true})
		if i == 1 {
			settle(t, state, part)
		}
	}
	foldEach(t, part, 5000*hour, events.Event{Kind: events.AppConfigured, Settings: &settings, Revision: 1})
	var due []int64
	for _, x := range part.Alerts(theApp).Groups {
		due = append(due, x.Due())
	}
	if want := []int64{102, 103, 104, 269, 270, 271}; !slices.Equal(due, want) {
		t.Errorf("alerts due at %v, want %v", due, want)
	}
}
