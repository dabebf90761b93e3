package natsapi

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
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
	position  string
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
	a.position = got.Header.Get(headerPosition)
	return a
}

// givesBack checks that all that requests held is given back, which is soon after their answers.
func (h *harness) givesBack() {
	h.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		held, requests := allRoom-h.budget.left(), h.door.requests.Load()
		if held == 0 && requests == 0 {
			return
		}
		if time.Now().After(deadline) {
			h.t.Errorf("%d bytes and %d requests are not given back", held, requests)
			return
		}
	}
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
