package natsapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/gateway/admission"
)

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

// sizedLog notes how many events the largest submit had.
type sizedLog struct {
	gateway.Log
	most *atomic.Int64
}

func (l sizedLog) Submit(ctx context.Context, evs []events.Event) (*eventlog.Ticket, error) {
	l.most.Store(max(l.most.Load(), int64(len(evs))))
	return l.Log.Submit(ctx, evs)
}

// However much of an app has gathered, what is submitted at once is bounded: others wait behind it.
func TestGroupsAreBounded(t *testing.T) {
	shut := make(chan struct{})
	var most atomic.Int64
	h := open(t, func(cfg *Config) {
		cfg.Log = sizedLog{gatedLog{Log: cfg.Log, shut: shut}, &most}
		cfg.Limits.Submit = patience
	})
	const n, each = 40, 1000
	body := "[" + strings.TrimSuffix(strings.Repeat(read("u")+",", each), ",") + "]"
	inbox := nats.NewInbox()
	sub, err := h.client.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		if err := h.client.PublishRequest(subject, inbox, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	h.await("receiptd_nats_in_flight", n)
	close(shut)
	for range n {
		if m, err := sub.NextMsg(patience); err != nil || m.Header.Get(micro.ErrorHeader) != "" {
			t.Fatalf("%+v, %v", m, err)
		}
	}
	if got := most.Load(); got > groupEvents || got < each {
		t.Errorf("%d events were submitted at once", got)
	}
	h.givesBack()
}

// gated sets up a gate of its own for a test.
func gated(o admission.Options) func(*Config) {
	return func(cfg *Config) {
		o.Registerer = cfg.Registerer
		cfg.Gate = admission.New(o)
	}
}

// flood has an app send requests until one is refused, and returns how many were taken, and the
// refusal. The answers to those come to the subscription.
func (h *harness) flood(to, body string) (sub *nats.Subscription, taken int, refused *nats.Msg) {
	h.t.Helper()
	inbox := nats.NewInbox()
	sub, err := h.client.SubscribeSync(inbox)
	if err != nil {
		h.t.Fatal(err)
	}
	for ; ; taken++ {
		if taken > 100_000 {
			h.t.Fatal("nothing is refused")
		}
		if err := h.client.PublishRequest(to, inbox, []byte(body)); err != nil {
			h.t.Fatal(err)
		}
		before := h.gauge("receiptd_nats_in_flight")
		for h.gauge("receiptd_nats_in_flight") < float64(taken+1) {
			if m, err := sub.NextMsg(time.Millisecond); err == nil {
				return sub, int(before), m
			}
		}
	}
}

// What an app has under way is bounded: what is beyond is refused at once, told when to come again,
// and keeps out neither the requests of another app nor those of its own once they are answered.
func TestRequestsUnderWayAreBounded(t *testing.T) {
	body := read("u0")
	large := strings.Repeat(" ", 100<<10) + body
	weight := requestBytes + int64(len(body)) + events.EventBytes
	for _, test := range []struct {
		name, body, code string
		memory           int64
		least, most      int
	}{
		{"by the memory of an app", body, "503", 8 * weight, 4, 4},
		{"by the queue", large, "503", 64 << 20, 90, 110}, // of 300 ms at the presumed rate
	} {
		t.Run(test.name, func(t *testing.T) {
			shut := make(chan struct{})
			h := open(t, func(cfg *Config) {
				gated(admission.Options{Memory: test.memory})(cfg)
				cfg.Log = gatedLog{Log: cfg.Log, shut: shut}
				cfg.Limits.Submit = patience
			})
			sub, taken, refused := h.flood(subject, test.body)
			if taken < test.least || taken > test.most {
				t.Errorf("%d were taken", taken)
			}
			if refused.Header.Get(micro.ErrorCodeHeader) != test.code || refused.Header.Get("Retry-After") == "" {
				t.Errorf("beyond the bound: %v", refused.Header)
			}
			inbox := nats.NewInbox()
			others, err := h.client.SubscribeSync(inbox)
			if err != nil {
				t.Fatal(err)
			}
			if err := h.client.PublishRequest(quiet, inbox, []byte(body)); err != nil {
				t.Fatal(err)
			}
			h.await("receiptd_nats_in_flight", float64(taken+1))
			if a := h.request(subject, test.body); a.Error.Code != "overloaded" || a.status != "503" && a.status != "429" {
				t.Errorf("beyond the bound, beside another app: %+v", a)
			}
			close(shut)
			if m, err := others.NextMsg(patience); err != nil || m.Header.Get(micro.ErrorHeader) != "" {
				t.Errorf("the other app: %v, %v", m, err)
			}
			for range taken {
				if m, err := sub.NextMsg(patience); err != nil || m.Header.Get(micro.ErrorHeader) != "" {
					t.Errorf("within the bound: %v, %v", m, err)
				}
			}
			if a := h.request(subject, test.body); a.Accepted != 1 {
				t.Errorf("afterwards: %+v", a)
			}
			h.givesBack()
		})
	}
}

// The more was refused, the later it pays to come again, whether the gate or the log had no room.
func TestRequestsAreToldWhenItPays(t *testing.T) {
	for name, log := range map[string]gatedLog{"the gate": {shut: make(chan struct{})}, "the log": {err: eventlog.ErrOverloaded}} {
		t.Run(name, func(t *testing.T) {
			h := open(t, func(cfg *Config) {
				gated(admission.Options{Memory: 10 << 20})(cfg)
				log.Log = cfg.Log
				cfg.Log = log
				cfg.Limits.Submit = patience
			})
			body := read("u0")
			if log.shut != nil {
				defer close(log.shut)
				body = strings.Repeat(" ", 1<<20-200) + body
				h.flood(subject, body)
			}
			// What was refused before takes half a minute, by the rate that is presumed.
			h.door.cfg.Gate.Refused(admission.Requester{App: "acme#chat", Door: "nats"}, 1<<30)
			after, err := strconv.Atoi(h.request(subject, body).retry)
			if err != nil || after < 5 || after > 30 {
				t.Errorf("the next one is told %d s, %v", after, err)
			}
		})
	}
}

// lameLog takes nothing of one app, as if it waited for room, and tells what it is asked for.
type lameLog struct {
	gateway.Log
	lame string
	shut chan struct{}
	apps chan []string
}

func (l lameLog) Submit(ctx context.Context, evs []events.Event) (*eventlog.Ticket, error) {
	var apps []string
	for i := range evs {
		apps = append(apps, evs[i].App)
	}
	l.apps <- slices.Compact(apps)
	if slices.Contains(apps, l.lame) {
		<-l.shut
	}
	return l.Log.Submit(ctx, evs)
}

// Events of one app are not submitted with those of another, which would then be charged for them,
// and wait as it does.
func TestAppsDoNotWaitForEachOther(t *testing.T) {
	l := lameLog{lame: "acme#chat", shut: make(chan struct{}), apps: make(chan []string, 1000)}
	h := open(t, func(cfg *Config) {
		l.Log = cfg.Log
		cfg.Log = l
	})
	open := sync.OnceFunc(func() { close(l.shut) })
	defer open()
	inbox := nats.NewInbox()
	sub, err := h.client.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	const flood = 50
	for i := range flood {
		if err := h.client.PublishRequest(subject, inbox, []byte(read(fmt.Sprint("u", i)))); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		m, err := h.client.Request(quiet, []byte(read("ann")), patience/3)
		if err != nil || m.Header.Get(micro.ErrorHeader) != "" {
			t.Fatalf("the quiet app: %v, %v", m, err)
		}
	}
	open()
	for range flood {
		if m, err := sub.NextMsg(patience); err != nil || m.Header.Get(micro.ErrorHeader) != "" {
			t.Errorf("the other one: %v, %v", m, err)
		}
	}
	h.givesBack()
	close(l.apps)
	for apps := range l.apps {
		if len(apps) != 1 {
			t.Errorf("events of %q in a submit", apps)
		}
	}
	// What came of an app is stored in its order.
	var order []string
	h.each(func(e *events.Event) {
		if e.App == "acme#chat" {
			order = append(order, strings.Clone(e.User))
		}
	})
	for i, user := range order {
		if user != fmt.Sprint("u", i) {
			t.Errorf("at %d: %s", i, user)
		}
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
		h.givesBack()
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
