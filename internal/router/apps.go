package router

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/internal/presence"
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
	// rememberMost bounds how many are.
	rememberMost = 1024
)

// remembered are settings that another node has told, for a node that has no partition at all.
type remembered struct {
	mu  sync.Mutex
	all map[string]told
}

type told struct {
	configuredAs
	entry uint64
	at    time.Time
}

func (r *remembered) get(app string, entry uint64) (configuredAs, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	x, known := r.all[app]
	return x.configuredAs, known && x.entry >= entry && time.Since(x.at) < rememberFor
}

func (r *remembered) put(app string, x told) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil || len(r.all) >= rememberMost {
		r.all = map[string]told{}
	}
	r.all[app] = x
}

// last is the partition that has settings of an app after all others.
func (r *Router) last() int { return len(r.seen) - 1 }

// Settings returns the settings of an app that are in force; see [projector.Projector.Settings]. A
// node without any partition asks another one, which is as good as its own fold: it may be some
// milliseconds behind, and has all that this node has heard of.
func (r *Router) Settings(app string) (s events.Settings, revision uint64, ok bool) {
	if s, revision, ok = r.Projector.Settings(app); ok || r.Configured() {
		return s, revision, ok
	}
	k := r.last()
	x, known := r.apps.get(app, r.seen[k].Load())
	if !known {
		x = r.settingsElsewhere(k, app)
	}
	return x.Settings, x.Revision, x.OK
}

func (r *Router) settingsElsewhere(partition int, app string) (x configuredAs) {
	ctx, cancel := context.WithTimeout(context.Background(), askMax)
	defer cancel()
	began := time.Now()
	answers, err := r.ask(ctx, settings.name, &args{App: app}, []cluster.Entry{{Partition: partition}})
	if err == nil {
		x, err = decode[configuredAs](&answers[0])
	}
	if err != nil {
		return configuredAs{} // unknown, as far as this node can tell
	}
	r.apps.put(app, told{x, answers[0].Sequence, began})
	return x
}

// SettingsAt returns the settings of an app as one partition has them, and their revision.
func (r *Router) SettingsAt(partition int, app string) (s events.Settings, revision uint64, ok bool) {
	if r.Presence(partition) == presence.Here {
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
		if r.Presence(k) == presence.Here {
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
	return projector.OfEach(inAll(r, &partAlerts, &args{App: app}))
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
