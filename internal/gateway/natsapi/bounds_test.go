package natsapi

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/gateway"
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
