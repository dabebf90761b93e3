package eventlog_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
)

// deafen takes the subjects of partition 0 from its stream, so that a test can answer in its stead.
// The stream grows by what is published to "elsewhere".
func (o *outside) deafen(t *testing.T, ctx context.Context) {
	t.Helper()
	s, err := o.js.Stream(ctx, "RECEIPTS_0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.Subjects = []string{"elsewhere"}
	if _, err := o.js.UpdateStream(ctx, cfg); err != nil {
		t.Fatal(err)
	}
}

// Answers of the server that decide what happens next, given by a client in place of the stream.
func TestAnswers(t *testing.T) {
	const full = `{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}}`
	tests := []struct {
		name    string
		answers []string // to the tries, in order; empty: none
		want    error    // nil: stored, with a try for each answer
	}{
		{name: "server busy", answers: []string{`{"error":{"code":503,"err_code":10008,"description":"system temporarily unavailable"}}`}},
		{name: "too many requests", answers: []string{`{"error":{"code":429,"err_code":10167,"description":"too many requests"}}`}},
		{name: "store closed", answers: []string{`{"error":{"code":503,"err_code":10077,"description":"store is closed"}}`}},
		{name: "id in process", answers: []string{`{"error":{"code":409,"err_code":10158,"description":"duplicate message id is in process"}}`}},
		{name: "overtaken", answers: []string{`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 7"}}`}},
		{name: "overtaken, replicated", answers: []string{`{"error":{"code":400,"err_code":10164,"description":"wrong last sequence"}}`}},
		{name: "nonsense", answers: []string{`{`, `{}`}},
		{name: "full while in doubt", answers: []string{"", full, full}},
		{name: "sealed while in doubt", answers: []string{"", `{"error":{"code":400,"err_code":10109,"description":"invalid operation on sealed stream"}}`}},
		{name: "bytes", answers: []string{full}, want: eventlog.ErrLogFull},
		{name: "messages", answers: []string{`{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"}}`}, want: eventlog.ErrLogFull},
		{name: "storage", answers: []string{`{"error":{"code":500,"err_code":10047,"description":"insufficient storage resources available"}}`}, want: eventlog.ErrLogFull},
		{name: "server resources", answers: []string{`{"error":{"code":503,"err_code":10023,"description":"insufficient resources"}}`}, want: eventlog.ErrLogFull},
		{name: "account", answers: []string{`{"error":{"code":400,"err_code":10002,"description":"resource limits exceeded for account"}}`}, want: eventlog.ErrLogFull},
		{name: "sealed", answers: []string{`{"error":{"code":400,"err_code":10109,"description":"invalid operation on sealed stream"}}`}, want: eventlog.ErrUnavailable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx := testContext(t)
			o := openOutside(t, eventlog.Config{Partitions: 1}, eventlog.Hooks{AckTimeout: 50 * time.Millisecond})
			o.deafen(t, ctx)
			ids := answer(t, o, test.answers)
			_, err := o.log.Append(ctx, receipts(1, 0))
			if !errors.Is(err, test.want) {
				t.Errorf("the ticket says %v, want %v", err, test.want)
			}
			if errors.Is(err, eventlog.ErrUnknownOutcome) {
				t.Errorf("the outcome is known: %v", err)
			}
			tries := len(test.answers)
			if test.want == nil {
				tries++ // the one that stores
			}
			if got := ids(); len(got) != tries {
				t.Errorf("%d tries, want %d", len(got), tries)
			} else {
				for _, id := range got {
					if id == "" || id != got[0] {
						t.Errorf("the tries have ids %q", got)
					}
				}
			}
		})
	}
}

// answer gives each try the next answer, and stores' acknowledgements after the last. It returns
// the ids of the tries so far.
func answer(t *testing.T, o *outside, answers []string) func() []string {
	t.Helper()
	nc := o.js.Conn()
	var mu sync.Mutex
	var ids []string
	sub, err := nc.SubscribeSync(events.BatchSubject(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { sub.Unsubscribe(); <-done })
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			m, err := sub.NextMsg(time.Minute)
			if err != nil {
				return
			}
			mu.Lock()
			ids = append(ids, m.Header.Get("Nats-Msg-Id"))
			mu.Unlock()
			data := `{"stream":"RECEIPTS_0","seq":` + strconv.Itoa(n+1) + `}`
			if n < len(answers) {
				data = answers[n]
			}
			if data == "" {
				continue
			}
			if err := m.Respond([]byte(data)); err != nil {
				t.Error(err)
			}
		}
	}()
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return ids
	}
}
