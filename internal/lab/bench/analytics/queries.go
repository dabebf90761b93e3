package analytics

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/chserver"
	"github.com/receiptd/receiptd/internal/lab/sim"
	"github.com/receiptd/receiptd/projections"
	ch "github.com/receiptd/receiptd/projections/clickhouse"
)

// QueryResult says how long the read-rate queries took, and how much data they ran against.
type QueryResult struct {
	Rows        uint64       `json:"rows"`
	FillRowsS   float64      `json:"fill_rows_per_s"`
	BytesPerRow float64      `json:"bytes_per_row_on_disk"`
	Cohorts     uint64       `json:"cohorts"`
	GroupDays   uint64       `json:"group_days"`
	SenderDays  uint64       `json:"sender_days"`
	Kinds       []QueryTimes `json:"kinds,omitempty"`
	Questions   []Asked      `json:"questions,omitempty"`
}

// QueryTimes are the latencies of queries of one kind.
type QueryTimes struct {
	Kind  string  `json:"kind"`
	P50MS float64 `json:"p50_ms"`
	P95MS float64 `json:"p95_ms"`
	// RowsRead is the most rows that one of them read, Percent the same as a share of the rows
	// of events.
	RowsRead uint64  `json:"rows_read"`
	Percent  float64 `json:"rows_read_percent"`
}

func openStore(ctx context.Context, server *chserver.Process, database string) (*ch.Store, error) {
	s, err := ch.New(ch.Options{DSN: server.DSN(database)})
	if err != nil {
		return nil, err
	}
	return s, s.Ready(ctx)
}

func openConn(server *chserver.Process, database string) (driver.Conn, error) {
	o, err := clickhouse.ParseDSN(server.DSN(database))
	if err != nil {
		return nil, err
	}
	return clickhouse.Open(o)
}

// sizes returns the bytes of a row of events, and of an event in all tables, once all parts are
// merged.
func sizes(ctx context.Context, server *chserver.Process, database string, n int) (perRow, perEvent float64, err error) {
	conn, err := openConn(server, database)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	for _, table := range []string{"events", "messages", "cohorts", "hours", "group_days", "sender_days"} {
		if err := conn.Exec(ctx, "OPTIMIZE TABLE "+table+" FINAL"); err != nil {
			return 0, 0, err
		}
	}
	const where = " FROM system.parts WHERE active AND database = currentDatabase()"
	row := conn.QueryRow(ctx, "SELECT sumIf(bytes_on_disk, table = 'events') / sumIf(rows, table = 'events'), sum(bytes_on_disk) / "+fmt.Sprint(n)+where)
	err = row.Scan(&perRow, &perEvent)
	return perRow, perEvent, err
}

// first is the time of the earliest row that is queried.
var first = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMilli()

// measureQueries makes rows over many days and queries read rates.
func measureQueries(ctx context.Context, server *chserver.Process, o *Options) (*QueryResult, error) {
	store, err := ch.New(ch.Options{DSN: server.DSN("queries") + bounds, Timeout: questionMax})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	if err := store.Ready(ctx); err != nil {
		return nil, err
	}
	r := &QueryResult{}
	started := time.Now()
	filled, err := fill(ctx, store, o)
	if err != nil {
		return nil, fmt.Errorf("fill: %w", err)
	}
	r.Rows = filled.rows
	settings, _, _ := filled.part.Settings(benchApp)
	filled = nil // the state of so many rows is large
	debug.FreeOSMemory()
	r.FillRowsS = float64(r.Rows) / time.Since(started).Seconds()
	if r.BytesPerRow, _, err = sizes(ctx, server, "queries", 1); err != nil {
		return nil, err
	}
	conn, err := openConn(server, "queries"+bounds)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	for table, n := range map[string]*uint64{"cohorts": &r.Cohorts, "group_days": &r.GroupDays, "sender_days": &r.SenderDays} {
		if err := conn.QueryRow(ctx, "SELECT count() FROM "+table).Scan(n); err != nil {
			return nil, err
		}
	}
	store.UseDays()
	if o.Cookbook != "" {
		a := &asker{store: store, conn: conn, server: server, settings: settings, result: r}
		if err := a.ask(ctx, o.Cookbook); err != nil {
			return nil, fmt.Errorf("questions: %w", err)
		}
	}
	if o.Queries > 0 {
		x := &rates{store: store, server: server, span: int64(o.Days) * 24, rows: r.Rows}
		if r.Kinds, err = x.measure(ctx, o.Queries); err != nil {
			return nil, fmt.Errorf("ask for read rates: %w", err)
		}
	}
	return r, nil
}

// groups are the ids of the traffic's groups.
var groups []string

// fill folds traffic with timestamps of its own, without a log, and stores the result.
func fill(ctx context.Context, store *ch.Store, o *Options) (*filler, error) {
	config := sim.DefaultConfig()
	config.Churn = 0.002 // for the members of a group to change in a month, and not in a day
	traffic, err := sim.New(config)
	if err != nil {
		return nil, err
	}
	generators, err := traffic.Generators(1)
	if err != nil {
		return nil, err
	}
	f := &filler{store: store, x: projections.Decoded{At: first}}
	if err := f.open(0); err != nil {
		return nil, err
	}
	settings := traffic.Settings()
	for _, app := range traffic.Apps() {
		if err := f.add(ctx, []events.Event{{Kind: events.AppConfigured, App: app, Settings: &settings, Revision: 1}}); err != nil {
			return nil, err
		}
	}
	for _, e := range traffic.Setup() {
		groups = append(groups, e.Group)
		if err := f.add(ctx, []events.Event{e}); err != nil {
			return nil, err
		}
	}
	const entry = 1000
	f.step = int64(o.Days) * 24 * projections.HourMillis * entry / int64(o.Rows)
	var evs []events.Event
	for f.rows < uint64(o.Rows) && err == nil {
		evs = generators[0].Next(evs[:0], entry)
		f.label(evs)
		err = f.add(ctx, evs)
	}
	if err == nil {
		err = f.flush(ctx)
	}
	return f, err
}

type filler struct {
	folder
	store *ch.Store
	x     projections.Decoded
	step  int64 // between entries, ms
	rows  uint64
	sent  int
}

// label gives labels to some messages: one of fifty is of the campaign that the cookbook asks
// about.
func (f *filler) label(evs []events.Event) {
	for i := range evs {
		if evs[i].Kind != events.MessageSent {
			continue
		}
		switch f.sent++; f.sent % 50 {
		case 0:
			evs[i].Label = "spring"
		case 1, 2, 3:
			evs[i].Label = "summer"
		}
	}
}

func (f *filler) add(ctx context.Context, evs []events.Event) error {
	f.x.Sequence++
	f.x.At += f.step
	f.x.Fingerprint = f.x.Sequence
	if f.block.Rows() > 1<<17 || !f.block.Fits(f.x.At) {
		if err := f.flush(ctx); err != nil {
			return err
		}
	}
	f.batch.SetEvents(evs)
	return f.fold(f.x)
}

func (f *filler) flush(ctx context.Context) error {
	if err := f.store.Insert(ctx, f.block, f.block.Token(0)); err != nil {
		return err
	}
	f.rows += uint64(f.block.Rows())
	f.block = f.block.Next(f.block)
	var messages []ch.MessageRow
	for _, m := range f.part.TakeMessages(nil) {
		messages = append(messages, ch.MessageRow{AppMessage: m, Version: f.x.Sequence})
	}
	if err := f.store.InsertMessages(ctx, messages); err != nil {
		return err
	}
	var cohorts []ch.CohortRow
	for _, c := range f.part.TakeCohorts(nil) {
		cohorts = append(cohorts, ch.CohortRow{Cohort: c, Version: f.x.Sequence})
	}
	return f.store.InsertCohorts(ctx, 0, cohorts)
}
