package projections_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// TestLevelDecidesFromItsPlaceOn raises the level in the middle of an entry. What comes before it
// is decided by the level before, also after a restart; a version that does not know the level
// neither folds the entry nor opens what was folded after it.
func TestLevelDecidesFromItsPlaceOn(t *testing.T) {
	fewer := []projections.Level{func(l *projections.Limits) { l.Members = 2 }}
	state := memory{}
	open := func(levels []projections.Level) (*projections.Partition, error) {
		return projections.Open(0, state, projections.Options{Levels: levels})
	}
	settings := events.DefaultSettings()
	entry := func(sequence uint64, list ...events.Event) projections.Decoded {
		b := new(events.Batch)
		b.SetEvents(list)
		return projections.Decoded{Sequence: sequence, At: int64(sequence), Fingerprint: sequence, Batch: b}
	}
	join := func(user string) events.Event {
		return events.Event{App: "o#a", Kind: events.GroupJoined, Group: "g", User: user}
	}
	raise := events.Event{App: events.LevelApp, Kind: events.RulesLevel, Revision: 2}
	first := entry(1,
		events.Event{App: "o#a", Kind: events.AppConfigured, Settings: &settings, Revision: 1},
		events.Event{App: "o#a", Kind: events.GroupCreated, Group: "g", User: "owner"},
		join("ann"), join("ben"), raise, join("cleo"), raise)
	const applied, duplicate, full = events.OutcomeApplied, events.OutcomeDuplicate, events.RejectedGroupFull
	want := []events.Outcome{applied, applied, applied, applied, applied, full, duplicate}

	p, err := open(fewer)
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Apply(first)
	if err != nil || !slices.Equal(got, want) || p.Level() != 2 {
		t.Fatalf("level %d, %v, %v; want %v", p.Level(), describe(got), err, describe(want))
	}
	if len(p.Apps()) != 1 {
		t.Errorf("apps: %v", p.Apps())
	}
	c, err := p.Capture()
	if err == nil {
		err = state.commit(c)
	}
	if err != nil {
		t.Fatal(err)
	}
	if p, err = open(fewer); err != nil || p.Level() != 2 {
		t.Fatalf("after a restart: level %d, %v", p.Level(), err)
	}
	if got, err := p.Apply(entry(2, join("dan"))); err != nil || got[0] != full {
		t.Errorf("after a restart: %v, %v", describe(got), err)
	}
	if level, err := projections.StoredLevel(state.Get); err != nil || level != 2 {
		t.Errorf("stored: level %d, %v", level, err)
	}
	if _, err := open([]projections.Level{}); !errors.Is(err, projections.ErrLevel) {
		t.Errorf("a state of a level that is not known: %v", err)
	}

	state = memory{}
	if p, err = open([]projections.Level{}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Apply(first); !errors.Is(err, projections.ErrLevel) {
		t.Errorf("an entry of a level that is not known: %v", err)
	}
	if at, _ := p.Position(); at != 0 || !errors.Is(p.Failed(), projections.ErrLevel) {
		t.Errorf("it was folded: at %d, %v", at, p.Failed())
	}
}
