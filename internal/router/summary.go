package router

import (
	"context"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/projections"
)

// coverMax bounds how long a summary waits until what comes after it is told.
const coverMax = 3 * time.Second

// Summary returns an author's summary; see [projector.Projector.Summary]. If they are online,
// all that comes after it is told.
func (r *Router) Summary(app, user, device string) (projections.Summary, []uint64, error) {
	all := map[int]uint64{}
	for k := range r.seen {
		all[k] = 0
	}
	return r.SummaryAfter(app, user, device, all)
}

// SummaryAfter is Summary of some partitions; see [projector.Projector.SummaryAfter].
func (r *Router) SummaryAfter(app, user, device string, after map[int]uint64) (projections.Summary, []uint64, error) {
	parts := make([]partSummary, len(r.seen))
	var group errgroup.Group
	for k, sequence := range after {
		group.Go(func() (err error) {
			parts[k], err = r.summary(k, &args{App: app, User: user, Device: device, After: sequence})
			return err
		})
	}
	err := group.Wait()
	j := projector.NewJoinedSummary(len(r.seen))
	for _, k := range slices.Sorted(maps.Keys(after)) {
		j.Add(k, parts[k].Summary, parts[k].Upto)
	}
	return j.Summary, j.Upto, err
}

// SummaryAt is Summary of one partition.
func (r *Router) SummaryAt(partition int, app, user, device string) (projections.Summary, uint64, error) {
	x, err := in(r, partition, &summary, &args{App: app, User: user, Device: device})
	return x.Summary, x.Upto, err
}

// summary is a partition's part of a summary after which all is told.
func (r *Router) summary(partition int, a *args) (partSummary, error) {
	ctx, cancel := context.WithTimeout(context.Background(), coverMax)
	defer cancel()
	from, err := r.feeds.Cover(ctx, partition, a.App, a.User)
	if err != nil {
		return partSummary{}, r.untold(partition, err)
	}
	return inFrom(r, partition, &summary, a, from)
}

// KnowsDevice reports whether a partition need not be told again that an author has a device.
func (r *Router) KnowsDevice(partition int, app, user, device string) (bool, error) {
	return in(r, partition, &knowsDevice, &args{App: app, User: user, Device: device})
}
