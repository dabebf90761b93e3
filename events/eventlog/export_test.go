package eventlog

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Limits of the queue, for tests that fill it.
const (
	MaxQueuedBytes = maxQueuedBytes
	MaxWaiting     = maxWaiting
)

// Hooks are the settings that only tests change.
type Hooks struct {
	// DuplicateWindow is that of new streams.
	DuplicateWindow time.Duration
	// Trust is how long retries rely on that window; negative means not at all.
	Trust time.Duration
	// AckTimeout is how long a try waits.
	AckTimeout time.Duration
	// DiskFree stands in for the file system.
	DiskFree func(dir string) (int64, error)
	// Starting is called when the embedded server is about to start.
	Starting func()
	// Stale is for how long answers of a replicated log are not believed, and State changes what
	// the server says of a partition.
	Stale time.Duration
	State func(*jetstream.StreamState)
}

// WithHooks returns the configuration with hooks.
func WithHooks(cfg Config, h Hooks) Config {
	cfg.hooks = hooks{dedup: h.DuplicateWindow, trust: h.Trust, ackAfter: h.AckTimeout, diskFree: h.DiskFree, starting: h.Starting,
		stale: h.Stale, state: h.State}
	return cfg
}

// TurnStoreOff does what nats-server does by itself once its disk is full.
func (l *Log) TurnStoreOff() error { return l.inside().ShutdownJetStream() }

// SyncsAlways reports whether the embedded server says that it syncs before each acknowledgement.
func (l *Log) SyncsAlways() bool { return l.server.srv.JetStreamConfig().SyncAlways }

// Request sends a request as whoever reads the log does.
func (l *Log) Request(ctx context.Context, f func(context.Context) error) error {
	return l.request(ctx, f)
}

// AttestUnsynced is how far the witness stays behind where syncs are at intervals.
const AttestUnsynced = attestUnsynced

// WithStep returns the configuration with a function that is called after each step of a
// repartition.
func WithStep(cfg Config, step func(name string)) Config {
	cfg.hooks.step = step
	return cfg
}

// WithPartTimeout sets how long a server is waited for that takes a part of a stream.
func (m *Mover) WithPartTimeout(d time.Duration) { m.partAfter = d }

// Buffered is the number of entries that are here already, for TryNext.
func (r *Reader) Buffered() int {
	if r.consumer == nil {
		return 0
	}
	return len(r.consumer.messages)
}

// InSync is how many servers have all of each stream, of the one that the fewest have.
func (l *Log) InSync(ctx context.Context, t testing.TB) int {
	t.Helper()
	js, err := jetstream.New(l.read.nc)
	if err != nil {
		t.Fatal(err)
	}
	fewest := math.MaxInt
	list := js.ListStreams(ctx)
	for info := range list.Info() {
		n := 1
		for _, r := range info.Cluster.Replicas {
			if r.Current && !r.Offline {
				n++
			}
		}
		fewest = min(fewest, n)
	}
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	return fewest
}
