package eventlog_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

func openIngress(t *testing.T, partitions int) (l *eventlog.Log, url string) {
	t.Helper()
	l = natstest.OpenLog(t, eventlog.Config{
		Partitions: partitions,
		Ingress:    eventlog.Ingress{Listen: "127.0.0.1:0", Password: "let me in"},
	})
	return l, "nats://" + l.IngressAddr().String()
}

// outsider connects as an outside producer; violations get what the server forbids it.
func outsider(t *testing.T, url string) (nc *nats.Conn, violations <-chan error) {
	t.Helper()
	errs := make(chan error, 16)
	nc, err := nats.Connect(url, nats.UserInfo(eventlog.DefaultIngressUser, "let me in"), nats.NoReconnect(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { errs <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, errs
}

func TestOutsideProducer(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	l, url := openIngress(t, 5)
	nc, _ := outsider(t, url)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[int]int)
	for n := range 40 {
		e := events.Event{App: "acme#chat", Kind: events.MessageRead, Group: fmt.Sprintf("g%d", n), User: "ann", Message: "m"}
		if n%4 == 3 {
			e.Group, e.Peer = "", fmt.Sprintf("müller.%d", n)
		}
		subject, err := events.IngressSubject(&e)
		if err != nil {
			t.Fatal(err)
		}
		data := fmt.Sprintf(`{"n":%d}`, n)
		ack, err := js.Publish(ctx, subject, []byte(data), jetstream.WithMsgID(subject))
		if err != nil {
			t.Fatalf("%s: %v", subject, err)
		}
		p := events.Partition(&e, l.Partitions())
		want[p]++
		if ack.Stream != fmt.Sprintf("RECEIPTS_%d", p) {
			t.Errorf("%s is in %s, its partition is %d", subject, ack.Stream, p)
		}
		entry, err := l.EntryAt(ctx, p, ack.Sequence)
		if err != nil {
			t.Fatal(err)
		}
		token := strings.Split(subject, ".") // receipts.in.<org>.<app>.<conversation>.<kind>
		wantSubject := fmt.Sprintf("receipts.v1.%d.%s.%s.%s", p, token[5], token[2], token[3])
		if string(entry.Data) != data || entry.Subject != wantSubject || entry.MsgID != subject {
			t.Errorf("%s is stored as %s: %s", subject, entry.Subject, entry.Data)
		}
		// A retry is recognised.
		if again, err := js.Publish(ctx, subject, []byte(data), jetstream.WithMsgID(subject)); err != nil || !again.Duplicate {
			t.Errorf("a retry: %+v, %v", again, err)
		}
	}
	for p, n := range want {
		if _, last, err := l.Bounds(ctx, p); err != nil || last != uint64(n) {
			t.Errorf("partition %d ends at %d, want %d, %v", p, last, n, err)
		}
	}
	ack, err := js.Publish(ctx, "receipts.in.acme.chat.g~g1.message-read", []byte(`{}`))
	if err != nil || !strings.HasPrefix(ack.Stream, "RECEIPTS_") {
		t.Errorf("%+v, %v", ack, err)
	}
}

func TestOutsiderWithoutCredentialsIsRefused(t *testing.T) {
	t.Parallel()
	_, url := openIngress(t, 1)
	for name, opt := range map[string]nats.Option{
		"none":           nats.Name("nobody"),
		"wrong password": nats.UserInfo(eventlog.DefaultIngressUser, "guess"),
		"wrong user":     nats.UserInfo("somebody", "let me in"),
		"receiptd":       nats.UserInfo("receiptd", "let me in"),
	} {
		if nc, err := nats.Connect(url, opt, nats.NoReconnect()); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v", name, err)
			nc.Close()
		}
	}
}

func TestOutsiderMayDoNothingElse(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	l, url := openIngress(t, 1)
	nc, violations := outsider(t, url)
	forbidden := func(what string) {
		t.Helper()
		select {
		case err := <-violations:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(time.Minute):
			t.Errorf("%s is allowed", what)
		}
	}
	for _, subject := range []string{
		events.BatchSubject(0), "receipts.v1.0.message-read.acme.chat", "receipts.v1.0.x", "$JS.API.INFO", "$JS.API.STREAM.PURGE.RECEIPTS_0",
		"$JS.API.STREAM.MSG.GET.RECEIPTS_0", "$JS.API.DIRECT.GET.RECEIPTS_0", "$SYS.REQ.SERVER.PING", "_INBOX.other", "any",
	} {
		if err := nc.PublishRequest(subject, nc.NewInbox(), []byte("{}")); err != nil {
			t.Fatal(err)
		}
		forbidden("publishing to " + subject)
	}
	for _, subject := range []string{">", "receipts.>", "receipts.in.>", "$JS.>", "*.x"} {
		if _, err := nc.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		forbidden("subscribing to " + subject)
	}

	// Producers have an account of their own: they cannot see the acknowledgements of receiptd
	// itself.
	sub, err := nc.SubscribeSync("_INBOX.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(ctx, receipts(5, 0)); err != nil {
		t.Fatal(err)
	}
	if m, err := sub.NextMsg(50 * time.Millisecond); err == nil {
		t.Errorf("it sees %s: %s", m.Subject, m.Data)
	}
	if err := sub.Unsubscribe(); err != nil { // the server would send it the answers below
		t.Fatal(err)
	}

	// Nobody receives what is published on a subject that is not that of an event.
	for _, subject := range []string{"receipts.in.acme.chat.g~g1", "receipts.in.acme.chat.g~g1.message-read.more"} {
		if m, err := nc.Request(subject, []byte("{}"), time.Minute); !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("%s: %v, %v", subject, m, err)
		}
	}
	if _, last, err := l.Bounds(ctx, 0); err != nil || last != 1 {
		t.Errorf("the log ends at %d, %v", last, err)
	}
}

func TestNoListenerUnlessAskedFor(t *testing.T) {
	t.Parallel()
	l := natstest.OpenLog(t, eventlog.Config{})
	if addr := l.IngressAddr(); addr != nil {
		t.Errorf("it listens on %v", addr)
	}
}

// The listener can be opened and closed from one start to the next; the log stays.
func TestIngressLaterOn(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	cfg := eventlog.Config{Dir: t.TempDir(), Partitions: 1}
	for n := range 4 {
		cfg.Ingress = eventlog.Ingress{}
		if n%2 == 1 {
			cfg.Ingress = eventlog.Ingress{Listen: "127.0.0.1:0", User: "bob", Password: "pass-word"}
		}
		l := natstest.OpenLog(t, cfg)
		if _, last, err := l.Bounds(ctx, 0); err != nil || last != uint64(n) {
			t.Errorf("start %d: the log ends at %d, %v", n, last, err)
		}
		if _, err := l.Append(ctx, receipts(1, n)); err != nil {
			t.Fatal(err)
		}
		natstest.CloseLog(t, l)
	}
}

// A client of one app publishes for no other one.
func TestIngressOfOneApp(t *testing.T) {
	t.Parallel()
	l := natstest.OpenLog(t, eventlog.Config{Partitions: 1, Ingress: eventlog.Ingress{
		Listen: "127.0.0.1:0", Apps: []eventlog.IngressApp{{App: "acme#chat.v2", Password: "password of acme"}, {App: "rival#chat", Password: "password of rival"}},
	}})
	url := "nats://" + l.IngressAddr().String()
	if _, err := nats.Connect(url, nats.UserInfo("acme#chat.v2", "password of rival"), nats.NoReconnect()); err == nil {
		t.Error("with the password of another app")
	}
	nc, err := nats.Connect(url, nats.UserInfo("acme#chat.v2", "password of acme"), nats.NoReconnect(), nats.ErrorHandler(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	publish := func(app string) error {
		subject, err := events.IngressSubject(&events.Event{App: app, Kind: events.MessageRead, Group: "g", User: "ann", Message: "m"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = nc.Request(subject, []byte("{}"), time.Second)
		return err
	}
	if err := publish("acme#chat.v2"); err != nil {
		t.Errorf("its own app: %v", err)
	}
	for _, app := range []string{"rival#chat", "acme#chat", "acme#other"} {
		if err := publish(app); err == nil {
			t.Errorf("published for %s", app)
		}
	}
	if _, last, err := l.Bounds(testContext(t), 0); err != nil || last != 1 {
		t.Errorf("the log ends at %d, %v; want 1", last, err)
	}
}

// What NATS clients publish takes no disk space that is kept in reserve.
func TestIngressLeavesTheDiskItsReserve(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	var free atomic.Int64
	free.Store(1 << 40)
	l := natstest.OpenLog(t, eventlog.WithHooks(eventlog.Config{
		Partitions: 1, MinFree: 1 << 30, Ingress: eventlog.Ingress{Listen: "127.0.0.1:0", Password: "let me in"},
	}, eventlog.Hooks{DiskFree: func(string) (int64, error) { return free.Load(), nil }}))
	nc, _ := outsider(t, "nats://"+l.IngressAddr().String())
	publish := func() error {
		_, err := nc.Request("receipts.in.acme.chat.g~g1.message-read", []byte("{}"), 10*time.Second)
		return err
	}
	becomes := func(what string, want error) {
		t.Helper()
		err := publish()
		for end := time.Now().Add(time.Minute); !errors.Is(err, want) && time.Now().Before(end); err = publish() {
			time.Sleep(10 * time.Millisecond)
		}
		if !errors.Is(err, want) {
			t.Fatalf("%s: %v, want %v", what, err, want)
		}
	}
	becomes("with room", nil)
	free.Store(1<<30 + 1)
	becomes("without room", nats.ErrNoResponders)
	_, before, err := l.Bounds(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := publish(); !errors.Is(err, nats.ErrNoResponders) {
			t.Fatalf("without room: %v", err)
		}
	}
	if _, last, err := l.Bounds(ctx, 0); err != nil || last != before {
		t.Errorf("the log grew from %d to %d, %v", before, last, err)
	}
	free.Store(1 << 40)
	becomes("with room again", nil)
}

func TestShortPasswordsOfTheIngressAreRefused(t *testing.T) {
	t.Parallel()
	for _, in := range []eventlog.Ingress{
		{Listen: "127.0.0.1:0", Password: "x"},
		{Listen: "127.0.0.1:0", Apps: []eventlog.IngressApp{{App: "acme#chat", Password: "1234567"}}},
	} {
		if _, err := eventlog.Open(testContext(t), eventlog.Config{Dir: t.TempDir(), Ingress: in}); err == nil || !strings.Contains(err.Error(), "can be guessed") {
			t.Errorf("%+v: %v", in, err)
		}
	}
}

// The ingress speaks TLS, and then nothing else.
func TestIngressWithTLS(t *testing.T) {
	t.Parallel()
	outside := httptest.NewTLSServer(nil) // for its certificate
	defer outside.Close()
	l := natstest.OpenLog(t, eventlog.Config{Partitions: 1, Ingress: eventlog.Ingress{
		Listen: "127.0.0.1:0", Password: "let me in", TLS: &tls.Config{Certificates: outside.TLS.Certificates, MinVersion: tls.VersionTLS12},
	}})
	pool := x509.NewCertPool()
	pool.AddCert(outside.Certificate())
	nc, err := nats.Connect("tls://"+l.IngressAddr().String(), nats.UserInfo(eventlog.DefaultIngressUser, "let me in"),
		nats.Secure(&tls.Config{RootCAs: pool, ServerName: "example.com", MinVersion: tls.VersionTLS12}))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Request("receipts.in.acme.chat.g~g1.message-read", []byte("{}"), 10*time.Second); err != nil {
		t.Error(err)
	}
	if _, err := nats.Connect("nats://"+l.IngressAddr().String(), nats.UserInfo(eventlog.DefaultIngressUser, "let me in")); err == nil {
		t.Error("connected without trust in the certificate")
	}
	if _, err := l.Append(testContext(t), receipts(1, 0)); err != nil {
		t.Error(err)
	}
}
