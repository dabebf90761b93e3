package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/bench/embedded"
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

// Bytes counts log and state after a stop, when all of the state is written.
func (r *remote) Bytes(context.Context) (float64, error) {
	if err := r.Stop(); err != nil {
		return 0, err
	}
	return measure.DiskBytes(filepath.Join(r.Dir(), "data"))
}

// builtIn is receiptd in this process, used as by a Go program that embeds it. Its processor time
// is that of the whole process, including the load generator.
type builtIn struct {
	*embedded.Server // nil before Start
	data             string
}

// Start opens log and state and makes apps and groups.
func (b *builtIn) Start(ctx context.Context, dir string, traffic *sim.Traffic) (err error) {
	cfg := child.ReceiptdConfig(dir)
	runtime.TuneMemory(cfg.State, sim.LedgerBytes)
	b.data = cfg.Data
	if b.Server, err = embedded.Start(ctx, cfg, child.Warnings(os.Stderr)); err != nil {
		return err
	}
	return b.Prepare(ctx, traffic)
}

// CPU counts this process.
func (b *builtIn) CPU() (float64, error) { return measure.CPUSeconds(), nil }

// Bytes counts log and state after a stop, when all of the state is written.
func (b *builtIn) Bytes(context.Context) (float64, error) {
	if err := b.Stop(); err != nil {
		return 0, err
	}
	return measure.DiskBytes(b.data)
}

// Stop drains and closes.
func (b *builtIn) Stop() error {
	if b.Server == nil {
		return nil
	}
	return b.Server.Stop()
}
