package runtime

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// fakeFolds are two partitions whose clocks tests move.
type fakeFolds struct {
	unready  error
	unsure   error // nobody can tell which apps there are
	settings map[string]events.Settings
	parts    []projections.PartAlerts
	moved    []int // partitions that got an entry
}

func (f *fakeFolds) Ready() error { return f.unready }

func (f *fakeFolds) Apps() (apps []string) {
	for app := range f.settings {
		apps = append(apps, app)
	}
	return apps
}

func (f *fakeFolds) FindApp(app string) (events.Settings, uint64, error) {
	if f.unsure != nil {
		return events.Settings{}, 0, f.unsure
	}
	s, ok := f.settings[app]
	if !ok {
		return s, 0, projector.ErrNoApp
	}
	return s, 7, nil
}

func (f *fakeFolds) SettingsAt(_ int, app string) (events.Settings, uint64, bool) {
	s, ok := f.settings[app]
	return s, 7, ok
}

func (f *fakeFolds) PartAlerts(app string) ([]projections.PartAlerts, error) {
	if len(f.settings[app].Alerts) == 0 {
		return make([]projections.PartAlerts, len(f.parts)), nil
	}
	return f.parts, nil
}

// TestSilentPartitionsGetAnEntry: where the clock of a partition does not come to an hour by
// itself, and an app waits for its alerts, an entry moves it on; and nowhere else.
func TestSilentPartitionsGetAnEntry(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	hour := start.UnixMilli() / projections.HourMillis
	rule := events.AlertRule{Name: "quiet", After: events.Duration(time.Hour), ReadBelow: 30}
	f := &fakeFolds{
		settings: map[string]events.Settings{"o#plain": {}},
		parts:    []projections.PartAlerts{{Upto: hour}, {Upto: hour - 1}, {Upto: hour - 1}},
	}
	now := start.Add(5 * time.Second)
	k := newAlertKeeper(&commands{}, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	k.folds, k.grace, k.now = f, 20*time.Second, func() time.Time { return now }
	k.configure = func(_ context.Context, partition int, app string, _ events.Settings, revision uint64) (events.Outcome, error) {
		if app != "o#a" || revision != 7 {
			t.Errorf("settings of %s, revision %d", app, revision)
		}
		f.moved = append(f.moved, partition)
		return events.OutcomeDuplicate, nil
	}
	look := func(after time.Duration, why string, want ...int) {
		t.Helper()
		f.moved = nil
		now = now.Add(after)
		if err := k.look(t.Context()); err != nil || !slices.Equal(f.moved, want) {
			t.Errorf("%s: moved %v, %v, want %v", why, f.moved, err, want)
		}
	}
	look(time.Minute, "no app has rules")
	f.settings["o#a"] = events.Settings{Alerts: []events.AlertRule{rule}}
	now = start
	look(19*time.Second, "an entry may still come by itself")
	f.unready = errors.New("folding")
	look(2*time.Second, "the folds have not caught up")
	f.unready = nil
	look(2*time.Second, "two are silent", 1, 2)
	look(10*time.Second, "the broker may be slow")
	look(clockAgain, "the broker's clock is behind", 1, 2)
	f.parts[1].Upto, f.parts[2].Upto = hour, hour
	look(clockAgain, "all have come to the hour")

	// What is there at the start is not counted; what comes is, once, and by its kind.
	counted := func(by events.AlertBy) float64 { return testutil.ToFloat64(k.decided.WithLabelValues(nameOf(by))) }
	alert := func(group string) projections.Alert {
		return projections.Alert{Rule: rule, Key: group, Hour: hour - 2, Eligible: 4}
	}
	k.known = nil
	f.parts[0].Groups = []projections.Alert{alert("g1")}
	look(0, "started again")
	f.parts[0].Groups = append(f.parts[0].Groups, alert("g2"))
	f.parts[1].Groups = []projections.Alert{alert("g3")}
	look(0, "two more")
	f.unsure = projector.ErrLate
	if err := k.look(t.Context()); !errors.Is(err, projector.ErrLate) {
		t.Errorf("nobody can tell whether there are apps with rules: %v", err)
	}
	f.unsure = nil
	look(0, "none more")
	if got := counted(events.AlertByGroup); got != 2 || counted(events.AlertByLabel) != 0 {
		t.Errorf("%v alerts of groups counted, want 2", got)
	}
}

// TestRepeatedSettingsMoveTheClock: the entry that moves a clock on changes nothing else.
func TestRepeatedSettingsMoveTheClock(t *testing.T) {
	r := start(t, testConfig(t))
	c := &commands{log: r.Log, projector: r.Projector, users: newUserLocks()}
	s := events.DefaultSettings()
	s.Alerts = []events.AlertRule{{Name: "quiet", After: events.Duration(time.Hour), ReadBelow: 30}}
	if _, err := c.Configure(testContext(t), app, s); err != nil {
		t.Fatal(err)
	}
	_, revision := r.inForce()
	before, err := r.Projector.PartAlerts(app)
	if err != nil {
		t.Fatal(err)
	}
	stats := r.Projector.Stats()
	k := newAlertKeeper(c, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	k.now, k.grace = func() time.Time { return time.Now().Add(2 * time.Hour) }, 0
	if err := k.look(testContext(t)); err != nil {
		t.Fatal(err)
	}
	for i, after := range r.Projector.Stats() {
		if after.Sequence != stats[i].Sequence+1 || after.Outcomes[events.OutcomeDuplicate] != stats[i].Outcomes[events.OutcomeDuplicate]+1 {
			t.Errorf("partition %d, at hour %d: entry %d after %d, %v", i, before[i].Upto, after.Sequence, stats[i].Sequence, after.Outcomes)
		}
	}
	if _, now := r.inForce(); now != revision {
		t.Errorf("revision %d became %d", revision, now)
	}
}
