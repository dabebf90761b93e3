package eventlog_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// twoProducers are those of two apps on one log, and one of all apps.
func twoProducers(t *testing.T) (l *eventlog.Log, acme, rival, all *nats.Conn) {
	t.Helper()
	var complained atomic.Bool
	logger := slog.New(slog.NewTextHandler(writerFunc(func(line []byte) {
		t.Logf("%s", line)
		complained.Store(true)
	}), &slog.HandlerOptions{Level: slog.LevelWarn}))
	l = natstest.OpenLog(t, eventlog.Config{Partitions: 2, Fsync: eventlog.FsyncInterval, Logger: logger, Ingress: eventlog.Ingress{
		Listen: "127.0.0.1:0", Password: "password of all",
		Apps: []eventlog.IngressApp{{App: "acme#chat", Password: "password of acme"}, {App: "rival#chat", Password: "password of rival"}},
	}})
	if complained.Load() {
		t.Error("the start complains")
	}
	connect := func(user, password string) *nats.Conn {
		nc, err := nats.Connect("nats://"+l.IngressAddr().String(), nats.UserInfo(user, password), nats.NoReconnect(),
			// Without one the library prints them.
			nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	return l, connect("acme#chat", "password of acme"), connect("rival#chat", "password of rival"), connect(eventlog.DefaultIngressUser, "password of all")
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) {
	f(b)
	return len(b), nil
}

// respond answers the requests that come on connections.
func respond(t *testing.T, conns []*nats.Conn, answer []byte) {
	t.Helper()
	for _, nc := range conns {
		_, err := nc.Subscribe(events.SubmitSubjects, func(m *nats.Msg) { _ = m.Respond(answer) })
		if err == nil {
			err = nc.Flush()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// What producers of one app are answered, at either door, those of others do not hear.
func TestProducersHearTheirOwnAnswersOnly(t *testing.T) {
	t.Parallel()
	l, acme, rival, all := twoProducers(t)
	requests, err := l.ConnectRequests(testContext(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	respond(t, requests, []byte("taken"))
	var heard []*nats.Subscription
	for _, nc := range []*nats.Conn{rival, all} {
		sub, err := nc.SubscribeSync("_INBOX.>")
		if err == nil {
			err = nc.Flush()
		}
		if err != nil {
			t.Fatal(err)
		}
		heard = append(heard, sub)
	}
	for _, subject := range []string{"receipts.submit.acme.chat", "receipts.in.acme.chat.g~g.message-read"} {
		if _, err := acme.Request(subject, []byte("{}"), 10*time.Second); err != nil {
			t.Fatalf("%s: %v", subject, err)
		}
	}
	// What they are told after that comes after whatever they heard before.
	for i, nc := range []*nats.Conn{rival, all} {
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		if m, err := heard[i].NextMsg(50 * time.Millisecond); err == nil {
			t.Errorf("%d hears an answer to acme: %s %s", i, m.Subject, m.Data)
		}
	}
}

// An app cannot have the events of another one taken for repeats by using their names first.
func TestNamesOfEventsBelongToTheirApp(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	l, acme, rival, all := twoProducers(t)
	publish := func(nc *nats.Conn, app, group string) *jetstream.PubAck {
		t.Helper()
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		ack, err := js.Publish(ctx, "receipts.in."+app+".g~"+group+".message-read", []byte("{}"), jetstream.WithMsgID("m1/ben/read"))
		if err != nil {
			t.Fatal(err)
		}
		return ack
	}
	for n := range 16 { // in each partition
		publish(rival, "rival.chat", fmt.Sprint("g", n))
	}
	first := publish(acme, "acme.chat", "team")
	if first.Duplicate {
		t.Error("the event of acme is taken for that of rival, and not stored")
	}
	for _, nc := range []*nats.Conn{acme, all} {
		if again := publish(nc, "acme.chat", "team"); !again.Duplicate || again.Sequence != first.Sequence {
			t.Errorf("sent again: %+v, want a duplicate of %+v", again, first)
		}
	}
	for p := range l.Partitions() {
		_, last, err := l.Bounds(ctx, p)
		if err != nil {
			t.Fatal(err)
		}
		for sequence := uint64(1); sequence <= last; sequence++ {
			if e, err := l.EntryAt(ctx, p, sequence); err != nil || e.MsgID != "m1/ben/read" {
				t.Errorf("an entry is named %q, %v", e.MsgID, err)
			}
		}
		if e := readEntry(ctx, t, l, p); e.MsgID != "m1/ben/read" {
			t.Errorf("a reader says %q", e.MsgID)
		}
	}
}

// readEntry is the first entry of a partition, as a reader sees it.
func readEntry(ctx context.Context, t *testing.T, l *eventlog.Log, partition int) eventlog.Entry {
	t.Helper()
	r, err := l.Read(ctx, partition, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	e, err := r.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// A producer who has the answer sent to a subject of somebody else's writes nothing there.
func TestAnswersAreNoEvents(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	l, _, rival, all := twoProducers(t)
	sent := 0
	for _, nc := range []*nats.Conn{rival, all} {
		for _, reply := range []string{
			"receipts.in.acme.chat.g~team.message-read", "receipts.submit.acme.chat", "receipts.v1.0.message-read.acme.chat", "receipts.v1.0.batch",
			"$JS.API.STREAM.PURGE.RECEIPTS_0", "$KV.receiptd_accounts.x", "$SYS.REQ.SERVER.PING", "_INBOX.somebody.else", "any",
		} {
			if err := nc.PublishRequest("receipts.in.rival.chat.g~g.message-read", reply, []byte("{}")); err != nil {
				t.Fatal(err)
			}
			sent++
		}
		if _, err := nc.Request("receipts.in.rival.chat.g~g.message-read", []byte("{}"), 10*time.Second); err != nil {
			t.Fatal(err)
		}
		sent++
	}
	stored := uint64(0)
	for p := range l.Partitions() {
		_, last, err := l.Bounds(ctx, p)
		if err != nil {
			t.Fatal(err)
		}
		stored += last
	}
	if stored != uint64(sent) {
		t.Errorf("%d entries of %d that were published", stored, sent)
	}
}

// A producer who does what is not allowed, again and again, does not fill the server's log.
func TestViolationsDoNotFloodTheLog(t *testing.T) {
	t.Parallel()
	var lines atomic.Int64
	logger := slog.New(slog.NewTextHandler(writerFunc(func([]byte) { lines.Add(1) }), nil))
	l := natstest.OpenLog(t, eventlog.Config{Partitions: 1, Logger: logger, Ingress: eventlog.Ingress{Listen: "127.0.0.1:0", Password: "password of all"}})
	nc, err := nats.Connect("nats://"+l.IngressAddr().String(), nats.UserInfo(eventlog.DefaultIngressUser, "password of all"), nats.NoReconnect(),
		// Without one the library prints them.
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	requests, err := l.ConnectRequests(testContext(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	respond(t, requests, nil)
	for what, violate := range map[string]func() error{
		"publishing": func() error { return nc.Publish("$JS.API.INFO", nil) },
		"answers":    func() error { return nc.PublishRequest("receipts.submit.acme.chat", "where.nobody.may", nil) },
	} {
		began, before := time.Now(), lines.Load()
		for range 1000 {
			if err := violate(); err != nil {
				t.Fatal(err)
			}
		}
		// What the server said of all of them is logged once another request is answered.
		if _, err := nc.Request("receipts.submit.acme.chat", nil, time.Minute); err != nil {
			t.Fatal(err)
		}
		said := lines.Load() - before
		if most := 3*20 + 2*int64(time.Since(began)/time.Second); said > most {
			t.Errorf("%s: %d lines for 1000 violations", what, said)
		}
	}
	if lines.Load() == 0 {
		t.Error("nothing was logged")
	}
}
