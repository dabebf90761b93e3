package eventlog

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events"
)

const (
	// relayPendingMessages and relayPendingBytes bound what producers have published and the relay
	// has not looked at. What is beyond is not acknowledged.
	relayPendingMessages = 1 << 18
	relayPendingBytes    = 64 << 20
	// relaySubjectBytes bounds the subject of an event and the one to which its acknowledgement
	// goes: together they have to fit into a line of the protocol.
	relaySubjectBytes = 1024
)

// relay passes what producers publish on to the log, and its acknowledgements back. It stands
// between the two because the server recognises a retry by the name of a message alone, over all
// that a partition stores: in the log each name belongs to its app, or one app could have the event
// of another one taken for a repeat, and acknowledged without being stored. It keeps nothing of a
// message that is under way.
type relay struct {
	in, out   *nats.Conn // in the producers' account, and in the log's
	transform server.SubjectTransformer
	acks      string // what subjects begin with on which the server acknowledges

	mu  sync.Mutex
	sub *nats.Subscription // nil while nothing is taken
}

// newRelay makes a relay that takes nothing yet. Its connections are closed with the log.
func (l *Log) newRelay(ctx context.Context) (r *relay, err error) {
	r = &relay{}
	if r.transform, err = server.NewSubjectTransform(events.IngressMapping(len(l.streams))); err != nil {
		return nil, err
	}
	if r.in, err = l.keep(l.connectAs(ctx, "receiptd ingress", requestUser)); err != nil {
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
	sub, err := r.in.Subscribe(source, r.pass)
	if err != nil {
		return err
	}
	r.sub = sub
	return sub.SetPendingLimits(relayPendingMessages, relayPendingBytes)
}

func (r *relay) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sub != nil {
		_ = r.sub.Unsubscribe() // it fails once the connection is closed
		r.sub = nil
	}
}

// pass publishes an event where the log keeps it. Of its headers only the name counts, and no other
// one goes along: they can ask the server for more than to store it.
func (r *relay) pass(m *nats.Msg) {
	subject, err := r.transform.Match(m.Subject)
	if err != nil || len(subject) > relaySubjectBytes {
		r.tell(m.Reply, &nats.Msg{Data: fmt.Appendf(nil, `{"error":{"code":400,"description":"bad subject"}}`)})
		return
	}
	out := &nats.Msg{Subject: subject, Data: m.Data}
	if id := m.Header.Get(jetstream.MsgIDHeader); id != "" {
		out.Header = nats.Header{jetstream.MsgIDHeader: {namePrefix(subject) + id}}
	}
	if answerable(m.Reply) {
		out.Reply = r.acks + base64.RawURLEncoding.EncodeToString([]byte(m.Reply))
	}
	_ = r.out.PublishMsg(out) // nothing is acknowledged then
}

// acknowledge passes an acknowledgement on, or that nobody gives one.
func (r *relay) acknowledge(m *nats.Msg) {
	if reply, err := base64.RawURLEncoding.DecodeString(m.Subject[len(r.acks):]); err == nil {
		r.tell(string(reply), m)
	}
}

func (r *relay) tell(reply string, m *nats.Msg) {
	if answerable(reply) {
		// If that fails, who waits is told nothing, and publishes again.
		_ = r.in.PublishMsg(&nats.Msg{Subject: reply, Header: m.Header, Data: m.Data})
	}
}

// answerable reports whether an answer may go to a subject that a producer chose: where producers
// can hear it, and nowhere else.
func answerable(reply string) bool {
	return len(reply) <= relaySubjectBytes && (strings.HasPrefix(reply, inboxPrefix) || strings.HasPrefix(reply, importedPrefix))
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

// producersName is what the producer of an entry called it, of which the server knows the id.
func producersName(subject, id string) string {
	if !strings.HasPrefix(id, "~") {
		return id // of receiptd's own publisher, of an outside cluster or of an earlier version
	}
	return strings.TrimPrefix(id, namePrefix(subject))
}
