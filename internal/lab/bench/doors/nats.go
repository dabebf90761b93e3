package doors

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/receiptd/receiptd/events"
)

// natsDoor sends a request for each receipt. The answers of one connection come in order.
type natsDoor struct {
	nc      *nats.Conn
	sub     *nats.Subscription
	subject string
	inbox   string
}

func openNATS(_ context.Context, o Options, _ int) (door, error) {
	nc, err := nats.Connect(o.NATS, nats.NoReconnect())
	if err != nil {
		return nil, err
	}
	d := &natsDoor{nc: nc, inbox: nats.NewInbox()}
	if d.subject, err = events.SubmitSubject(app); err != nil {
		return nil, err
	}
	d.sub, err = nc.SubscribeSync(d.inbox)
	return d, err
}

func (d *natsDoor) send(body []byte) error { return d.nc.PublishRequest(d.subject, d.inbox, body) }
func (d *natsDoor) flush() error           { return nil }
func (d *natsDoor) close()                 { d.nc.Close() }

func (d *natsDoor) answers() (int, error) {
	m, err := d.sub.NextMsg(answerWithin)
	if err != nil {
		return 0, err
	}
	if text := m.Header.Get(micro.ErrorHeader); text != "" {
		return 0, fmt.Errorf("refused: %s", text)
	}
	return 1, nil
}
