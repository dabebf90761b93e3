package eventlog

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/fair"
)

const (
	// relayPendingMessages and relayPendingBytes bound what the producers of an account have
	// published and the relay has not passed on. What is beyond is not acknowledged.
	relayPendingMessages = 1 << 16
	relayPendingBytes    = 16 << 20
	// relayInFlight is how many events of a partition the relay has passed on and the server has
	// not answered, at most: enough for the server not to wait for the next one. Each is an entry
	// with a sync of its own, and the log's own entries wait behind them.
	relayInFlight = 4
	// relayAnswerWithin is when an event counts as answered that is not: the connection broke.
	relayAnswerWithin = time.Minute
	// relaySubjectBytes bounds the subject of an event, and the one to which its acknowledgement
	// goes: they have to fit into a line of the protocol.
	relaySubjectBytes = 1024
)

// relay passes what producers publish on to the log, and its acknowledgements back. It stands
// between the two for two reasons. The server recognises a retry by the name of a message alone,
// over all that a partition stores: in the log each name belongs to its app, or one app could have
// the event of another one taken for a repeat, and acknowledged without being stored. And the
// server takes messages in the order in which they come, ten thousand of them at a time: the relay
// passes on a few, of each app in its turn, so that nobody waits behind all that one app publishes.
type relay struct {
	in        []*nats.Conn // in the accounts of producers
	out       *nats.Conn   // in the log's
	transform server.SubjectTransformer
	acks      string // what subjects begin with on which the server acknowledges
	stopping  context.Context

	windows []*fair.Semaphore // by partition

	mu     sync.Mutex
	subs   []*nats.Subscription // none while nothing is taken
	last   uint64               // number of a flight
	flying map[uint64]*flight
}

// flight is an event that was passed on and is not answered.
type flight struct {
	from  *nats.Conn
	in    *fair.Semaphore
	reply string // where the producer wants to know; empty if nowhere
	late  *time.Timer
}

// newRelay makes a relay that takes nothing yet. Its connections are closed with the log.
func (l *Log) newRelay(ctx context.Context) (r *relay, err error) {
	r = &relay{stopping: l.stopping, flying: map[uint64]*flight{}}
	for range l.streams {
		r.windows = append(r.windows, fair.New(fair.Options{Capacity: relayInFlight, Weight: l.cfg.Weight}))
	}
	if r.transform, err = server.NewSubjectTransform(events.IngressMapping(len(l.streams))); err != nil {
		return nil, err
	}
	if r.in, err = l.connectProducers(ctx, "receiptd ingress"); err != nil {
		return nil, err
	}
	if r.out, err = l.keep(l.connect(ctx, "receiptd relay")); err != nil {
		return nil, err
	}
	r.acks = r.out.NewInbox() + "."
	_, err = r.out.Subscribe(r.acks+"*", r.acknowledge)
	return r, err
}

// open takes what is published from now on; while the relay is closed, the server tells producers
// that nobody does.
func (r *relay) open() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	source, _ := events.IngressMapping(1)
	for _, in := range r.in {
		sub, err := in.Subscribe(source, func(m *nats.Msg) { r.pass(in, m) })
		if err == nil {
			r.subs = append(r.subs, sub)
			err = sub.SetPendingLimits(relayPendingMessages, relayPendingBytes)
		}
		if err != nil {
			r.unsubscribe()
			return err
		}
	}
	return nil
}

func (r *relay) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unsubscribe()
}

// unsubscribe takes nothing any more. r.mu is held.
func (r *relay) unsubscribe() {
	for _, sub := range r.subs {
		_ = sub.Unsubscribe() // it fails once the connection is closed
	}
	r.subs = nil
}

// pass publishes an event where the log keeps it, once it is its app's turn. Of its headers only
// the name counts, and no other one goes along: they can ask the server for more than to store it.
func (r *relay) pass(from *nats.Conn, m *nats.Msg) {
	subject, err := r.transform.Match(m.Subject)
	if err != nil || len(subject) > relaySubjectBytes {
		tell(from, m.Reply, &nats.Msg{Data: fmt.Appendf(nil, `{"error":{"code":400,"description":"bad subject"}}`)})
		return
	}
	app, _ := events.IngressApp(m.Subject) // all who misspell theirs share a turn
	window := r.windows[partitionIn(subject)]
	if _, err := window.Acquire(r.stopping, fair.Key{App: app}, 1); err != nil {
		return // the log is being closed
	}
	number := r.takeOff(&flight{from: from, in: window, reply: m.Reply})
	out := &nats.Msg{Subject: subject, Data: m.Data, Reply: r.acks + strconv.FormatUint(number, 36)}
	if id := m.Header.Get(jetstream.MsgIDHeader); id != "" {
		out.Header = nats.Header{jetstream.MsgIDHeader: {namePrefix(subject) + id}}
	}
	if r.out.PublishMsg(out) != nil {
		r.land(number) // nothing is acknowledged then
	}
}

// takeOff notes a flight, and returns its number.
func (r *relay) takeOff(f *flight) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	number := r.last
	f.late = time.AfterFunc(relayAnswerWithin, func() { r.land(number) })
	r.flying[number] = f
	return number
}

// land returns a flight and makes room for another one; nil if it has landed before.
func (r *relay) land(number uint64) *flight {
	r.mu.Lock()
	f := r.flying[number]
	delete(r.flying, number)
	r.mu.Unlock()
	if f != nil {
		f.late.Stop()
		f.in.Release(1)
	}
	return f
}

// acknowledge passes an acknowledgement on, or that nobody gives one.
func (r *relay) acknowledge(m *nats.Msg) {
	number, err := strconv.ParseUint(m.Subject[len(r.acks):], 36, 64)
	if err != nil {
		return
	}
	if f := r.land(number); f != nil {
		tell(f.from, f.reply, m)
	}
}

// tell answers a producer, if they want to know.
func tell(producer *nats.Conn, reply string, m *nats.Msg) {
	if answerable(reply) {
		// If that fails, whoever waits is told nothing, and publishes again.
		_ = producer.PublishMsg(&nats.Msg{Subject: reply, Header: m.Header, Data: m.Data})
	}
}

// answerable reports whether an answer may go to a subject that a producer chose: where producers
// can hear it, and nowhere else.
func answerable(reply string) bool {
	return len(reply) <= relaySubjectBytes && strings.HasPrefix(reply, inboxPrefix)
}

// namePrefix is what the name of a message begins with in the log when the relay gave it to an
// entry with that subject; empty if it gives such entries none.
func namePrefix(subject string) string {
	tokens := strings.Split(subject, ".") // receipts.v1.<partition>.<kind>.<org>.<app>
	if len(tokens) != 6 {
		return ""
	}
	return "~" + tokens[4] + "." + tokens[5] + "~"
}

// partitionIn is the partition in a subject that the transform has made.
func partitionIn(subject string) int {
	partition, _ := strconv.Atoi(strings.Split(subject, ".")[2])
	return partition
}

// producersName is what the producer of an entry called it, of which the server knows the id.
func producersName(subject, id string) string {
	if !strings.HasPrefix(id, "~") {
		return id // of receiptd's own publisher, of an outside cluster or of an earlier version
	}
	return strings.TrimPrefix(id, namePrefix(subject))
}
