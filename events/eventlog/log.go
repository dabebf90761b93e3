package eventlog

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"
)

// Log is an open log. Its methods may be called from many goroutines.
type Log struct {
	cfg    Config
	logger *slog.Logger
	server *embedded // nil for an outside server
	peer   *peer     // nil unless the server in this process is one of a cluster

	// There are two connections, so that a replay does not delay acknowledgements.
	write, read *connection
	others      []*connection      // those of Connect, guarded by submits
	streams     []jetstream.Stream // on the read connection
	publishers  []*publisher       // one for each partition
	forks       []fork             // of each partition
	identity    uint64

	trimming sync.Mutex
	trims    []uint64 // of each partition, the entry before which all were let go of

	// submits is held for reading while a submit is put into the queues, and for writing to close
	// them.
	submits sync.RWMutex
	closed  bool

	stopping context.Context // ends when the log closes or fails, with the reason as its cause
	stop     context.CancelCauseFunc

	dropped atomic.Int64 // events given up because the log stopped
	running sync.WaitGroup

	attester  *attester // nil for an outside server
	attesting sync.WaitGroup

	closeOnce sync.Once
	closeErr  error
}

// Open opens the log, and creates it if there is none. It starts the embedded server or connects to
// the outside one, and fails if that is not possible before ctx ends. Only one process at a time
// can have an embedded log open: the error for another one is [ErrInUse].
func Open(ctx context.Context, cfg Config) (*Log, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	switch cfg.MinFree {
	case 0:
		cfg.MinFree = defaultMinFree
	case NoMinFree:
		cfg.MinFree = 0
	}
	l := &Log{cfg: cfg, logger: cfg.Logger.With(slog.String("component", "eventlog"))}
	l.stopping, l.stop = context.WithCancelCause(context.Background())
	if err := l.open(ctx); err != nil {
		l.stop(ErrClosed)
		l.disconnect()
		if l.server != nil && errors.Is(err, ErrDamaged) {
			err = errors.Join(err, restoreGuarded(cfg.Dir, streamsDir(cfg.Dir), l.logger))
		}
		return nil, fmt.Errorf("eventlog: open: %w", err)
	}
	return l, nil
}

func (l *Log) open(ctx context.Context) (err error) {
	if l.cfg.Dir != "" {
		if l.server, err = startEmbedded(ctx, &l.cfg); err != nil {
			return err
		}
	}
	if l.cfg.Peers != nil {
		if l.peer, err = startPeer(ctx, &l.cfg); err != nil {
			return err
		}
	}
	err = l.settle(ctx, func(ctx context.Context) (err error) { l.write, err = l.connect(ctx, "receiptd publisher"); return err })
	if err != nil {
		return err
	}
	err = l.settle(ctx, func(ctx context.Context) (err error) { l.read, err = l.connect(ctx, "receiptd reader"); return err })
	if err != nil {
		return err
	}
	// A request that is not permitted is not answered: the server only says so aside.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l.read.whenDenied(func(err error) { cancel(fmt.Errorf("%w: %w", ErrDenied, err)) })
	defer l.read.whenDenied(nil)
	l.attesting.Go(func() { l.watchStore(ctx, func() { cancel(errStoreOff) }) })
	defer func() {
		if cause := context.Cause(ctx); err != nil && (errors.Is(cause, ErrDenied) || errors.Is(cause, errStoreOff)) {
			err = cause
		}
	}()
	js, err := jetstream.New(l.read.nc)
	if err != nil {
		return err
	}
	if err := l.settle(ctx, func(ctx context.Context) error { return l.askJetStream(ctx, js) }); err != nil {
		return fmt.Errorf("ask for JetStream: %w", err)
	}
	if l.server != nil {
		if err := l.server.guard.confirm(ctx, js); err != nil {
			return err
		}
	}
	if l.cfg.BeforeOpen != nil {
		if err := l.cfg.BeforeOpen(ctx, l.read.nc); err != nil {
			return err
		}
	}
	err = l.settle(ctx, func(ctx context.Context) (err error) { l.streams, err = openStreams(ctx, js, &l.cfg); return err })
	if err != nil {
		return err
	}
	if l.forks, err = forksOf(metadata(l.streams)); err != nil {
		return err
	}
	if err := askedFor(l.cfg.Partitions, l.forks); err != nil {
		return err
	}
	l.identity = identityOf(l.streams)
	if l.cfg.Ingress.Listen != "" {
		if err := l.openIngress(ctx); err != nil {
			return fmt.Errorf("ingress: %w", err)
		}
	}
	if err := l.startPublishing(); err != nil {
		return err
	}
	if l.server != nil {
		if err := l.startAttesting(ctx, js); err != nil {
			return err
		}
	}
	l.attesting.Go(func() { l.watchStore(l.stopping, func() { l.fail(errStoreOff) }) })
	return nil
}

// UninspectedBytes is how many bytes of an embedded log the start did not read: see
// [Config.InspectBytes]. Whether they are what was written only [Log.Scrub] says.
func (l *Log) UninspectedBytes() int64 {
	if l.server == nil {
		return 0
	}
	return l.server.uninspected
}

// NewEpoch makes an [Config.Epoch].
func NewEpoch() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	return hex.EncodeToString(random[:])
}

// startPublishing starts a publisher for each partition. The epoch tells their entries from those
// of any publisher before and after.
func (l *Log) startPublishing() error {
	epoch := l.cfg.Epoch
	if epoch == "" {
		epoch = NewEpoch()
	}
	for id, stream := range l.streams {
		p, err := newPublisher(l, id, epoch, stream.CachedInfo().State.LastSeq)
		if err != nil {
			return fmt.Errorf("publisher of partition %d: %w", id, err)
		}
		l.publishers = append(l.publishers, p)
	}
	for _, p := range l.publishers {
		l.running.Go(p.run)
	}
	return nil
}

// Partitions is the number of partitions of the log. It changes by [Repartition] alone, while the
// log is not open.
func (l *Log) Partitions() int { return len(l.streams) }

// Failed returns a channel that is closed when the log can store nothing any more until the process
// is started again: the embedded server met a write error, or the streams lost entries that they
// had acknowledged. [Log.Err] says which. [Log.Close] closes the channel, too.
func (l *Log) Failed() <-chan struct{} { return l.stopping.Done() }

// Err is why the log stores nothing any more, or nil while it is open and healthy. An interrupted
// connection is no such reason: submits queue up to their bound, and then wait.
func (l *Log) Err() error { return context.Cause(l.stopping) }

// Connected reports whether the log has its connections to the server. While it has not, submits
// queue up to their bound and wait.
func (l *Log) Connected() bool { return l.write.nc.IsConnected() && l.read.nc.IsConnected() }

// fail ends publishing for good.
func (l *Log) fail(reason error) {
	if l.stopping.Err() == nil {
		l.logger.Error("the log stores nothing any more; restart once the cause is removed", slog.Any("error", reason))
	}
	l.stop(fmt.Errorf("%w: %w", ErrUnavailable, reason))
	l.closeQueues()
}

// closeQueues has every submit from now on refused, and the publishers end when they are through
// with those before.
func (l *Log) closeQueues() {
	l.submits.Lock()
	l.closed = true
	l.submits.Unlock()
	for _, p := range l.publishers {
		p.close()
	}
}

// Close refuses further submits, stores what is queued as long as ctx allows, and closes the
// connections and the embedded server. Events that could not be stored in time get [ErrClosed], or
// [ErrUnknownOutcome] if they were under way, and Close returns an error that wraps that of the
// context. Readers end with ErrClosed. Further calls wait for the first and return its result.
func (l *Log) Close(ctx context.Context) error {
	l.closeOnce.Do(func() { l.closeErr = l.close(ctx) })
	return l.closeErr
}

func (l *Log) close(ctx context.Context) error {
	l.closeQueues()
	healthy := l.stopping.Err() == nil
	cut := context.AfterFunc(ctx, func() { l.stop(ErrClosed) })
	defer cut()
	l.running.Wait()
	dropped := l.dropped.Load()
	if l.cfg.OnClose != nil && healthy && dropped == 0 {
		l.cfg.OnClose(ctx, l.write.nc)
	}
	l.stop(ErrClosed)
	l.attesting.Wait()
	if l.attester != nil && healthy {
		l.attester.finish()
	}
	l.disconnect()
	if healthy && dropped > 0 {
		return fmt.Errorf("eventlog: close: %d queued events were not stored in time: %w", dropped, context.Cause(ctx))
	}
	return nil
}

// disconnect undoes open, in reverse order, as far as open got.
func (l *Log) disconnect() {
	l.submits.Lock()
	others := l.others
	l.submits.Unlock()
	for _, c := range append(others, l.read, l.write) {
		if c != nil {
			c.nc.Close()
		}
	}
	if l.server != nil {
		l.server.stop()
	}
	if l.peer != nil {
		l.peer.stop()
	}
}
