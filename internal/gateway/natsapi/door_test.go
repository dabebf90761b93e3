package natsapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/projections"
)

const (
	subject  = "receipts.submit.acme.chat"
	patience = time.Minute
)

// fakeState knows one app, and decides what a test says.
type fakeState struct {
	decide func(ctx context.Context, partition int, sequence uint64) ([]events.Outcome, error)
}

func (fakeState) Settings(app string) (events.Settings, uint64, bool) {
	return events.DefaultSettings(), 1, app == "acme#chat"
}

func (s fakeState) Outcomes(ctx context.Context, partition int, sequence uint64) ([]events.Outcome, error) {
	return s.decide(ctx, partition, sequence)
}

func (fakeState) Rejections(string, int) ([]projections.Rejection, error) {
	return []projections.Rejection{{At: time.Now().UnixMilli(), Outcome: events.RejectedNotOpen}}, nil
}

// budget counts what is taken.
type budget struct {
	mu   sync.Mutex
	room int64
}

func (b *budget) Take(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > b.room {
		return false
	}
	b.room -= n
	return true
}

func (b *budget) Give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.room += n
}

func (b *budget) left() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.room
}

const allRoom = 64 << 20

// harness is a door over a real log and a real server, and a client on that.
type harness struct {
	t      *testing.T
	log    *eventlog.Log
	door   *Door
	budget *budget
	client *nats.Conn
}

// open opens a door. gate, if set, is put in the place of the log.
func open(t *testing.T, change func(*Config)) *harness {
	t.Helper()
	h := &harness{t: t, budget: &budget{room: allRoom}}
	h.log = natstest.OpenLog(t, eventlog.Config{
		Partitions: 3, Ingress: eventlog.Ingress{Listen: "127.0.0.1:0", Password: "let me in"},
	})
	nc, err := h.log.ConnectRequests(t.Context(), "door")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Conn: nc, Log: h.log, State: fakeState{}, Budget: h.budget, Registerer: prometheus.NewRegistry(), Logger: natstest.Logger(t),
	}
	if change != nil {
		change(&cfg)
	}
	if h.door, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.close(patience) })
	h.client = h.connect()
	return h
}

func (h *harness) connect() *nats.Conn {
	h.t.Helper()
	nc, err := nats.Connect("nats://"+h.log.IngressAddr().String(), nats.UserInfo(eventlog.DefaultIngressUser, "let me in"), nats.NoReconnect())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(nc.Close)
	return nc
}

func (h *harness) close(within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return h.door.Close(ctx)
}

// answer is what came back, with the error's headers.
type answer struct {
	Accepted  int
	Positions []eventlog.Position
	Outcomes  []struct {
		Index   int
		Outcome string
		Code    int
		Reason  string
	}
	Rejected struct {
		Lately      int `json:"last_10_minutes"`
		Reason, See string
	}
	Error struct {
		Code, Message, Field string
		Index                *int
	}

	failed, status, retry string
}

func (h *harness) request(to, body string, headers ...string) answer {
	h.t.Helper()
	m := nats.NewMsg(to)
	m.Data = []byte(body)
	for i := 0; i < len(headers); i += 2 {
		m.Header.Set(headers[i], headers[i+1])
	}
	got, err := h.client.RequestMsg(m, patience)
	if err != nil {
		h.t.Fatalf("%s: %v", to, err)
	}
	var a answer
	if err := json.Unmarshal(got.Data, &a); err != nil {
		h.t.Fatalf("%q: %v", got.Data, err)
	}
	a.failed, a.status, a.retry = got.Header.Get(micro.ErrorHeader), got.Header.Get(micro.ErrorCodeHeader), got.Header.Get("Retry-After")
	return a
}

// stored reads back all events, as user/event id, in the order of each partition.
func (h *harness) stored() (all []string) {
	h.t.Helper()
	h.each(func(e *events.Event) { all = append(all, strings.Clone(e.User)+"/"+strings.Clone(e.EventID)) })
	return all
}

// each calls f for all events of the log.
func (h *harness) each(f func(*events.Event)) {
	h.t.Helper()
	for k := range h.log.Partitions() {
		_, last, err := h.log.Bounds(h.t.Context(), k)
		if err != nil {
			h.t.Fatal(err)
		}
		for sequence := uint64(1); sequence <= last; sequence++ {
			e, err := h.log.EntryAt(h.t.Context(), k, sequence)
			if err != nil {
				h.t.Fatal(err)
			}
			var b events.Batch
			if err := b.Decode(e.Data); err != nil {
				h.t.Fatal(err)
			}
			for i := range b.Len() {
				var event events.Event
				b.Event(i, &event)
				f(&event)
			}
		}
	}
}

func read(user string) string {
	return fmt.Sprintf(`{"type":"message.read","message":"m1","user":%q,"group":"team"}`, user)
}

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
	if n := h.budget.left(); n != allRoom {
		t.Errorf("%d bytes of the budget are not given back", allRoom-n)
	}
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
	if left := h.budget.left(); left != allRoom || h.door.requests.Load() != 0 {
		t.Errorf("%d bytes and %d requests are not given back", allRoom-left, h.door.requests.Load())
	}
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
}

// A fold that is behind keeps those from their answers who asked for outcomes, and nobody else.
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

// gatedLog takes nothing while it is shut.
type gatedLog struct {
	gateway.Log
	shut chan struct{}
	err  error
}

func (l gatedLog) Submit(ctx context.Context, evs []events.Event) (*eventlog.Ticket, error) {
	if l.err != nil {
		return nil, l.err
	}
	select {
	case <-l.shut:
	case <-ctx.Done():
		return nil, eventlog.ErrOverloaded
	}
	return l.Log.Submit(ctx, evs)
}

// What is not answered yet is bounded, in number and in bytes; what is beyond is refused at once.
func TestRequestsUnderWayAreBounded(t *testing.T) {
	for _, test := range []struct {
		name   string
		limits Limits
		room   int64
	}{
		{"requests", Limits{Requests: 3}, allRoom},
		{"bytes", Limits{}, 3 * (requestBytes + eventBytes + int64(len(read("u0"))))},
	} {
		t.Run(test.name, func(t *testing.T) {
			shut := make(chan struct{})
			h := open(t, func(cfg *Config) {
				cfg.Limits = test.limits
				cfg.Budget = &budget{room: test.room}
				cfg.Log = gatedLog{Log: cfg.Log, shut: shut}
			})
			inbox := nats.NewInbox()
			sub, err := h.client.SubscribeSync(inbox)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				if err := h.client.PublishRequest(subject, inbox, []byte(read(fmt.Sprint("u", i)))); err != nil {
					t.Fatal(err)
				}
			}
			a := h.request(subject, read("u9"))
			if a.status != "503" || a.Error.Code != "overloaded" || a.retry == "" {
				t.Errorf("beyond the bound: %+v", a)
			}
			close(shut)
			for range 3 {
				if m, err := sub.NextMsg(patience); err != nil || m.Header.Get(micro.ErrorHeader) != "" {
					t.Errorf("within the bound: %v, %v", m, err)
				}
			}
			if a := h.request(subject, read("u9")); a.Accepted != 1 {
				t.Errorf("afterwards: %+v", a)
			}
		})
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

func TestLogThatTakesNothing(t *testing.T) {
	for want, err := range map[string]error{
		"unavailable": eventlog.ErrUnavailable, "log_full": eventlog.ErrLogFull, "overloaded": eventlog.ErrOverloaded, "internal": errors.New("what"),
	} {
		h := open(t, func(cfg *Config) { cfg.Log = gatedLog{err: err} })
		if a := h.request(subject, read("ann")); a.Error.Code != want || a.failed == "" {
			t.Errorf("%v: %+v", err, a)
		}
		if left := h.budget.left(); left != allRoom {
			t.Errorf("%v: %d bytes are not given back", err, allRoom-left)
		}
	}
}

// Of events that the log had taken and did not store, it is said which.
func TestEventsThatWereNotStored(t *testing.T) {
	h := open(t, func(cfg *Config) { cfg.Log = failingLog{} })
	a := h.request(subject, "["+read("ann")+","+read("ben")+"]")
	if a.status != "503" || a.Error.Code != "unknown_outcome" || a.Accepted != 0 {
		t.Errorf("%+v", a)
	}
}

type failingLog struct{}

func (failingLog) Submit(_ context.Context, evs []events.Event) (*eventlog.Ticket, error) {
	return eventlog.NewTicket(make([]eventlog.Location, len(evs)), eventlog.ErrUnknownOutcome), nil
}

// A door that closes answers what came before.
func TestCloseAnswersWhatCame(t *testing.T) {
	shut := make(chan struct{})
	h := open(t, func(cfg *Config) { cfg.Log = gatedLog{Log: cfg.Log, shut: shut} })
	const n = 200
	inbox := nats.NewInbox()
	sub, err := h.client.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := h.client.PublishRequest(subject, inbox, []byte(read(fmt.Sprint("u", i)))); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.client.Flush(); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- h.close(patience) }()
	time.Sleep(20 * time.Millisecond) // what is looked at by then and what is not fare the same
	close(shut)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	for i := range n {
		m, err := sub.NextMsg(patience)
		if err != nil || m.Header.Get(micro.ErrorHeader) != "" || len(m.Data) == 0 {
			t.Fatalf("answer %d: %+v, %v", i, m, err)
		}
	}
	if got := len(h.stored()); got != n {
		t.Errorf("%d stored", got)
	}
	if _, err := h.client.Request(subject, []byte(read("late")), patience); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("afterwards: %v", err)
	}
}

func TestCloseEndsInTime(t *testing.T) {
	h := open(t, func(cfg *Config) { cfg.Log = gatedLog{Log: cfg.Log, shut: make(chan struct{})} })
	inbox := nats.NewInbox()
	sub, err := h.client.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.client.PublishRequest(subject, inbox, []byte(read("ann"))); err != nil {
		t.Fatal(err)
	}
	for h.door.requests.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := h.close(20 * time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if m, err := sub.NextMsg(20 * time.Millisecond); err == nil && m.Header.Get(micro.ErrorHeader) == "" {
		t.Errorf("answered as stored: %s", m.Data)
	}
}

// Nobody has receiptd write to a subject of NATS or of the log.
func TestAnswersGoToInboxesOnly(t *testing.T) {
	server := natstest.StartServer(t)
	log := natstest.OpenLog(t, eventlog.Config{URL: server.URL(), Partitions: 1})
	nc, err := log.ConnectRequests(t.Context(), "door")
	if err != nil {
		t.Fatal(err)
	}
	door, err := New(Config{
		Conn: nc, Log: log, State: fakeState{}, Budget: &budget{room: allRoom}, Registerer: prometheus.NewRegistry(), Logger: natstest.Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	client, err := nats.Connect(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, reply := range []string{"$JS.API.STREAM.PURGE.RECEIPTS_0", events.BatchSubject(0)} {
		if err := client.PublishRequest(subject, reply, []byte(read("ann"))); err != nil {
			t.Fatal(err)
		}
	}
	// One after the other: when this is answered, those before it are through.
	if m, err := client.Request(subject, []byte(read("ben")), patience); err != nil || m.Header.Get(micro.ErrorHeader) != "" {
		t.Fatalf("%+v, %v", m, err)
	}
	if err := door.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if first, last, err := log.Bounds(t.Context(), 0); err != nil || first != 1 || last != 1 {
		t.Errorf("the log has entries %d to %d, %v", first, last, err)
	}
}

// With the accounts of deploy/nats-cluster.conf producers are answered, both ways, and see nothing
// else. Requests are shared by all servers.
func TestOutsideClusterAsItIsDeployed(t *testing.T) {
	t.Setenv("RECEIPTD_NATS_PASSWORD", "a")
	t.Setenv("PRODUCER_NATS_PASSWORD", "b")
	deployed, err := server.ProcessConfigFile("../../../deploy/nats-cluster.conf")
	if err != nil {
		t.Fatal(err)
	}
	nats1 := natstest.StartServer(t, func(o *server.Options) {
		o.Accounts, o.Users, o.MaxPayload = deployed.Accounts, deployed.Users, deployed.MaxPayload
	})
	as := func(user, password string) string {
		return strings.Replace(nats1.URL(), "nats://", "nats://"+user+":"+password+"@", 1)
	}
	log := natstest.OpenLog(t, eventlog.Config{URL: as("receiptd", "a"), Partitions: 2})
	var doors []*Door
	for range 2 {
		nc, err := log.ConnectRequests(t.Context(), "door")
		if err != nil {
			t.Fatal(err)
		}
		door, err := New(Config{
			Conn: nc, Log: log, State: fakeState{}, Budget: &budget{room: allRoom}, Registerer: prometheus.NewRegistry(), Logger: natstest.Logger(t),
		})
		if err != nil {
			t.Fatal(err)
		}
		doors = append(doors, door)
	}
	client, err := nats.Connect(as("producer", "b"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const n = 40
	for i := range n {
		m, err := client.Request(subject, []byte(read(fmt.Sprint("u", i))), patience)
		if err != nil || m.Header.Get(micro.ErrorHeader) != "" || !strings.HasPrefix(string(m.Data), `{"accepted":1,`) {
			t.Fatalf("%+v, %v", m, err)
		}
	}
	if m, err := client.Request("receipts.in.acme.chat.g~team.message-read", []byte(read("ann")), patience); err != nil || !strings.Contains(string(m.Data), `"seq":`) {
		t.Errorf("published: %+v, %v", m, err)
	}
	last := uint64(0)
	for k := range 2 {
		_, at, err := log.Bounds(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		last += at
	}
	if last != n+1 { // one after the other: an entry each, and each once
		t.Errorf("%d entries", last)
	}
	for _, d := range doors {
		if err := d.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
