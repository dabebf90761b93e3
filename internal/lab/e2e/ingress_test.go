package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events"
)

const natsPassword = "open-sesame"

var ingressAnnounced = regexp.MustCompile(`NATS +(nats://\S+)\n`)

// ingressServer is a server that takes events from NATS clients, and its address for them.
func ingressServer(t *testing.T, args ...string) (s *server, url string) {
	t.Helper()
	s = startServer(t, append(args, "--nats-listen=127.0.0.1:0", "--nats-password="+natsPassword)...)
	found := ingressAnnounced.FindStringSubmatch(s.process.out.String())
	if found == nil {
		t.Fatalf("no NATS address in %q", s.process.out.String())
	}
	return s, found[1]
}

// publish sends what a hand-made producer would, and waits until the log has it.
func publish(t *testing.T, nc *nats.Conn, e events.Event, data []byte) error {
	t.Helper()
	subject, err := events.IngressSubject(&e)
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ack, err := js.Publish(ctx, subject, data)
	if err == nil && ack.Sequence == 0 {
		t.Errorf("%s: acknowledged without a sequence", subject)
	}
	return err
}

func TestIngressTakesEventsFromNATS(t *testing.T) {
	s, url := ingressServer(t)
	if _, err := nats.Connect(url, nats.UserInfo("ingress", "wrong")); err == nil {
		t.Error("a wrong password was let in")
	}
	violations := make(chan error, 1)
	nc, err := nats.Connect(url, nats.UserInfo("ingress", natsPassword),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { violations <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	s.must("PUT", "/v1/apps/o/a", json.RawMessage(`{"group_receipts":{"enabled":true}}`), nil)
	for _, e := range []events.Event{
		{Kind: events.GroupCreated, Group: "team one", User: "anna", Members: []string{"ben", "carl"}},
		{Kind: events.MessageSent, Group: "team one", Message: "m1", User: "anna", Receipt: true},
		{Kind: events.MessageRead, Group: "team one", Message: "m1", User: "ben", Content: "seen"},
		{Kind: events.MessageSent, Message: "m2", User: "anna", Peer: "ben"},
		{Kind: events.MessageRead, Message: "m2", User: "ben", Peer: "anna"},
	} {
		e.App = "o#a"
		if err := publish(t, nc, e, events.AppendJSON(nil, &e)); err != nil {
			t.Errorf("%v: %v", e.Kind, err)
		}
	}
	eventually(t, "the events are folded", func() bool {
		c := s.counts("o#a", []string{"m1", "m2"})
		return c["m1"] == counts{2, 1, 1} && c["m2"] == counts{1, 1, 1}
	})
	if got := s.readers("o#a", "m1", 10); len(got) != 1 || got[0].User != "ben" || got[0].Content != "seen" {
		t.Errorf("readers %+v", got)
	}
	if err := nc.Publish("receipts.v1.0.message.o.a", nil); err != nil {
		t.Fatal(err)
	}
	if err := <-violations; !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("writing to a partition past the ingress: %v", err)
	}
}

// TestPoisonStopsNothing puts what cannot be decoded into the log: it is counted and shown, and
// what comes after is folded; a restart, a replay and a tail go over it as well.
func TestPoisonStopsNothing(t *testing.T) {
	s, url := ingressServer(t, "--partitions=2")
	nc, err := nats.Connect(url, nats.UserInfo("ingress", natsPassword))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	const app = "o#a"
	s.must("PUT", appPath(app), struct{}{}, nil)
	read := events.Event{App: app, Kind: events.MessageRead, Message: "m", User: "ben", Peer: "anna"}
	misplaced := read // its conversation is another partition's than the subject says
	for i := 0; events.Partition(&misplaced, 2) == events.Partition(&read, 2); i++ {
		misplaced.Peer = fmt.Sprint("carl", i)
	}
	bad := []string{`{"type":"message.read",`, string(events.AppendJSON(nil, &misplaced)), "\x00\xff", ""}
	for _, data := range bad {
		if err := publish(t, nc, read, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	s.apply(app, events.Event{Kind: events.MessageSent, Message: "m", User: "anna", Peer: "ben"}, read)
	check := func() {
		t.Helper()
		caughtUp(t, s)
		var poison struct {
			Total  int
			Latest []struct {
				Partition int
				Sequence  uint64
				Time      instant
				Reason    string
			}
		}
		s.must("GET", "/v1/admin/poison", nil, &poison)
		if poison.Total != len(bad) || len(poison.Latest) != len(bad) || s.metric("receiptd_fold_poison_entries_total") != float64(len(bad)) {
			t.Fatalf("poison: %+v", poison)
		}
		for i, p := range poison.Latest {
			if p.Sequence == 0 || p.Time == 0 || p.Reason == "" || i > 0 && p.Sequence <= poison.Latest[i-1].Sequence {
				t.Errorf("poison entry %+v", p)
			}
		}
		if !strings.Contains(poison.Latest[0].Reason, "malformed JSON") {
			t.Errorf("reason %q", poison.Latest[0].Reason)
		}
		if got := s.counts(app, []string{"m"})["m"]; got.Read != 1 {
			t.Errorf("counts after the poison: %+v", got)
		}
	}
	check()
	// An event of an app that does not exist is no poison, and is listed, counted and logged
	// as well.
	stray := read
	stray.App = "o#none"
	if err := publish(t, nc, stray, events.AppendJSON(nil, &stray)); err != nil {
		t.Fatal(err)
	}
	caughtUp(t, s)
	if n := s.metric("receiptd_ingress_in_vain_total"); n != float64(len(bad)+1) {
		t.Errorf("%v entries are counted as in vain", n)
	}
	list := s.ctl("poison")
	for _, want := range []string{"entries that are no events: 4; events of apps that do not exist: 1", "app not found", `"type":"message.read","message":"m"`, "malformed JSON", `"\x00\xff"`} {
		if list.code != 0 || !strings.Contains(list.out, want) {
			t.Errorf("no %q in %v", want, list)
		}
	}
	if !strings.Contains(s.log(), "published what has no effect") {
		t.Error("nothing of it is logged")
	}
	s.kill()
	s.start()
	check()
	if r := s.ctl("replay"); r.code != 0 {
		t.Errorf("replay: %v", r)
	}
	check()
	s.verify()
	shown := 0
	for _, m := range s.tailed().cluster.Partitions {
		shown += len(m.Poisoned())
	}
	if shown != len(bad) {
		t.Errorf("the tail shows %d of %d poison entries", shown, len(bad))
	}
}
