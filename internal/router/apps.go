package router

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/copystate"
	"github.com/receiptd/receiptd/projections"
)

// configuredAs are the settings of an app, as a partition has them.
type configuredAs struct {
	Settings events.Settings
	Revision uint64
	OK       bool
}

const (
	// rememberFor is how long settings are believed that another node has told, unless this node
	// has heard of a later entry: about as long as a fold may be behind.
	rememberFor = 200 * time.Millisecond
	// askSoon is how long one partition is waited for while another one may know as much.
	askSoon = 500 * time.Millisecond
	// rememberMost bounds how many are.
	rememberMost = 1024
)

// settingsCache has the settings of apps as other nodes told them, for a node without a copy of any
// partition.
type settingsCache struct {
	mu  sync.Mutex
	all map[string]told
}

type told struct {
	configuredAs
	entry uint64
	at    time.Time
}

func (r *settingsCache) get(app string, entry uint64) (configuredAs, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	x, known := r.all[app]
	return x.configuredAs, known && x.entry >= entry && time.Since(x.at) < rememberFor
}

// latest is what was told last, however long ago.
func (r *settingsCache) latest(app string) (configuredAs, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	x, known := r.all[app]
	return x.configuredAs, known
}

func (r *settingsCache) put(app string, x told) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil || len(r.all) >= rememberMost {
		r.all = map[string]told{}
	}
	r.all[app] = x
}

// last is the partition that has settings of an app after all others.
func (r *Router) last() int { return len(r.seen) - 1 }

// FindApp returns the settings of an app that are in force; see [projector.Projector.Settings]. A
// node without any partition asks another one, which is as good as its own fold: it may be some
// milliseconds behind, and has all that this node has heard of.
//
// The error is [projector.ErrNoApp] for an app that has none. Any other one says that nobody who
// could tell answers.
func (r *Router) FindApp(app string) (s events.Settings, revision uint64, err error) {
	if s, revision, err = r.Projector.FindApp(app); err == nil || r.Configured() {
		return s, revision, err
	}
	x, known := r.apps.get(app, r.seen[r.last()].Load())
	if !known {
		if x, err = r.settingsElsewhere(app); err != nil {
			return s, 0, err
		}
	}
	if !x.OK {
		return s, 0, projector.ErrNoApp
	}
	return x.Settings, x.Revision, nil
}

// settingsElsewhere asks for the settings of an app as the last partition has them. Where nobody
// answers for that one, an earlier one has them as well, and else what was told before is the best
// that there is: an app is not gone because a node is.
func (r *Router) settingsElsewhere(app string) (configuredAs, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askMax)
	defer cancel()
	for k := r.last(); k >= 0; k-- {
		if x, err := r.settingsOf(ctx, app, k, askSoon); err == nil {
			return x, nil
		}
	}
	if x, ok := r.apps.latest(app); ok {
		return x, nil
	}
	return r.settingsOf(ctx, app, r.last(), askMax)
}

// settingsOf asks for the settings of an app in one partition, and remembers them.
func (r *Router) settingsOf(
	ctx context.Context, app string, partition int, limit time.Duration,
) (x configuredAs, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	answers, err := r.ask(ctx, settings.name, &args{App: app}, []eventlog.Position{{Partition: partition}})
	if err == nil {
		x, err = decode[configuredAs](&answers[0])
	}
	if err != nil {
		return configuredAs{}, fmt.Errorf("ask for the settings of an app: %w", err)
	}
	r.apps.put(app, told{x, r.seen[r.last()].Load(), began})
	return x, nil
}

// SettingsAt returns the settings of an app as one partition has them, and their revision.
func (r *Router) SettingsAt(partition int, app string) (s events.Settings, revision uint64, ok bool) {
	if r.CopyState(partition) == copystate.Here {
		return r.Projector.SettingsAt(partition, app)
	}
	x, err := in(r, partition, &settings, &args{App: app})
	return x.Settings, x.Revision, err == nil && x.OK
}

// Apps returns the keys of the apps that have settings in force, in order.
func (r *Router) Apps() []string {
	if r.Configured() {
		return r.Projector.Apps()
	}
	revisions, err := in(r, r.last(), &apps, &args{})
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(revisions))
}

// Revisions returns for each app the revision of its settings in each partition, 0 where it is
// unknown, or nobody can be asked.
func (r *Router) Revisions() map[string][]uint64 {
	all := r.Projector.Revisions()
	for k := range r.seen {
		if r.CopyState(k) == copystate.Here {
			continue
		}
		revisions, err := in(r, k, &apps, &args{})
		if err != nil {
			continue
		}
		for app, revision := range revisions {
			if all[app] == nil {
				all[app] = make([]uint64, len(r.seen))
			}
			all[app][k] = revision
		}
	}
	return all
}

// PartAlerts returns what each partition has decided about the alerts of an app.
func (r *Router) PartAlerts(app string) ([]projections.PartAlerts, error) {
	return projector.Collect(inAll(r, &partAlerts, &args{App: app}))
}

// Alerts returns the alerts of an app that are kept; see [projector.Projector.Alerts].
func (r *Router) Alerts(app string) (list []projections.Alert, upto int64, err error) {
	parts, err := r.PartAlerts(app)
	if err != nil {
		return nil, 0, err
	}
	list, upto = projections.JoinAlerts(parts)
	return list, upto, nil
}
