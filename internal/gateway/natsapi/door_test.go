package natsapi

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/receiptd/receiptd/events"
)

func TestEveryFormOfARequest(t *testing.T) {
	h := open(t, nil)
	list := events.AppendEventList(nil, []events.Event{
		{Kind: events.MessageRead, Message: "m1", User: "pia", Group: "team"}, {Kind: events.MessageRead, Message: "m1", User: "pip", Group: "other"},
	})
	for _, test := range []struct {
		name, body string
		headers    []string
		want       []string
	}{
		{"one event", read("ann"), nil, []string{"ann/"}},
		{"an array", "[" + read("ben") + "," + read("cleo") + "]", []string{"Content-Type", "application/json"}, []string{"ben/", "cleo/"}},
		{"lines", read("dan") + "\n\n" + read("eve"), []string{"Content-Type", "application/x-ndjson; charset=utf-8"}, []string{"dan/", "eve/"}},
		{"protobuf", string(list), []string{"Content-Type", "application/x-protobuf"}, []string{"pia/", "pip/"}},
		{"a message id", read("finn"), []string{"Nats-Msg-Id", "m1/finn"}, []string{"finn/m1/finn"}},
		{"an event's own id", strings.Replace(read("gil"), "{", `{"event_id":"own",`, 1), []string{"Nats-Msg-Id", "m1/gil"}, []string{"gil/own"}},
		{"a message id for several", "[" + read("hal") + "," + read("ida") + "]", []string{"Nats-Msg-Id", "x"}, []string{"hal/x/00000", "ida/x/00001"}},
		{"many messages in one event", `{"type":"message.read","messages":["m1","m2"],"user":"kim","group":"team"}`, []string{"Nats-Msg-Id", "x"}, []string{"kim/x", "kim/x"}},
		{"a key", read("jan"), []string{"Idempotency-Key", "k", "Nats-Msg-Id", "x"}, []string{"jan/k/00000"}},
		{"escapes", strings.Replace(read("ann"), "ann", `\u00e4nn`, 1), nil, []string{"änn/"}},
	} {
		before := h.stored()
		a := h.request(subject, test.body, test.headers...)
		if a.failed != "" || a.Accepted != len(test.want) || len(a.Positions) == 0 {
			t.Fatalf("%s: %+v", test.name, a)
		}
		if a.Rejected.Lately != 1 || a.Rejected.Reason != "group ack not open" || a.Rejected.See != "/v1/apps/acme/chat/rejections" {
			t.Errorf("%s: of rejections it says %+v", test.name, a.Rejected)
		}
		for i, p := range a.Positions {
			if p.Sequence == 0 || i > 0 && p.Partition <= a.Positions[i-1].Partition {
				t.Errorf("%s: positions %+v", test.name, a.Positions)
			}
		}
		added := h.stored()
		for _, was := range before {
			i := slices.Index(added, was)
			added = slices.Delete(added, i, i+1)
		}
		slices.Sort(added)
		if !slices.Equal(added, test.want) {
			t.Errorf("%s: stored %q, want %q", test.name, added, test.want)
		}
	}
	h.givesBack()
}

func TestRefusalsSayWhy(t *testing.T) {
	h := open(t, func(cfg *Config) { cfg.Limits = Limits{BodyBytes: 4096, Events: 2} })
	for _, test := range []struct {
		name, subject, body string
		headers             []string
		status, code, field string
		index               int
	}{
		{"bad JSON", subject, `{"type":`, nil, "400", "invalid_event", "", 0},
		{"the second event", subject, "[" + read("ann") + `,{"type":"message.read","user":"u","group":"g"}]`, nil, "400", "invalid_event", "message", 1},
		{"an unknown kind", subject, `{"type":"message.seen"}`, nil, "400", "invalid_event", "type", 0},
		{"nothing", subject, "", nil, "400", "invalid_request", "body", -1},
		{"two objects", subject, read("ann") + read("ben"), nil, "400", "invalid_event", "", 0},
		{"too many", subject, "[" + read("a") + "," + read("b") + "," + read("c") + "]", nil, "413", "too_many_events", "", -1},
		{"too large", subject, strings.Repeat(" ", 4097), nil, "413", "too_large", "", -1},
		{"an unknown app", "receipts.submit.acme.other", read("ann"), nil, "404", "app_not_found", "", -1},
		{"an app that nobody can tell of", "receipts.submit.acme.unsure", read("ann"), nil, "503", "timeout", "", -1},
		{"a subject that is not escaped", "receipts.submit.acme.ch@t", read("ann"), nil, "400", "invalid_request", "subject", -1},
		{"a content type", subject, read("ann"), []string{"Content-Type", "text/plain"}, "415", "unsupported_media_type", "Content-Type", -1},
		{"compression", subject, read("ann"), []string{"Content-Encoding", "gzip"}, "415", "unsupported_media_type", "Content-Encoding", -1},
		{"what to wait for", subject, read("ann"), []string{"Receiptd-Wait", "forever"}, "400", "invalid_request", "Receiptd-Wait", -1},
		{"a key", subject, read("ann"), []string{"Idempotency-Key", "\x7f"}, "400", "invalid_request", "Idempotency-Key", -1},
	} {
		a := h.request(test.subject, test.body, test.headers...)
		index := -1
		if a.Error.Index != nil {
			index = *a.Error.Index
		}
		if a.status != test.status || a.Error.Code != test.code || a.Error.Field != test.field || index != test.index {
			t.Errorf("%s: %s %+v, index %d", test.name, a.status, a.Error, index)
		}
		if a.failed == "" || a.failed != a.Error.Message {
			t.Errorf("%s: the header says %q, the body %q", test.name, a.failed, a.Error.Message)
		}
	}
	if all := h.stored(); len(all) > 0 {
		t.Errorf("stored: %q", all)
	}
	h.givesBack()
}

// The requests of many clients share entries, and each is answered with its own.
func TestRequestsAreGathered(t *testing.T) {
	h := open(t, nil)
	const clients, each = 20, 100
	var group sync.WaitGroup
	answers := make([][]answer, clients)
	for c := range clients {
		nc := h.connect()
		group.Go(func() {
			inbox := nats.NewInbox()
			sub, err := nc.SubscribeSync(inbox + ".*")
			if err != nil {
				t.Error(err)
				return
			}
			for i := range each {
				body := fmt.Sprintf(`{"type":"message.read","message":"m1","user":"u%d-%d","group":"g%d"}`, c, i, i%7)
				if err := nc.PublishRequest(subject, fmt.Sprintf("%s.%d", inbox, i), []byte(body)); err != nil {
					t.Error(err)
				}
			}
			for range each {
				m, err := sub.NextMsg(patience)
				if err != nil {
					t.Error(err)
					return
				}
				var a answer
				if err := json.Unmarshal(m.Data, &a); err != nil || a.Accepted != 1 || len(a.Positions) != 1 {
					t.Errorf("%s, %v", m.Data, err)
					return
				}
				var i int
				fmt.Sscan(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], &i)
				a.Error.Field = fmt.Sprintf("u%d-%d/", c, i)
				answers[c] = append(answers[c], a)
			}
		})
	}
	group.Wait()
	entries := 0
	for k := range h.log.Partitions() {
		_, last, err := h.log.Bounds(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		entries += int(last)
	}
	if entries > clients*each/4 {
		t.Errorf("%d requests came to %d entries", clients*each, entries)
	}
	all := h.stored()
	if slices.Sort(all); len(all) != clients*each || len(slices.Compact(all)) != clients*each {
		t.Errorf("%d events are stored, want %d different ones", len(all), clients*each)
	}
	for _, of := range answers {
		for _, a := range of {
			p := a.Positions[0]
			e, err := h.log.EntryAt(t.Context(), p.Partition, p.Sequence)
			if err != nil {
				t.Fatal(err)
			}
			var b events.Batch
			if err := b.Decode(e.Data); err != nil {
				t.Fatal(err)
			}
			found := false
			for i := range b.Len() {
				var event events.Event
				b.Event(i, &event)
				found = found || event.User+"/" == a.Error.Field
			}
			if !found {
				t.Fatalf("%s is not in the entry that was answered, %+v", a.Error.Field, p)
			}
		}
	}
}

func TestOutcomesAreAnswered(t *testing.T) {
	rejected := events.RejectedNotFound
	h := open(t, func(cfg *Config) {
		cfg.State = fakeState{decide: func(context.Context, int, uint64) ([]events.Outcome, error) {
			return []events.Outcome{events.OutcomeApplied, rejected}, nil
		}}
	})
	a := h.request(subject, "["+read("ann")+","+read("ben")+"]", "Receiptd-Wait", "applied")
	if a.Accepted != 2 || len(a.Outcomes) != 2 || a.Outcomes[0].Outcome != "applied" || a.Outcomes[1].Index != 1 ||
		a.Outcomes[1].Outcome != "rejected" || a.Outcomes[1].Code != rejected.Code() || a.Outcomes[1].Reason != rejected.Reason() {
		t.Errorf("%+v", a)
	}
	// Where the events are, for whoever asks next what came of them.
	if plain := h.request(subject, "["+read("ann")+","+read("ben")+"]"); plain.position != "" || len(plain.Positions) != 1 || plain.Positions[0].Sequence < 2 ||
		a.position != fmt.Sprintf("%d:%d", plain.Positions[0].Partition, plain.Positions[0].Sequence-1) {
		t.Errorf("the events are at %q, and those that followed at %+v", a.position, plain)
	}
}

// A fold that is behind keeps answers from those who asked for outcomes, and from nobody else.
func TestOutcomesThatDoNotComeInTime(t *testing.T) {
	h := open(t, func(cfg *Config) {
		cfg.Limits.Apply = 50 * time.Millisecond
		cfg.State = fakeState{decide: func(ctx context.Context, _ int, _ uint64) ([]events.Outcome, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
	})
	a := h.request(subject, read("ann"), "Receiptd-Wait", "applied")
	if a.status != "503" || a.Error.Code != "not_applied" || a.Accepted != 1 || len(a.Positions) != 1 {
		t.Errorf("%+v", a)
	}
	if a := h.request(subject, read("ben")); a.Accepted != 1 {
		t.Errorf("%+v", a)
	}
}

// What was decoded for a request stays its own while others gather behind it.
func TestRequestsOfAGroupKeepTheirOwn(t *testing.T) {
	shut := make(chan struct{})
	h := open(t, func(cfg *Config) { cfg.Log = gatedLog{Log: cfg.Log, shut: shut} })
	inbox := nats.NewInbox()
	sub, err := h.client.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 20 {
		// Escapes are decoded into memory of the decoder.
		body := fmt.Sprintf(`[{"type":"group.created","group":"g%d","owner":"\u00f6%d","members":["\u00e4%d","\u00e5%d"]}]`, i, i, i, i)
		want = append(want, fmt.Sprintf("ö%d: ä%d å%d", i, i, i))
		if err := h.client.PublishRequest(subject, inbox, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	for h.door.requests.Load() < 20 {
		time.Sleep(time.Millisecond)
	}
	close(shut)
	for range 20 {
		if m, err := sub.NextMsg(patience); err != nil || m.Header.Get(micro.ErrorHeader) != "" {
			t.Fatalf("%+v, %v", m, err)
		}
	}
	var got []string
	h.each(func(e *events.Event) { got = append(got, strings.Clone(e.User)+": "+strings.Join(e.Members, " ")) })
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
