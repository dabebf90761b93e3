package runtime

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

const (
	// alertsEvery is how often it is looked whether an hour has begun.
	alertsEvery = 10 * time.Second
	// An entry is appended to a partition that has none in an hour so long after its beginning, and
	// up to so much later: mostly an entry comes by itself, or another node is first.
	clockGrace  = 10 * time.Second
	clockJitter = 30 * time.Second
	// clockAgain is how long it takes until that is tried again: the broker's clock may be behind.
	clockAgain = time.Minute
)

// alertFolds is what the alertKeeper asks. [projector.Projector] is one.
type alertFolds interface {
	Ready() error
	Apps() []string
	FindApp(app string) (s events.Settings, revision uint64, err error)
	SettingsAt(partition int, app string) (s events.Settings, revision uint64, ok bool)
	PartAlerts(app string) ([]projections.PartAlerts, error)
}

// alertKeeper has the clocks of the folds move on where apps wait for alerts and nothing else does
// it, and counts what is decided. It decides nothing: what it appends is a duplicate, whichever
// nodes append it and however often.
type alertKeeper struct {
	folds alertFolds
	// configure appends settings to a partition.
	configure func(ctx context.Context, partition int, app string, s events.Settings, revision uint64) (events.Outcome, error)
	now       func() time.Time
	grace     time.Duration
	again     time.Time // no clock is moved on before
	logger    *slog.Logger
	decided   *prometheus.CounterVec
	// known are the alerts that were counted, or there from the start; nil before the first look.
	known map[string]map[projections.AlertName]bool
}

func newAlertKeeper(c *commands, registry prometheus.Registerer, logger *slog.Logger) *alertKeeper {
	k := &alertKeeper{
		folds: c.projector, configure: c.configure, now: time.Now, grace: clockGrace + rand.N(clockJitter), logger: logger,
		decided: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "receiptd_read_rate_alerts_total", Help: "Alerts of read rates that apps have rules for, decided since the start.",
		}, []string{"by"}),
	}
	for by := events.AlertByGroup; by <= events.AlertByLabel; by++ {
		k.decided.WithLabelValues(nameOf(by))
	}
	registry.MustRegister(k.decided)
	return k
}

func nameOf(by events.AlertBy) string {
	name, _ := by.MarshalText() // one of ours has one
	return string(name)
}

// run looks until the context ends.
func (k *alertKeeper) run(ctx context.Context) {
	tick := time.NewTicker(alertsEvery)
	defer tick.Stop()
	for {
		if err := k.look(ctx); err != nil && ctx.Err() == nil {
			k.logger.Warn("alerts of read rates may be late: the clock of a partition could not be moved on", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// look counts what is new, and moves clocks on.
func (k *alertKeeper) look(ctx context.Context) error {
	if k.folds.Ready() != nil {
		return nil // what is folded now is no news, and an entry may be there already
	}
	first := k.known == nil
	known := map[string]map[projections.AlertName]bool{}
	late := ""
	for _, app := range k.folds.Apps() {
		s, _, err := k.folds.FindApp(app)
		if err != nil {
			return fmt.Errorf("find app %s: %w", app, err)
		}
		if len(s.Alerts) == 0 && k.known[app] == nil {
			continue
		}
		parts, err := k.folds.PartAlerts(app)
		if err != nil {
			return err
		}
		list, upto := projections.JoinAlerts(parts)
		known[app] = make(map[projections.AlertName]bool, len(list))
		for i := range list {
			known[app][list[i].Name()] = true
			if !first && !k.known[app][list[i].Name()] {
				k.decided.WithLabelValues(nameOf(list[i].Rule.By)).Inc()
			}
		}
		if begun := k.now().Add(-k.grace).UnixMilli() / projections.HourMillis; len(s.Alerts) > 0 && upto < begun {
			late = app
		}
	}
	k.known = known
	if late == "" || k.now().Before(k.again) {
		return nil
	}
	k.again = k.now().Add(clockAgain)
	return k.moveOn(ctx, late)
}

// moveOn appends an entry to each partition that had none in this hour: settings of an app that it
// has already.
func (k *alertKeeper) moveOn(ctx context.Context, app string) error {
	parts, err := k.folds.PartAlerts(app)
	if err != nil {
		return err
	}
	for i, part := range parts {
		if part.Upto >= k.now().UnixMilli()/projections.HourMillis {
			continue
		}
		s, revision, ok := k.folds.SettingsAt(i, app)
		if !ok {
			continue // it will have them in a moment, by an entry
		}
		if _, err := k.configure(ctx, i, app, s, revision); err != nil {
			return err
		}
	}
	return nil
}
