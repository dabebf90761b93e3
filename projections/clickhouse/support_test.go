package clickhouse

import (
	"context"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/chtest"
	"github.com/receiptd/receiptd/internal/lab/sim"
	"github.com/receiptd/receiptd/projections"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// openStore returns a store with a ClickHouse of its own.
func openStore(t testing.TB) *Store {
	t.Helper()
	return openAt(t, chtest.Start(t).DSN("receiptd"))
}

func openAt(t testing.TB, dsn string) *Store {
	t.Helper()
	s, err := New(Options{DSN: dsn})
	must(t, err)
	must(t, s.Ready(context.Background()))
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// nothing is an empty backing, for folds that stay in memory.
type nothing struct{}

func (nothing) Get([]byte) ([]byte, error)                       { return nil, nil }
func (nothing) Scan([]byte, func(key, value []byte) error) error { return nil }

func (nothing) Range(_, _ []byte, _ func(key, value []byte) error) error { return nil }

// folder folds entries and adds them to blocks.
type folder struct {
	t     testing.TB
	part  *projections.Partition
	batch events.Batch
	facts []projections.Fact
	x     projections.Decoded
}

func newFolder(t testing.TB) *folder {
	part, err := projections.Open(3, nothing{}, projections.Options{CacheBytes: 1 << 40, TrackFacts: true, TrackCohorts: true, Levels: []projections.Level{func(*projections.Limits) {}}})
	must(t, err)
	return &folder{t: t, part: part, x: projections.Decoded{At: 1_700_000_000_000}}
}

// add folds events as the next entry, some milliseconds after the one before, and adds it to a
// block.
func (f *folder) add(b *Block, after int64, evs ...events.Event) {
	f.t.Helper()
	f.x.Sequence++
	f.x.At += after
	f.x.Fingerprint = f.x.Sequence * 0x9e3779b97f4a7c15
	f.batch.SetEvents(evs)
	f.x.Batch = &f.batch
	outcomes, err := f.part.Apply(f.x)
	must(f.t, err)
	f.facts = f.part.TakeFacts(f.facts[:0])
	must(f.t, b.Add(&f.x, outcomes, f.facts))
}

// traffic returns a generator, after adding its apps and groups to a block.
func (f *folder) traffic(b *Block, seed uint64) *sim.Generator {
	f.t.Helper()
	config := sim.DefaultConfig()
	config.Seed = seed
	traffic, err := sim.New(config)
	must(f.t, err)
	generators, err := traffic.Generators(1)
	must(f.t, err)
	settings := traffic.Settings()
	for _, app := range traffic.Apps() {
		f.add(b, 1, events.Event{Kind: events.AppConfigured, App: app, Settings: &settings, Revision: 1})
	}
	for _, e := range traffic.Setup() {
		f.add(b, 1, e)
	}
	return generators[0]
}
