package overload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/bench/measure"
)

// Options of a run.
type Options struct {
	// Dir is where the data of the run lies; it is removed at the end.
	Dir string
	// Duration of each overload, and of the calm phases.
	Duration time.Duration
	// Cells are measured one after the other, on one server.
	Cells []Cell
	// Impatient clients come back at once, whatever they were told.
	Impatient bool
	// Self is the command line that starts a server: that of [child.ThisProgram].
	Self child.Self
	// Phase, if not nil, is called with the name of each phase as it begins.
	Phase func(name string)
}

// Cell is one kind of overload.
type Cell struct {
	Connections int `json:"connections"`
	Batch       int `json:"events_per_request"`
	Tenants     int `json:"tenants"`
}

// Row is what was measured of a cell. Latencies are in milliseconds.
type Row struct {
	Cell
	// Best is the best rate of calmConnections just before, in events a second, Goodput that of
	// the overload, and Share how much of the best it is.
	Best    float64 `json:"best_events_per_s"`
	Goodput float64 `json:"goodput_events_per_s"`
	Share   float64 `json:"share_of_best"`
	// P50, P99, P999 and Max are of requests that were accepted.
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p999_ms"`
	Max  float64 `json:"max_ms"`

	Accepted int64            `json:"accepted"`
	Refused  int64            `json:"refused"`
	Unknown  int64            `json:"unknown"`
	Codes    map[string]int64 `json:"codes,omitempty"`

	// Memory is the largest resident memory of the server while it lasted, in MiB.
	Memory float64 `json:"memory_mib"`

	Quiet Quiet `json:"quiet"`

	// Slowest is the longest that each of the operator's questions took.
	Slowest  map[string]float64 `json:"slowest_ms"`
	Failures map[string]int     `json:"failures,omitempty"`
	// Recovery is how long it took until the quiet tenant was answered as before.
	Recovery float64 `json:"recovery_s"`
}

// Quiet is how the quiet tenant fares, alone and beside the overload.
type Quiet struct {
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	BesideP50 float64 `json:"beside_p50_ms"`
	BesideP99 float64 `json:"beside_p99_ms"`
	Asked     int     `json:"asked"`
	Failed    int     `json:"failed"`
}

// Result is what receiptctl bench overload --json prints.
type Result struct {
	Rows []Row `json:"rows"`
	// Checked messages were there with all their readers, or not at all where they were refused;
	// a wrong one fails the run. Events is how many were folded, in all.
	Checked     int    `json:"messages_checked"`
	Events      uint64 `json:"events"`
	VerifyEqual bool   `json:"verify_equal"`
}

const quietTenant = 1 << 10

// calmConnections are numbers of connections that are no overload. Which of them gets the most
// depends on the batch.
var calmConnections = []int{16, 64}

type run struct {
	o       Options
	server  *child.Receiptd
	senders atomic.Int32
	ledger  []*sent
	set     int64 // events that made the groups
	tenants map[int]bool
}

// Run measures. The context ends it early, with an error.
func Run(ctx context.Context, o Options) (result Result, err error) {
	dir, err := os.MkdirTemp(o.Dir, "receiptd-overload-")
	if err != nil {
		return result, fmt.Errorf("overload: %w", err)
	}
	r := &run{o: o, server: child.NewReceiptd(o.Self, child.NDJSON), tenants: map[int]bool{}}
	defer func() { err = errors.Join(err, r.server.Stop(), os.RemoveAll(dir)) }()
	if err := r.server.Start(ctx, dir); err != nil {
		return result, fmt.Errorf("overload: %w", err)
	}
	if err := r.tenant(ctx, quietTenant); err != nil {
		return result, err
	}
	for _, cell := range o.Cells {
		r.phase("%d connections, %d events a request, %d tenants", cell.Connections, cell.Batch, cell.Tenants)
		row, err := r.cell(ctx, cell)
		if err != nil {
			return result, fmt.Errorf("overload: %+v: %w", cell, err)
		}
		result.Rows = append(result.Rows, row)
	}
	r.phase("counts and verify")
	if err := r.check(ctx, &result); err != nil {
		return result, fmt.Errorf("overload: %w", err)
	}
	return result, ctx.Err()
}

func (r *run) phase(format string, args ...any) {
	if r.o.Phase != nil {
		r.o.Phase(fmt.Sprintf(format, args...))
	}
}

func (r *run) client(contentType string) *client {
	return &client{
		address: strings.TrimPrefix(r.server.URL(), "http://"),
		headers: "Authorization: Bearer " + r.server.Key() + "\r\nContent-Type: " + contentType + "\r\n",
	}
}

func (r *run) nextSender() int { return int(r.senders.Add(1)) }

// tenant makes an app and its group.
func (r *run) tenant(ctx context.Context, tenant int) error {
	if r.tenants[tenant] {
		return nil
	}
	r.tenants[tenant] = true
	c := r.client("application/json")
	defer c.close()
	post := func(method, path string, body []byte) error {
		a, err := c.ask(ctx, method, path, len(body), func(w io.Writer) error {
			_, err := w.Write(body)
			return err
		})
		if err == nil && a.status != 200 {
			err = fmt.Errorf("%s %s: %s", method, path, a.body)
		}
		return err
	}
	settings, _ := json.Marshal(map[string]any{"group_receipts": map[string]any{"enabled": true, "max_group_size": 0}})
	if err := post("PUT", path(tenant), settings); err != nil {
		return err
	}
	r.set++
	return post("POST", path(tenant)+"/events?wait=applied", setup())
}

// cell measures one kind of overload.
func (r *run) cell(ctx context.Context, cell Cell) (row Row, err error) {
	row.Cell = cell
	for tenant := range cell.Tenants {
		if err := r.tenant(ctx, tenant); err != nil {
			return row, err
		}
	}
	quiet := newQuiet(r)
	alone, failed := quiet.ask(ctx, max(100, int(r.o.Duration/2/quietEvery)))
	if failed > 0 {
		return row, fmt.Errorf("%d requests of the quiet tenant alone failed: %s", failed, quiet.example)
	}
	row.Quiet.P50, row.Quiet.P99 = alone.Quantile(0.5), alone.Quantile(0.99)

	traffic := newTraffic(cell.Batch)
	for _, connections := range calmConnections {
		calm := &flood{run: r, traffic: traffic, tenants: 1}
		began := time.Now()
		calm.pour(ctx, connections, r.o.Duration/time.Duration(len(calmConnections)))
		row.Best = max(row.Best, float64(calm.accepted.Load()*int64(cell.Batch))/time.Since(began).Seconds())
	}
	_, _ = quiet.ask(ctx, 50) // a moment

	beside, end := context.WithCancel(ctx)
	defer end()
	var all sync.WaitGroup
	var latencies *measure.Samples
	var p *probes
	all.Go(func() { latencies, row.Quiet.Failed = quiet.ask(beside, 0) })
	all.Go(func() { p = r.probe(beside) })
	all.Go(func() { row.Memory = r.memory(beside) })
	f := &flood{run: r, traffic: traffic, tenants: cell.Tenants}
	began := time.Now()
	f.pour(ctx, cell.Connections, r.o.Duration)
	took := time.Since(began)
	end()
	ended := time.Now()
	all.Wait()
	row.take(f, took, latencies, p)
	row.Recovery = r.recovery(ctx, quiet, 2*row.Quiet.P99+20, ended)
	return row, ctx.Err()
}

func (row *Row) take(f *flood, took time.Duration, quiet *measure.Samples, p *probes) {
	row.Accepted, row.Refused, row.Unknown = f.accepted.Load(), f.refused.Load(), f.unknown.Load()
	row.Goodput = float64(row.Accepted*int64(row.Batch)) / took.Seconds()
	row.Share = row.Goodput / row.Best
	row.P50, row.P99, row.P999, row.Max = f.latencies.Quantile(0.5), f.latencies.Quantile(0.99), f.latencies.Quantile(0.999), f.latencies.Quantile(1)
	row.Codes = map[string]int64{}
	f.codes.Range(func(code, n any) bool {
		row.Codes[code.(string)] = n.(*atomic.Int64).Load()
		return true
	})
	row.Quiet.BesideP50, row.Quiet.BesideP99 = quiet.Quantile(0.5), quiet.Quantile(0.99)
	row.Quiet.Asked = quiet.Len() + row.Quiet.Failed
	row.Slowest, row.Failures = map[string]float64{}, p.failures
	for path, slowest := range p.slowest {
		row.Slowest[path] = float64(slowest.Microseconds()) / 1000
	}
}

// memory is the largest resident memory of the server until the context ends.
func (r *run) memory(ctx context.Context) (most float64) {
	for ctx.Err() == nil {
		if m, err := measure.MemoryOf(r.server.PID()); err == nil {
			most = max(most, m.Resident)
		}
		sleep(ctx, 20*time.Millisecond)
	}
	return most
}

// recovery is how long it takes until the quiet tenant is answered within some milliseconds, ten
// times in a row, at most a minute.
func (r *run) recovery(ctx context.Context, q *quiet, within float64, since time.Time) float64 {
	for time.Since(since) < time.Minute && ctx.Err() == nil {
		at := time.Since(since)
		if latencies, failed := q.ask(ctx, 10); failed == 0 && latencies.Quantile(1) <= within {
			return at.Seconds()
		}
	}
	return time.Since(since).Seconds()
}

// check compares what is in the state with what was answered, and the state with the log.
func (r *run) check(ctx context.Context, result *Result) error {
	var accepted, unknown int64
	for _, s := range r.ledger {
		accepted += int64(len(s.accepted) * s.traffic.batch)
	}
	for _, row := range result.Rows {
		unknown += row.Unknown*int64(row.Batch) + int64(row.Quiet.Failed)
	}
	for tenant := range r.tenants {
		n, err := r.checkTenant(ctx, tenant)
		if err != nil {
			return err
		}
		result.Checked += n
	}
	client, err := ctl.NewClient(r.server.URL(), r.server.Key())
	if err != nil {
		return err
	}
	verified, err := client.Rebuild(ctx, "verify", nil, nil)
	if err != nil {
		return err
	}
	if result.VerifyEqual = verified.Equal; !verified.Equal {
		return fmt.Errorf("the replayed state is not the live one: %+v", verified.Partitions)
	}
	var status struct {
		Partitions []struct {
			Folded uint64 `json:"events_folded"`
		}
	}
	if err := r.server.Get(ctx, "/v1/status", &status); err != nil {
		return err
	}
	for _, p := range status.Partitions {
		result.Events += p.Folded
	}
	// The settings of an app are an event in each partition.
	set := uint64(r.set) + uint64(len(r.tenants)*len(status.Partitions))
	if least := set + uint64(accepted); result.Events < least || result.Events > least+uint64(unknown) {
		return fmt.Errorf("%d events were accepted, and %d are not known to be; %d are in the log", least, unknown, result.Events)
	}
	return nil
}

// checkTenant compares the counts of all messages of a tenant that were accepted, and of some that
// were refused, with what they must be.
func (r *run) checkTenant(ctx context.Context, tenant int) (checked int, err error) {
	want := map[string]int{} // readers, -1 for a message that must not be there
	ask := func() error {
		ids := make([]string, 0, len(want))
		for id := range want {
			ids = append(ids, id)
		}
		counts, err := r.server.Counts(ctx, "overload#"+tenantName(tenant), ids)
		if err != nil {
			return err
		}
		for id, readers := range want {
			n, there := counts[id]
			if there != (readers >= 0) || there && n != readers {
				return fmt.Errorf("message %s of %s: known %v, %d readers, not %d", id, tenantName(tenant), there, n, readers)
			}
		}
		checked += len(want)
		clear(want)
		return nil
	}
	for _, s := range r.ledger {
		if s.tenant != tenant {
			continue
		}
		for _, list := range []struct {
			requests []int32
			readers  int
		}{{s.accepted, s.traffic.readers()}, {s.refused, -1}} {
			for _, request := range list.requests {
				for m := range s.traffic.messages {
					if want[id(s.sender, int(request), m)] = list.readers; len(want) == 1000 {
						if err := ask(); err != nil {
							return checked, err
						}
					}
				}
			}
		}
	}
	if len(want) > 0 {
		err = ask()
	}
	return checked, err
}
