package natsapi

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/gateway/ingest"
)

// settle waits until a group is durable and answers its requests.
func (d *Door) settle(g *group, ticket *eventlog.Ticket, err error) {
	defer d.recycle(g)
	if err != nil {
		for i := range g.requests {
			d.refuse(g.requests[i].asker, d.reason(err, g.app, &g.requests[i]))
		}
		d.done(g.app, len(g.requests))
		return
	}
	ctx, cancel := context.WithTimeout(d.stopping, d.cfg.Limits.Store)
	err = ticket.Wait(ctx)
	cancel()
	if err == nil {
		err = errNotStored // of none, that is
	}

	var waiting []outcomes
	next := 0
	var locations []eventlog.Location // of the request
	accepted := 0
	for at := range ticket.Locations() {
		q := &g.requests[next]
		if locations = append(locations, at); len(locations) < q.n {
			continue
		}
		next++
		switch {
		case slices.ContainsFunc(locations, func(at eventlog.Location) bool { return at.Sequence == 0 }):
			// Nothing is known of an entry that is still under way.
			d.refuse(q.asker, ingest.NotDurable(err))
		case q.applied:
			accepted += q.n
			waiting = append(waiting, outcomes{*q, g.app, slices.Clone(locations)})
		default:
			accepted += q.n
			g.answer = ingest.AppendPositions(ingest.AppendAccepted(g.answer[:0], q.n), positions(locations), d.hints.Of(g.app))
			d.send(q.asker, g.answer)
		}
		locations = locations[:0]
	}
	d.metrics.taken(len(g.requests), accepted)
	d.done(g.app, len(g.requests)-len(waiting))
	if len(waiting) > 0 {
		d.outcomes.Go(func() { d.tell(waiting) })
	}
}

var errNotStored = errors.New("natsapi: an entry was stored without a sequence")

// positions are the last entries of a request's events, by partition. It reorders the locations.
func positions(locations []eventlog.Location) []eventlog.Position {
	if len(locations) == 1 {
		return []eventlog.Position{{Partition: locations[0].Partition, Sequence: locations[0].Sequence}}
	}
	slices.SortFunc(locations, func(a, b eventlog.Location) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(b.Sequence, a.Sequence))
	})
	locations = slices.CompactFunc(locations, func(a, b eventlog.Location) bool { return a.Partition == b.Partition })
	list := make([]eventlog.Position, len(locations))
	for i, at := range locations {
		list[i] = eventlog.Position{Partition: at.Partition, Sequence: at.Sequence}
	}
	return list
}

// outcomes is a request that waits for them.
type outcomes struct {
	request
	app       string
	locations []eventlog.Location
}

// tell answers requests of a group as their events are folded.
func (d *Door) tell(waiting []outcomes) {
	ctx, cancel := context.WithTimeout(d.stopping, d.cfg.Limits.Apply)
	defer cancel()
	reader := gateway.OutcomeReader{State: d.cfg.State}
	for i := range waiting {
		q := &waiting[i]
		answer, err := q.answer(ctx, &reader)
		if err != nil {
			d.refuse(q.asker, ingest.NotApplied(err, q.n, positions(q.locations)))
		} else {
			d.sendAt(q.asker, answer, positions(q.locations))
		}
		d.done(q.app, 1)
	}
}

func (q *outcomes) answer(ctx context.Context, reader *gateway.OutcomeReader) ([]byte, error) {
	answer := ingest.AppendAccepted(make([]byte, 0, ingest.SmallAnswer+q.n*ingest.OutcomeBytes), q.n)
	answer = append(answer, ingest.BeginOutcomes...)
	for i, at := range q.locations {
		outcome, err := reader.Await(ctx, at)
		if err != nil {
			return nil, err
		}
		answer = ingest.AppendOutcome(answer, i == 0, i, outcome)
	}
	return append(answer, ingest.EndOutcomes...), nil
}

// send answers a request, if it wants to know.
func (d *Door) send(to asker, body []byte) {
	if to.reply == "" {
		return
	}
	if err := to.conn.Publish(to.reply, body); err != nil {
		d.metrics.unanswered.Inc() // the connection is gone, and so is whoever waited
	}
}

// headerPosition is where the log has the events of a request, as an answer of HTTP says: a body
// with outcomes has no room for it.
const headerPosition = "Receiptd-Position"

// sendAt answers a request, and says in a header where its events are, such as 0:12,3:44.
func (d *Door) sendAt(to asker, body []byte, at []eventlog.Position) {
	if to.reply == "" {
		return
	}
	var text []byte
	for i, p := range at {
		if i > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendInt(text, int64(p.Partition), 10)
		text = strconv.AppendUint(append(text, ':'), p.Sequence, 10)
	}
	m := nats.NewMsg(to.reply)
	m.Header[headerPosition] = []string{string(text)}
	m.Data = body
	if err := to.conn.PublishMsg(m); err != nil {
		d.metrics.unanswered.Inc()
	}
}

// refuse answers a request with an error.
func (d *Door) refuse(to asker, r *ingest.Refusal) {
	d.metrics.refused(r.Code, 1)
	if r.Status == 500 {
		d.cfg.Logger.Error("a NATS request failed", slog.Any("error", r.Cause))
	}
	if to.reply == "" {
		return
	}
	m := nats.NewMsg(to.reply)
	m.Header[micro.ErrorHeader] = []string{r.Message}
	m.Header[micro.ErrorCodeHeader] = []string{strconv.Itoa(r.Status)}
	if r.RetryAfter > 0 {
		m.Header["Retry-After"] = []string{strconv.Itoa(r.RetryAfter)}
	}
	m.Data = r.Body()
	if err := to.conn.PublishMsg(m); err != nil {
		d.metrics.unanswered.Inc()
	}
}
