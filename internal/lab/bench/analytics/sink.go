package analytics

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/consumers/analytics"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/chserver"
	"github.com/receiptd/receiptd/internal/lab/sim"
	"github.com/receiptd/receiptd/projections/clickhouse"
)

// SinkResult has the medians of the rounds; Ratio is the median of their ratios.
type SinkResult struct {
	Events         int     `json:"events"`
	Rows           uint64  `json:"rows"`
	RowsPerS       float64 `json:"rows_per_s"`
	DirectRowsPerS float64 `json:"direct_rows_per_s"`
	Ratio          float64 `json:"ratio_sink_to_direct"`
	Rounds         []Round `json:"rounds"`
	BytesPerRow    float64 `json:"bytes_per_row_on_disk"`
	BytesPerEvent  float64 `json:"bytes_per_event_all_tables"`
}

// Round is one run of the sink, and one of the same inserts made directly.
type Round struct {
	Ratio   float64 `json:"ratio"`
	Blocks  int     `json:"blocks"`
	Inserts int     `json:"inserts"`
	Sink    Times   `json:"sink"`
	Direct  Times   `json:"direct"`
}

func median(rounds []Round, of func(*Round) float64) float64 {
	var values []float64
	for i := range rounds {
		values = append(values, of(&rounds[i]))
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

const partitions = 2

// measureSink fills a log. In each round it then fills ClickHouse from that log, and afterwards the
// tables of another database with the same inserts, prepared beforehand and made by the same calls.
// A first round that does not count warms the memory up.
func measureSink(ctx context.Context, server *chserver.Process, dir string, o *Options) (*SinkResult, error) {
	rounds := max(o.Rounds, 1)
	log, err := eventlog.Open(ctx, eventlog.Config{Dir: filepath.Join(dir, "log"), Partitions: partitions, Fsync: eventlog.FsyncInterval, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close(context.WithoutCancel(ctx)) }() // thrown away
	if err := fillLog(ctx, log, o.Events); err != nil {
		return nil, fmt.Errorf("fill the log: %w", err)
	}
	r := &SinkResult{Events: o.Events}
	for i := range rounds + 1 {
		one, rows, err := measureRound(ctx, server, log, filepath.Join(dir, fmt.Sprint("state", i)), i)
		if err != nil {
			return nil, fmt.Errorf("round %d: %w", i, err)
		}
		if r.Rows = uint64(rows); i > 0 {
			r.Rounds = append(r.Rounds, one)
		}
	}
	r.RowsPerS = float64(r.Rows) / median(r.Rounds, func(r *Round) float64 { return r.Sink.Wall })
	r.DirectRowsPerS = float64(r.Rows) / median(r.Rounds, func(r *Round) float64 { return r.Direct.Wall })
	r.Ratio = median(r.Rounds, func(r *Round) float64 { return r.Ratio })
	r.BytesPerRow, r.BytesPerEvent, err = sizes(ctx, server, fmt.Sprint("sink", rounds), o.Events)
	return r, err
}

func measureRound(ctx context.Context, server *chserver.Process, log *eventlog.Log, dir string, n int) (r Round, rows int, err error) {
	sink := &collecting{}
	if sink.Store, err = openStore(ctx, server, fmt.Sprint("sink", n)); err != nil {
		return r, 0, err
	}
	defer sink.Close()
	if r.Sink, err = fillFrom(ctx, log, sink, dir, server); err != nil {
		return r, 0, err
	}
	r.Blocks, r.Inserts = sink.blocks, len(sink.inserts)
	if err := makeAgain(ctx, log, sink.inserts); err != nil {
		return r, 0, fmt.Errorf("make the blocks again: %w", err)
	}
	direct, err := openStore(ctx, server, fmt.Sprint("direct", n))
	if err != nil {
		return r, 0, err
	}
	defer direct.Close()
	r.Direct, err = insertDirectly(ctx, direct, sink.inserts, server)
	r.Ratio = r.Direct.Wall / r.Sink.Wall
	return r, sink.rows, err
}

// fillLog puts n events of traffic into the log.
func fillLog(ctx context.Context, log *eventlog.Log, n int) error {
	traffic, err := sim.New(sim.DefaultConfig())
	if err != nil {
		return err
	}
	settings := traffic.Settings()
	for k := range log.Partitions() {
		for _, app := range traffic.Apps() {
			t, err := log.SubmitTo(ctx, k, []events.Event{{Kind: events.AppConfigured, App: app, Settings: &settings, Revision: 1}})
			if err == nil {
				err = t.Wait(ctx)
			}
			if err != nil {
				return err
			}
		}
	}
	if _, err := log.Append(ctx, traffic.Setup()); err != nil {
		return err
	}
	generators, err := traffic.Generators(1)
	if err != nil {
		return err
	}
	var last *eventlog.Ticket
	var evs []events.Event
	for left := n; left > 0; left -= len(evs) {
		evs = generators[0].Next(evs[:0], min(left, 1000))
		if last, err = log.Submit(ctx, evs); err != nil {
			return err
		}
	}
	return last.Wait(ctx)
}

// insert is one insert that the sink was given.
type insert struct {
	// A block is rebuilt for the direct inserts. Keeping all of them would make the sink
	// allocate fresh memory for each, which costs it a quarter of its time. partition, last and
	// token belong to a block.
	partition int
	last      uint64
	token     string
	block     *clickhouse.Block

	messages []clickhouse.MessageRow
	cells    []clickhouse.CohortRow
}

func (i *insert) into(ctx context.Context, s *clickhouse.Store) error {
	switch {
	case i.token != "":
		return s.Insert(ctx, i.block, i.token)
	case i.messages != nil:
		return s.InsertMessages(ctx, i.messages)
	}
	return s.InsertCohorts(ctx, i.partition, i.cells)
}

// collecting is a sink that records what it is given until everything is stored.
type collecting struct {
	*clickhouse.Store
	mu           sync.Mutex
	inserts      []*insert
	rows, blocks int // of events
	whole        bool
}

func (c *collecting) keep(i *insert, rows, blocks int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.whole {
		c.inserts = append(c.inserts, i)
		c.rows, c.blocks = c.rows+rows, c.blocks+blocks
	}
}

func (c *collecting) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.whole = true
}

// Insert stores a block.
func (c *collecting) Insert(ctx context.Context, b *clickhouse.Block, token string) error {
	c.keep(&insert{partition: b.Partition, last: b.Last, token: token}, b.Rows(), 1)
	return c.Store.Insert(ctx, b, token)
}

// InsertMessages stores the latest state of messages.
func (c *collecting) InsertMessages(ctx context.Context, rows []clickhouse.MessageRow) error {
	err := c.Store.InsertMessages(ctx, rows)
	c.keep(&insert{messages: rows}, 0, 0)
	return err
}

// InsertCohorts stores the latest state of cells.
func (c *collecting) InsertCohorts(ctx context.Context, partition int, rows []clickhouse.CohortRow) error {
	err := c.Store.InsertCohorts(ctx, partition, rows)
	c.keep(&insert{partition: partition, cells: rows}, 0, 0)
	return err
}

// fillFrom has the analytics fill the sink from the whole log, and returns how long that takes.
func fillFrom(ctx context.Context, log *eventlog.Log, sink *collecting, dir string, server *chserver.Process) (took Times, err error) {
	// The last block is not full. Waiting a second for it would be a third of the time.
	a, err := analytics.New(log, sink, analytics.Options{Dir: dir, BlockAge: 100 * time.Millisecond})
	if err != nil {
		return took, err
	}
	timer, err := startTimer(ctx, server)
	if err != nil {
		return took, errors.Join(err, a.Close())
	}
	running, cancel := context.WithCancel(ctx)
	var group errgroup.Group
	group.Go(func() error { return a.Run(running) })
	err = reached(ctx, log, time.Millisecond, func(k int) uint64 { return a.Stats()[k].Stored })
	if err == nil {
		took, err = timer.end()
	}
	sink.end()
	if err == nil { // the latest state of messages, for the sizes
		err = reached(ctx, log, 10*time.Millisecond, func(k int) uint64 { return a.Stats()[k].Refreshed })
	}
	cancel()
	return took, errors.Join(err, group.Wait(), a.Close())
}

// reached waits until every partition has reached the end of its log.
func reached(ctx context.Context, log *eventlog.Log, every time.Duration, at func(partition int) uint64) error {
	for k := range log.Partitions() {
		_, last, err := log.Bounds(ctx, k)
		for err == nil && at(k) < last {
			time.Sleep(every)
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// insertDirectly repeats inserts in their order, as many at a time as the sink has writers.
func insertDirectly(ctx context.Context, store *clickhouse.Store, inserts []*insert, server *chserver.Process) (took Times, err error) {
	timer, err := startTimer(ctx, server)
	if err != nil {
		return took, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(partitions)
	for _, insert := range inserts {
		group.Go(func() error { return insert.into(ctx, store) })
	}
	if err := group.Wait(); err != nil {
		return took, err
	}
	return timer.end()
}
