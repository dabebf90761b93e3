package natsapi

import (
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/receiptd/receiptd/events"
)

const (
	serviceName      = "receiptd"
	serviceVersion   = "1.0.0" // of the protocol
	queueGroup       = "receiptd"
	subscribeTimeout = 30 * time.Second

	// What the client library holds of requests that have come on all connections and are not
	// looked at yet, and what it may hold of those on one at least: the largest body and more.
	// Requests are looked at as fast as they come, so that this is not where they pile up: they are
	// refused. A client that outruns even that is not answered.
	pendingMessages    = 1 << 20
	pendingBytes       = 64 << 20
	pendingMessagesMin = 1 << 16
	pendingBytesMin    = 16 << 20
)

// receiver takes the requests of one connection, one after the other.
type receiver struct {
	*Door
	conn    *nats.Conn
	service micro.Service // nil before it is open

	decoder events.Decoder
	decoded []events.Event // of the request
	app     app
}

// open takes requests from now on.
func (x *receiver) open() (err error) {
	x.service, err = micro.AddService(x.conn, micro.Config{
		Name: serviceName, Version: serviceVersion, Description: "takes receipts and what belongs to them",
		QueueGroup: queueGroup,
	})
	if err != nil {
		return err
	}
	n := len(x.cfg.Conns)
	err = x.service.AddEndpoint("submit", micro.HandlerFunc(x.handle), micro.WithEndpointSubject(events.SubmitSubjects),
		micro.WithEndpointPendingLimits(max(pendingMessages/n, pendingMessagesMin), max(pendingBytes/n, pendingBytesMin)))
	if err != nil {
		return err
	}
	return x.conn.FlushTimeout(subscribeTimeout)
}

// unsubscribe begins to take no more.
func (x *receiver) unsubscribe() error {
	if x.service == nil {
		return nil
	}
	return x.service.Stop()
}
