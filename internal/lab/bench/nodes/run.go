package nodes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/bench/load"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

// Options of a run.
type Options struct {
	// Dir is where the data of the run lies; it is removed at the end.
	Dir string
	// Runs is how often each layout is measured, alternately, each phase for Duration.
	Runs     int
	Duration time.Duration
	// Receipts are in the log, at least, when a node has lost its state.
	Receipts int
	// Profiles, if not empty, is a directory that gets a processor profile of each node under full
	// load, of the last run.
	Profiles string
	// Connections are how many requests of 1000 events are under way under full load.
	Connections int
	// Traffic to make.
	Traffic sim.Config
	// Layouts to measure; nil = those of the design's targets.
	Layouts []Layout
	// Self is the command line that starts a node: that of [child.ThisProgram].
	Self child.Self
	// Phase, if not nil, is called with the name of each phase as it begins.
	Phase func(name string)
}

// Layout is how many nodes there are and how many of them fold each partition; 0 = all.
type Layout struct {
	Nodes  int `json:"nodes"`
	Copies int `json:"copies"`
}

// String says it as a table does.
func (l Layout) String() string {
	switch {
	case l.Nodes == 1:
		return "one process"
	case l.Copies == 0:
		return fmt.Sprintf("%d nodes, %d copies", l.Nodes, l.Nodes)
	case l.Copies == 1:
		return fmt.Sprintf("%d nodes, 1 copy", l.Nodes)
	}
	return fmt.Sprintf("%d nodes, %d copies", l.Nodes, l.Copies)
}

// targets are the layouts of the design's targets.
var targets = []Layout{{Nodes: 1}, {Nodes: 3}, {Nodes: 3, Copies: 1}}

// partitions is the same in all layouts: each node has two if each has one copy.
const partitions = 6

// Row is what was measured of a layout: medians of all runs, latencies in milliseconds.
type Row struct {
	Layout Layout `json:"layout"`
	// Rate is how many receipts a second were durable, folded and queryable at full load, CPU the
	// processor time of all nodes for a million of them, in seconds.
	Rate float64 `json:"receipts_per_s"`
	CPU  float64 `json:"cpu_s_per_million"`
	// Entry is how many events an entry of the log had then, on average.
	Entry float64 `json:"events_per_entry"`
	// IdleP50 and IdleP99 are of one receipt at a time, until it can be queried.
	IdleP50 float64 `json:"idle_p50_ms"`
	IdleP99 float64 `json:"idle_p99_ms"`
	// AskP50 and AskP99 are of questions for one message, to one node after the other.
	AskP50 float64 `json:"ask_p50_ms"`
	AskP99 float64 `json:"ask_p99_ms"`
	// Back is how many seconds a node that had lost its state took until it was ready, and had it
	// again, with BackReceipts in the log; 0 if there is one node, or none has all of it.
	Back         float64 `json:"back_s"`
	BackReceipts int     `json:"back_receipts"`
	// CountsChecked is how many counts of messages were compared at each node.
	CountsChecked int `json:"counts_checked"`
}

// Run measures all layouts. The context ends it early, with an error.
func Run(ctx context.Context, o Options) (rows []Row, err error) {
	if o.Profiles != "" {
		if o.Profiles, err = filepath.Abs(o.Profiles); err == nil {
			err = os.MkdirAll(o.Profiles, 0o755)
		}
		if err != nil {
			return nil, fmt.Errorf("nodes: %w", err)
		}
	}
	dir, err := os.MkdirTemp(o.Dir, "receiptd-nodes-")
	if err != nil {
		return nil, fmt.Errorf("nodes: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	layouts := o.Layouts
	if layouts == nil {
		layouts = targets
	}
	all := make([][]Row, len(layouts))
	for run := range max(1, o.Runs) {
		for i, layout := range layouts {
			if o.Phase != nil {
				o.Phase(fmt.Sprintf("%s, run %d", layout, run+1))
			}
			row, err := measureLayout(ctx, &o, layout, filepath.Join(dir, fmt.Sprintf("%d-%d", run, i)))
			if err != nil {
				return nil, fmt.Errorf("nodes: %s: %w", layout, err)
			}
			all[i] = append(all[i], row)
		}
	}
	for _, of := range all {
		rows = append(rows, medians(of))
	}
	return rows, nil
}

// medians takes each figure for itself.
func medians(rows []Row) Row {
	r := rows[0]
	for _, figure := range []func(*Row) *float64{
		func(r *Row) *float64 { return &r.Rate }, func(r *Row) *float64 { return &r.CPU },
		func(r *Row) *float64 { return &r.Entry },
		func(r *Row) *float64 { return &r.IdleP50 }, func(r *Row) *float64 { return &r.IdleP99 },
		func(r *Row) *float64 { return &r.AskP50 }, func(r *Row) *float64 { return &r.AskP99 },
		func(r *Row) *float64 { return &r.Back },
	} {
		values := make([]float64, len(rows))
		for i := range rows {
			values[i] = *figure(&rows[i])
		}
		slices.Sort(values)
		n := len(values)
		*figure(&r) = (values[(n-1)/2] + values[n/2]) / 2
	}
	return r
}

// measureLayout measures one layout, with data of its own.
func measureLayout(ctx context.Context, o *Options, l Layout, dir string) (row Row, err error) {
	traffic, err := sim.New(o.Traffic)
	if err != nil {
		return row, err
	}
	streams, err := traffic.Generators(min(load.Streams, o.Traffic.Groups))
	if err != nil {
		return row, err
	}
	c, err := newCluster(o, l, dir)
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, c.stop(), os.RemoveAll(dir)) }()
	if err := c.start(ctx); err != nil {
		return row, err
	}
	if err := c.nodes[0].Prepare(ctx, traffic); err != nil {
		return row, fmt.Errorf("prepare: %w; %s", err, c.lastWords())
	}
	m := measuring{o: o, cluster: c, streams: streams, row: Row{Layout: l}}
	for _, phase := range []func(context.Context) error{m.idle, m.fullLoad, m.questions, m.back, m.check} {
		if err := phase(ctx); err != nil {
			return row, fmt.Errorf("%w; %s", err, c.lastWords())
		}
	}
	return m.row, nil
}
