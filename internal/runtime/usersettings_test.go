package runtime

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

func pick(c events.Choice) *events.Choice { return &c }

// settingsOf fails unless every partition has the same of a user, and returns it.
func (r *running) settingsOf(user string) projections.UserSettings {
	r.t.Helper()
	all, err := r.Projector.UserSettings(app, user)
	if err != nil {
		r.t.Fatal(err)
	}
	for k, w := range all {
		if w != all[0] {
			r.t.Errorf("partition %d has %+v of %+v", k, w, all)
		}
	}
	return all[0]
}

// TestSettingsOfAUserAreTheSameEverywhere: set at once by many, and over a restart; one that
// changes nothing is no event.
func TestSettingsOfAUserAreTheSameEverywhere(t *testing.T) {
	cfg := testConfig(t)
	r := start(t, cfg)
	if _, err := r.Configure(testContext(t), app, events.DefaultSettings()); err != nil {
		t.Fatal(err)
	}
	c := &commands{log: r.Log, projector: r.Projector, users: newUserLocks()}
	other := &commands{log: r.Log, projector: r.Projector, users: newUserLocks()} // another process
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() {
			by, change := c, gateway.UserSettingsChange{Reads: pick(events.ChoiceHide)}
			if n%2 == 0 {
				by, change = other, gateway.UserSettingsChange{Deliveries: pick(events.ChoiceHide)}
			}
			if _, err := by.ConfigureUser(testContext(t), app, "ben", change); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	set := r.settingsOf("ben")
	if set.Reads != events.ChoiceHide || set.Deliveries != events.ChoiceHide || set.Revision < 2 {
		t.Errorf("set %+v", set)
	}
	again, err := c.ConfigureUser(testContext(t), app, "ben", gateway.UserSettingsChange{Reads: pick(events.ChoiceHide)})
	if err != nil || again != set || r.settingsOf("ben") != set {
		t.Errorf("set again: %+v %v", again, err)
	}
	if nothing := r.settingsOf("ann"); nothing != (projections.UserSettings{}) {
		t.Errorf("ann: %+v", nothing)
	}
	r.stop()
	if got := start(t, cfg).settingsOf("ben"); got != set {
		t.Errorf("after a restart: %+v, want %+v", got, set)
	}
}

// TestUnfinishedSettingsOfAUserAreCompleted by the same call again, which is what a client without
// an answer does.
func TestUnfinishedSettingsOfAUserAreCompleted(t *testing.T) {
	r := start(t, testConfig(t))
	if _, err := r.Configure(testContext(t), app, events.DefaultSettings()); err != nil {
		t.Fatal(err)
	}
	c := &commands{log: r.Log, projector: r.Projector, users: newUserLocks()}
	wanted := projections.UserSettings{Reads: events.ChoiceHide, Revision: 1}
	if _, err := c.apply(testContext(t), 0, userConfigured(app, "ben", wanted)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ConfigureUser(testContext(t), app, "ben", gateway.UserSettingsChange{Reads: pick(events.ChoiceHide)}); err != nil {
		t.Fatal(err)
	}
	if got := r.settingsOf("ben"); got.Reads != events.ChoiceHide {
		t.Errorf("got %+v", got)
	}
}

func TestSettingsOfOneConversation(t *testing.T) {
	r := start(t, testConfig(t))
	if _, err := r.Configure(testContext(t), app, events.DefaultSettings()); err != nil {
		t.Fatal(err)
	}
	c := &commands{log: r.Log, projector: r.Projector, users: newUserLocks()}
	hide := gateway.UserSettingsChange{Reads: pick(events.ChoiceHide)}
	if _, err := c.ConfigureUserIn(testContext(t), app, "", "ann", "ben", hide); !errors.Is(err, projections.ErrNotFound) {
		t.Errorf("without the chat: %v", err)
	}
	for n := range 5 { // chats of several partitions
		e := events.Event{App: app, Kind: events.MessageSent, User: "ben", Peer: fmt.Sprint("ann", n), Message: "m"}
		if _, err := c.apply(testContext(t), events.Partition(&e, partitions), e); err != nil {
			t.Fatal(err)
		}
		for want := uint64(1); want <= 2; want++ {
			change := hide
			if want == 2 {
				change.Reads = pick(events.ChoiceNone)
			}
			set, err := c.ConfigureUserIn(testContext(t), app, "", e.Peer, "ben", change)
			if err != nil || set != (projections.UserSettings{Reads: *change.Reads, Revision: want}) {
				t.Errorf("%s: %+v %v", e.Peer, set, err)
			}
			if got, err := r.Projector.UserSettingsIn(app, "", e.Peer, "ben"); err != nil || got != set {
				t.Errorf("%s has %+v, %v", e.Peer, got, err)
			}
		}
	}
}
