package nodes

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/bench/load"
	"github.com/receiptd/receiptd/internal/lab/bench/measure"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

// measuring is a layout under measurement.
type measuring struct {
	o       *Options
	cluster *cluster
	streams []*sim.Generator
	row     Row
}

const (
	fullBatch   = 1000
	idleRate    = 50  // receipts a second, one a request
	askRate     = 200 // questions a second
	checkedMost = 20_000
)

func (m *measuring) load(connections, batch int) *load.Load {
	return &load.Load{System: m.cluster, Connections: connections, Batch: batch, Streams: m.streams}
}

// idle measures one receipt at a time.
func (m *measuring) idle(ctx context.Context) error {
	if err := m.cluster.rest(ctx); err != nil {
		return err
	}
	var took measure.Samples
	_, err := m.load(1, 1).Phase(ctx, m.o.Duration, idleRate, &took)
	m.row.IdleP50, m.row.IdleP99 = took.Quantile(.5), took.Quantile(.99)
	return err
}

// fullLoad measures throughput, and what it takes of the processors, once it has warmed up.
func (m *measuring) fullLoad(ctx context.Context) error {
	if _, err := m.load(m.o.Connections, fullBatch).Phase(ctx, m.o.Duration/2, 0, nil); err != nil {
		return err
	}
	before, err := m.cluster.cpu()
	if err != nil {
		return err
	}
	entries, events, err := m.cluster.entries(ctx)
	if err != nil {
		return err
	}
	if err := m.cluster.toggleProfiles(); err != nil {
		return err
	}
	done, err := m.load(m.o.Connections, fullBatch).Phase(ctx, m.o.Duration, 0, nil)
	if err = errors.Join(err, m.cluster.toggleProfiles()); err != nil {
		return err
	}
	after, err := m.cluster.cpu()
	if err != nil {
		return err
	}
	m.row.Rate, m.row.CPU = done.Rate(), (after-before)/float64(done.Receipts)*1e6
	entriesAfter, eventsAfter, err := m.cluster.entries(ctx)
	m.row.Entry = (eventsAfter - events) / max(1, entriesAfter-entries)
	return err
}

// questions asks one node after the other for messages, when all are at rest.
func (m *measuring) questions(ctx context.Context) error {
	if err := m.cluster.rest(ctx); err != nil {
		return err
	}
	var paths []string
	for _, g := range m.streams {
		g.Expected(func(app, _, id string, _ int) {
			paths = append(paths, child.App(app)+"/messages/"+url.PathEscape(id))
		})
	}
	var took measure.Samples
	tick := time.NewTicker(time.Second / askRate)
	defer tick.Stop()
	for end := time.Now().Add(m.o.Duration); time.Now().Before(end); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		begun := time.Now()
		if err := m.cluster.nextNode().Get(ctx, paths[rand.IntN(len(paths))], nil); err != nil {
			return err
		}
		took.Add(time.Since(begun))
	}
	m.row.AskP50, m.row.AskP99 = took.Quantile(.5), took.Quantile(.99)
	return nil
}

// back takes the state of a node away, as a new disk does, and measures until it has it again.
func (m *measuring) back(ctx context.Context) error {
	if m.row.Layout.Nodes == 1 || m.row.Layout.Copies != 0 {
		return nil
	}
	for m.load(1, 1).Totals().Receipts < m.o.Receipts {
		if _, err := m.load(m.o.Connections, fullBatch).Phase(ctx, time.Second, 0, nil); err != nil {
			return err
		}
	}
	if err := m.cluster.rest(ctx); err != nil {
		return err
	}
	last := len(m.cluster.nodes) - 1
	n := m.cluster.nodes[last]
	if err := n.Stop(); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(m.cluster.dirs[last], "data", "state")); err != nil {
		return err
	}
	begun := time.Now()
	if err := n.Start(ctx, m.cluster.dirs[last]); err != nil {
		return err
	}
	m.row.Back, m.row.BackReceipts = time.Since(begun).Seconds(), m.load(1, 1).Totals().Receipts
	return nil
}

// check compares counts at each node with what the traffic must lead to.
func (m *measuring) check(ctx context.Context) error {
	if err := m.cluster.rest(ctx); err != nil {
		return err
	}
	made := m.load(1, 1).Totals()
	for i, n := range m.cluster.nodes {
		one := &load.Load{System: &cluster{nodes: []*child.Receiptd{n}}, Connections: 1, Batch: 1, Streams: m.streams}
		checked, err := one.Check(ctx, max(1, made.Messages/checkedMost))
		if err != nil {
			return fmt.Errorf("node %d: %w", i, err)
		}
		m.row.CountsChecked = checked
	}
	return nil
}
