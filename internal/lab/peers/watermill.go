package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/ThreeDotsLabs/watermill"
	wmnats "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/bench/measure"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

// watermillPeer is the usual event-driven service: a message for each receipt in JetStream, a
// handler that projects it into PostgreSQL. The handler runs in this process, as it would in the
// service; its processor time is not counted.
type watermillPeer struct {
	self child.Self

	broker    child.Process
	database  postgres
	publisher *wmnats.Publisher
	router    *message.Router
	ended     chan error // of the router
	store     string

	// waiting maps the id of each message in flight to a channel that is closed once it is
	// projected.
	waiting sync.Map
}

const (
	watermillTopic    = "receipts"
	watermillHandlers = 16
)

// Start starts a broker, a database, and the handler between them.
func (w *watermillPeer) Start(ctx context.Context, dir string, traffic *sim.Traffic) error {
	w.database.connections = watermillHandlers
	if err := w.database.Start(ctx, dir, traffic); err != nil {
		return err
	}
	address, token, err := w.self.Start(ctx, &w.broker, child.ServerNATS, dir)
	if err != nil {
		return err
	}
	w.store = filepath.Join(dir, "jetstream")
	options := []nats.Option{nats.Token(token)}
	stream := wmnats.JetStreamConfig{
		AutoProvision: true, TrackMsgId: true, AckAsync: true, DurablePrefix: "projection",
		SubscribeOptions: []nats.SubOpt{nats.DeliverAll(), nats.AckExplicit(), nats.MaxAckPending(4096)},
	}
	subscriber, err := wmnats.NewSubscriber(wmnats.SubscriberConfig{
		URL: address, NatsOptions: options, JetStream: stream,
		QueueGroupPrefix: "projection", SubscribersCount: watermillHandlers,
	}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	if w.router, err = message.NewRouter(message.RouterConfig{CloseTimeout: child.StopsWithin}, watermill.NopLogger{}); err != nil {
		return err
	}
	w.router.AddConsumerHandler("projection", watermillTopic, subscriber, w.project)
	w.ended = make(chan error, 1)
	go func() { w.ended <- w.router.Run(context.WithoutCancel(ctx)) }()
	select {
	case <-w.router.Running():
	case err := <-w.ended:
		w.router = nil
		return errors.Join(errors.New("the router ended"), err)
	}
	// The subscriber has; a publisher would ask the broker before every message.
	stream.AutoProvision = false
	w.publisher, err = wmnats.NewPublisher(wmnats.PublisherConfig{URL: address, NatsOptions: options, JetStream: stream}, watermill.NopLogger{})
	return err
}

// Load publishes each event as a message, which the broker has synced when Publish returns, and
// waits until the handler has projected it.
func (w *watermillPeer) Load(ctx context.Context, evs []events.Event) error {
	for i := range evs {
		switch evs[i].Kind {
		case events.MessageSent, events.MessageRead, events.MessageDelivered:
		default:
			continue // nothing here knows who is a member
		}
		m := message.NewMessage(watermill.NewUUID(), events.AppendJSON(nil, &evs[i]))
		projected := make(chan struct{})
		w.waiting.Store(m.UUID, projected)
		if err := w.publisher.Publish(watermillTopic, m); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		select {
		case <-projected:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// project is the handler: a transaction for each message. A message that comes again changes
// nothing.
func (w *watermillPeer) project(m *message.Message) error {
	var decoder events.Decoder
	err := decoder.Decode(m.Payload, events.FormatJSON, func(_ int, e *events.Event) error {
		return loadRow(m.Context(), w.database.pool, e)
	})
	if err != nil {
		return err
	}
	if projected, ok := w.waiting.LoadAndDelete(m.UUID); ok {
		close(projected.(chan struct{}))
	}
	return nil
}

// Counts are the database's.
func (w *watermillPeer) Counts(ctx context.Context, app string, messages []string) (map[string]int, error) {
	return w.database.Counts(ctx, app, messages)
}

// CPU counts broker and database.
func (w *watermillPeer) CPU() (float64, error) {
	broker, err := w.broker.CPU()
	if err != nil {
		return 0, err
	}
	database, err := w.database.CPU()
	return broker + database, err
}

// Bytes counts the stream and the tables.
func (w *watermillPeer) Bytes(ctx context.Context) (float64, error) {
	stream, err := measure.DiskBytes(w.store)
	if err != nil {
		return 0, err
	}
	tables, err := w.database.Bytes(ctx)
	return stream + tables, err
}

// Stop ends the handler, then the servers.
func (w *watermillPeer) Stop() error {
	var err error
	if w.publisher != nil {
		err = errors.Join(err, w.publisher.Close())
		w.publisher = nil
	}
	if w.router != nil {
		err = errors.Join(err, w.router.Close(), <-w.ended)
		w.router = nil
	}
	return errors.Join(err, w.broker.Stop(syscall.SIGTERM), w.database.Stop())
}
