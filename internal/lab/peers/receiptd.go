package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/bench/measure"
	"github.com/receiptd/receiptd/internal/lab/sim"
	"github.com/receiptd/receiptd/internal/runtime"
)

// remote is receiptd as a process of its own, used over HTTP as any backend would.
type remote struct{ *child.Receiptd }

// Start starts receiptd with its defaults and makes apps and groups.
func (r *remote) Start(ctx context.Context, dir string, traffic *sim.Traffic) error {
	if err := r.Receiptd.Start(ctx, dir); err != nil {
		return err
	}
	return r.Prepare(ctx, traffic)
}

// Bytes are those of log and state after a stop, when all of the state is written.
func (r *remote) Bytes(context.Context) (float64, error) {
	if err := r.Stop(); err != nil {
		return 0, err
	}
	return measure.DiskBytes(filepath.Join(r.Dir(), "data"))
}

// embedded is receiptd in this process, used as a Go program would that has it built in. Its processor time is
// that of the whole process, the traffic's making included.
type embedded struct {
	server *runtime.Server
	stop   context.CancelFunc
	ended  chan error
	data   string
}

// Start opens log and state and makes apps and groups.
func (e *embedded) Start(ctx context.Context, dir string, traffic *sim.Traffic) (err error) {
	cfg := child.ReceiptdConfig(dir)
	runtime.TuneMemory(cfg.State, sim.LedgerBytes)
	e.data = cfg.Data
	if e.server, err = runtime.Build(ctx, cfg, child.Warnings(os.Stderr), "peers"); err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	e.stop, e.ended = stop, make(chan error, 1)
	go func() { e.ended <- e.server.Run(running) }()
	for _, app := range traffic.Apps() {
		if _, err := e.server.Configure(ctx, app, traffic.Settings()); err != nil {
			return err
		}
	}
	return child.InPieces(traffic.Setup(), 100, func(evs []events.Event) error { return e.Load(ctx, evs) })
}

// Load appends the events and waits until they are folded.
func (e *embedded) Load(ctx context.Context, evs []events.Event) error {
	ticket, err := e.server.Log.Submit(ctx, evs)
	if err != nil {
		return err
	}
	if err := ticket.Wait(ctx); err != nil {
		return err
	}
	for _, p := range ticket.Positions() {
		if err := e.server.Projector.WaitFor(ctx, p.Partition, p.Sequence); err != nil {
			return err
		}
	}
	return nil
}

// Counts asks the fold.
func (e *embedded) Counts(_ context.Context, app string, messages []string) (map[string]int, error) {
	answer, err := e.server.Projector.Counts(app, messages)
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int, len(messages))
	for id, c := range answer {
		counts[id] = c.Read
	}
	return counts, nil
}

// CPU is that of this process.
func (e *embedded) CPU() (float64, error) { return measure.CPUSeconds(), nil }

// Bytes are those of log and state after a stop, when all of the state is written.
func (e *embedded) Bytes(context.Context) (float64, error) {
	if err := e.Stop(); err != nil {
		return 0, err
	}
	return measure.DiskBytes(e.data)
}

// Stop drains and closes.
func (e *embedded) Stop() error {
	if e.server == nil {
		return nil
	}
	var err error
	if e.stop != nil {
		e.stop()
		err = <-e.ended
	}
	err = errors.Join(err, e.server.Close(context.Background()))
	e.server, e.stop = nil, nil
	return err
}
