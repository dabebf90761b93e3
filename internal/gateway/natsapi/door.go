package natsapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/gateway/admission"
	"github.com/receiptd/receiptd/internal/gateway/ingest"
)

// Config is what a [Door] is made of.
type Config struct {
	// Conns are where the requests come; they are the door's alone, and closed by it. What comes on
	// one keeps no other waiting.
	Conns []*nats.Conn
	Log   gateway.Log
	State State
	// Gate admits requests; nil = one of its own, with its defaults.
	Gate *admission.Gate

	Registerer prometheus.Registerer
	Logger     *slog.Logger
	Limits     Limits
}

// State knows the apps, and what was decided.
type State interface {
	gateway.Settings
	gateway.Outcomer
	ingest.Rejecter
}

// Limits bound what clients can make grow. Zero values mean the defaults.
type Limits struct {
	// BodyBytes bounds a request. Default 8 MiB.
	BodyBytes int64
	// Events bounds the events of one request. Default 10,000.
	Events int
	// Submit is how long requests wait for room in the log's queue before they are refused. Default
	// 5 s.
	Submit time.Duration
	// Store is how long they wait to be durable before it is said that this is not known. Default
	// 30 s.
	Store time.Duration
	// Apply is how long a request for outcomes waits for the fold. Default 10 s.
	Apply time.Duration
}

func (l Limits) withDefaults() Limits {
	gateway.OrDefault(&l.BodyBytes, 8<<20)
	gateway.OrDefault(&l.Events, 10_000)
	gateway.OrDefault(&l.Submit, 5*time.Second)
	gateway.OrDefault(&l.Store, 30*time.Second)
	gateway.OrDefault(&l.Apply, 10*time.Second)
	return l
}

const (
	// groups is how many of an app are submitted and not answered: enough for one to be stored
	// while the next ones are put into the log's queues, and few enough for requests to gather
	// meanwhile.
	groups = 4
	// groupEvents bounds the events of a group of several requests. The log takes a submit whole,
	// and those of others wait behind it.
	groupEvents = 4096
)

// Door takes requests from [New] until [Door.Close].
type Door struct {
	cfg       Config
	metrics   *metrics
	hints     *ingest.Hints
	receivers []*receiver

	requests atomic.Int64 // not answered yet

	mu     sync.Mutex
	queues map[string]*appQueue // by app, of which something has come and is not answered
	spare  []*group
	over   bool // no more requests are taken

	workers  sync.WaitGroup
	outcomes sync.WaitGroup

	stopping context.Context // ends when nothing is waited for any more
	stop     context.CancelFunc
	closing  sync.Once
	closed   error
}

// New opens the door. Several servers of a cluster share the requests.
func New(cfg Config) (*Door, error) {
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Gate == nil {
		cfg.Gate = admission.New(admission.Options{Registerer: cfg.Registerer})
	}
	d := &Door{
		cfg: cfg, metrics: newMetrics(cfg.Registerer), hints: ingest.NewHints(cfg.State), queues: map[string]*appQueue{},
	}
	d.metrics.watch(&d.requests)
	d.stopping, d.stop = context.WithCancel(context.Background())
	for _, conn := range cfg.Conns {
		x := &receiver{Door: d, conn: conn}
		d.receivers = append(d.receivers, x)
		if err := x.open(); err != nil {
			return nil, errors.Join(fmt.Errorf("natsapi: %w", err), d.Close(context.Background()))
		}
	}
	return d, nil
}

// Close takes no more requests, answers those that came, and closes the connection. When the
// context ends first, the rest is not answered, and its error returned. Further calls return what
// the first did.
func (d *Door) Close(ctx context.Context) error {
	d.closing.Do(func() { d.closed = d.close(ctx) })
	return d.closed
}

func (d *Door) close(ctx context.Context) error {
	defer d.stop()
	defer context.AfterFunc(ctx, d.stop)()
	var err error
	for _, x := range d.receivers {
		err = errors.Join(err, x.unsubscribe())
	}
	// They only begin to unsubscribe. What comes before that is done is taken like the rest.
	for _, x := range d.receivers {
		for x.conn.NumSubscriptions() > 0 && !x.conn.IsClosed() && d.stopping.Err() == nil {
			time.Sleep(drainPoll)
		}
	}
	d.mu.Lock()
	d.over = true
	d.mu.Unlock()
	d.workers.Wait()
	d.outcomes.Wait()
	cutOff := d.stopping.Err() != nil
	for _, x := range d.receivers {
		// A flush may succeed although its context has ended: it does not tell whether they were.
		if e := x.conn.FlushWithContext(ctx); e != nil && ctx.Err() != nil {
			cutOff = true
		}
		x.conn.Close()
	}
	if cutOff {
		err = errors.Join(err, fmt.Errorf("natsapi: requests were cut off: %w", context.Cause(ctx)))
	}
	return err
}

const drainPoll = 5 * time.Millisecond
