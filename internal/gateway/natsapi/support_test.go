package natsapi

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/metrictest"
	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/projections"
)

const (
	subject  = "receipts.submit.acme.chat"
	quiet    = "receipts.submit.acme.quiet"
	patience = time.Minute
)

// fakeState knows two apps, and decides what a test says.
type fakeState struct {
	decide func(ctx context.Context, partition int, sequence uint64) ([]events.Outcome, error)
}

func (fakeState) FindApp(app string) (s events.Settings, revision uint64, err error) {
	switch app {
	case "acme#chat", "acme#quiet":
		return events.DefaultSettings(), 1, nil
	case "acme#unsure":
		return s, 0, projector.ErrLate
	}
	return s, 0, projector.ErrNoApp
}

func (s fakeState) Outcomes(ctx context.Context, partition int, sequence uint64) ([]events.Outcome, error) {
	return s.decide(ctx, partition, sequence)
}

func (fakeState) Rejections(string, int) ([]projections.Rejection, error) {
	return []projections.Rejection{{At: time.Now().UnixMilli(), Outcome: events.RejectedNotOpen}}, nil
}

// harness is a door over a real log and a real server, and a client on that.
type harness struct {
	t        *testing.T
	log      *eventlog.Log
	door     *Door
	registry *prometheus.Registry
	client   *nats.Conn
}

// open opens a door. gate, if set, is put in the place of the log.
func open(t *testing.T, change func(*Config)) *harness {
	t.Helper()
	h := &harness{t: t, registry: prometheus.NewRegistry()}
	h.log = natstest.OpenLog(t, eventlog.Config{
		Partitions: 3, Ingress: eventlog.Ingress{Listen: "127.0.0.1:0", Password: "let me in"},
	})
	conns, err := h.log.ConnectRequests(t.Context(), "door")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Conns: conns, Log: h.log, State: fakeState{}, Registerer: h.registry, Logger: natstest.Logger(t),
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

// gauge is the value of a metric without labels.
func (h *harness) gauge(name string) float64 {
	h.t.Helper()
	return metrictest.Value(h.t, h.registry, name)
}

// givesBack checks that all that requests held is given back, which is soon after their answers.
func (h *harness) givesBack() {
	h.t.Helper()
	for _, name := range []string{
		"receiptd_nats_in_flight", "receiptd_admission_held_bytes", "receiptd_admission_queue_bytes", "receiptd_admission_queue_requests",
	} {
		h.await(name, 0)
	}
	h.door.mu.Lock()
	defer h.door.mu.Unlock()
	if len(h.door.queues) > 0 {
		h.t.Errorf("%d queues are left", len(h.door.queues))
	}
}

// await waits until a metric has a value.
func (h *harness) await(name string, value float64) {
	h.t.Helper()
	for deadline := time.Now().Add(patience); h.gauge(name) != value; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("%s is %v, not %v", name, h.gauge(name), value)
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
