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
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/gateway/ingest"
)

// Config is what a [Door] is made of.
type Config struct {
	// Conn is where the requests come; it is the door's alone, and closed by it.
	Conn  *nats.Conn
	Log   gateway.Log
	State State
	// Budget bounds what the requests take in memory.
	Budget gateway.Budget

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
	// Requests bounds those that are not answered yet. Default 65,536.
	Requests int64
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
	gateway.OrDefault(&l.Requests, 65_536)
	gateway.OrDefault(&l.Submit, 5*time.Second)
	gateway.OrDefault(&l.Store, 30*time.Second)
	gateway.OrDefault(&l.Apply, 10*time.Second)
	return l
}

const (
	serviceName    = "receiptd"
	serviceVersion = "1.0.0" // of the protocol
	queueGroup     = "receiptd"

	// groups is how many are submitted and not answered: enough for one to be stored while the next
	// ones are put into the log's queues, and few enough for requests to gather meanwhile.
	groups = 4
)

// Door takes requests from [New] until [Door.Close].
type Door struct {
	cfg     Config
	metrics *metrics
	hints   *ingest.Hints
	service micro.Service

	// What the one goroutine that the requests come on needs.
	decoder events.Decoder
	decoded []events.Event
	app     app

	requests atomic.Int64 // not answered yet

	mu        sync.Mutex
	gathering *group
	spare     []*group
	wake      chan struct{} // holds a token while there may be something to submit

	submitting sync.Mutex // held while a group is taken and submitted, so that groups stay in order
	workers    sync.WaitGroup
	outcomes   sync.WaitGroup

	stopping context.Context // ends when nothing is waited for any more
	stop     context.CancelFunc
	drained  chan struct{} // closed when no more requests come
	closing  sync.Once
	closed   error
}

// New opens the door. Several servers of a cluster share the requests.
func New(cfg Config) (*Door, error) {
	cfg.Limits = cfg.Limits.withDefaults()
	d := &Door{
		cfg: cfg, metrics: newMetrics(cfg.Registerer), hints: ingest.NewHints(cfg.State), gathering: new(group),
		wake: make(chan struct{}, 1), drained: make(chan struct{}),
	}
	d.metrics.watch(&d.requests)
	d.stopping, d.stop = context.WithCancel(context.Background())
	for range groups {
		d.workers.Go(d.work)
	}
	var err error
	d.service, err = micro.AddService(cfg.Conn, micro.Config{
		Name: serviceName, Version: serviceVersion, Description: "takes receipts and what belongs to them",
		QueueGroup: queueGroup,
	})
	if err == nil {
		err = d.service.AddEndpoint("submit", micro.HandlerFunc(d.handle), micro.WithEndpointSubject(events.SubmitSubjects),
			micro.WithEndpointPendingLimits(pendingMessages, pendingBytes))
	}
	if err == nil {
		err = cfg.Conn.FlushTimeout(subscribeTimeout) // from here on requests arrive
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("natsapi: %w", err), d.Close(context.Background()))
	}
	return d, nil
}

// What the client library holds of requests that have come and are not looked at yet. Requests are
// looked at as fast as they come, so that this is not where they pile up: they are refused.
const (
	pendingMessages = 1 << 20
	pendingBytes    = 64 << 20
)

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
	if d.service != nil {
		err = d.service.Stop()
	}
	// It only begins to unsubscribe. What comes before that is done is taken like the rest.
	for d.cfg.Conn.NumSubscriptions() > 0 && !d.cfg.Conn.IsClosed() && d.stopping.Err() == nil {
		time.Sleep(drainPoll)
	}
	close(d.drained)
	d.workers.Wait()
	d.outcomes.Wait()
	cutOff := d.stopping.Err() != nil
	// A flush may succeed although its context has ended: it does not tell whether they were.
	if e := d.cfg.Conn.FlushWithContext(ctx); cutOff || e != nil && ctx.Err() != nil {
		err = errors.Join(err, fmt.Errorf("natsapi: requests were cut off: %w", context.Cause(ctx)))
	}
	d.cfg.Conn.Close()
	return err
}

const (
	subscribeTimeout = 30 * time.Second
	drainPoll        = 5 * time.Millisecond
)
