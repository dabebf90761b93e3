package eventlog_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
)

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// The ways of a retry: within the duplicate window the server recognises the entry; past it the
// publisher finds it in the log. In the last case the server has forgotten the entry for certain.
var retryWays = []struct {
	name   string
	hooks  eventlog.Hooks
	forget time.Duration
}{
	{name: "recognised by the server"},
	{name: "found in the log", hooks: eventlog.Hooks{Trust: -1}},
	{name: "forgotten by the server", hooks: eventlog.Hooks{Trust: -1, DuplicateWindow: 100 * time.Millisecond}, forget: 300 * time.Millisecond},
}

// The connection is cut after the entry was stored and before its acknowledgement arrives, again
// and again, with more events queued after it.
func TestLostAcknowledgementsNeitherLoseNorDouble(t *testing.T) {
	for _, way := range retryWays {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			o := openOutside(t, eventlog.Config{Partitions: 1}, way.hooks)
			p := &producer{groups: 3}
			for range 10 {
				before := o.last(t, ctx)
				o.proxy.Hold()
				for range 3 {
					if err := p.submit(ctx, o.log, 5); err != nil {
						t.Fatal(err)
					}
				}
				eventually(t, "the entry is stored", func() bool { return o.last(t, ctx) > before })
				time.Sleep(way.forget)
				o.proxy.Cut()
				if err := p.tickets[len(p.tickets)-1].Wait(ctx); err != nil {
					t.Fatal(err)
				}
			}
			check(t, ctx, o.log, []*producer{p})
			if s := o.log.Stats()[0]; s.Retries == 0 || s.Failed != 0 {
				t.Errorf("the fault was not seen: %+v", s)
			}
		})
	}
}

// The acknowledgement comes late, after the try was given up: it is not taken for that of the next
// entry.
func TestLateAcknowledgements(t *testing.T) {
	for _, way := range retryWays {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			hooks := way.hooks
			hooks.AckTimeout = 50 * time.Millisecond
			o := openOutside(t, eventlog.Config{Partitions: 1}, hooks)
			p := &producer{groups: 3}
			for range 5 {
				retries := o.log.Stats()[0].Retries
				o.proxy.Hold()
				for range 3 {
					if err := p.submit(ctx, o.log, 5); err != nil {
						t.Fatal(err)
					}
				}
				eventually(t, "a retry", func() bool { return o.log.Stats()[0].Retries > retries })
				time.Sleep(way.forget)
				o.proxy.Release()
				if err := p.tickets[len(p.tickets)-1].Wait(ctx); err != nil {
					t.Fatal(err)
				}
			}
			check(t, ctx, o.log, []*producer{p})
		})
	}
}

// Faults at random moments under load, while somebody else stores entries in the same stream.
func TestRandomFaultsUnderLoad(t *testing.T) {
	for _, way := range retryWays {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			ctx := testContext(t)
			hooks := way.hooks
			hooks.AckTimeout = 200 * time.Millisecond
			o := openOutside(t, eventlog.Config{Partitions: 2}, hooks)
			other := o.openOther(t)

			load, stop := context.WithCancel(ctx)
			defer stop()
			producers := make([]*producer, 4)
			var wg sync.WaitGroup
			for id := range producers {
				producers[id] = &producer{id: id, groups: 5}
				l := o.log
				if id == 3 {
					l = other
				}
				wg.Go(func() {
					for load.Err() == nil {
						if err := producers[id].submit(ctx, l, 1+id*7); err != nil {
							t.Error(err)
							return
						}
						time.Sleep(time.Millisecond)
					}
				})
			}
			for range 15 {
				// A random moment of the traffic.
				time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond)
				switch random.IntN(3) {
				case 0:
					o.proxy.Cut()
				case 1:
					o.proxy.Hold()
					// What is on its way meanwhile is lost.
					time.Sleep(time.Duration(random.IntN(30)) * time.Millisecond)
					o.proxy.Cut()
				case 2:
					o.proxy.Hold()
					// Up to longer than an answer is waited for.
					time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond)
					o.proxy.Release()
				}
			}
			stop()
			wg.Wait()
			check(t, ctx, other, producers)
		})
	}
}

func TestServerRestartsWhilePublishing(t *testing.T) {
	ctx := testContext(t)
	o := openOutside(t, eventlog.Config{Partitions: 2}, eventlog.Hooks{})
	load, stop := context.WithCancel(ctx)
	defer stop()
	producers := []*producer{{id: 0, groups: 5}, {id: 1, groups: 5}}
	var wg sync.WaitGroup
	for _, p := range producers {
		wg.Go(func() {
			for load.Err() == nil {
				if err := p.submit(ctx, o.log, 10); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	for range 3 {
		time.Sleep(100 * time.Millisecond)
		o.server.Stop()
		eventually(t, "the log sees it", func() bool { return !o.log.Connected() })
		time.Sleep(50 * time.Millisecond)
		o.server.Start()
		eventually(t, "the log is back", o.log.Connected)
	}
	stop()
	wg.Wait()
	check(t, ctx, o.log, producers)
	if err := o.log.Err(); err != nil {
		t.Errorf("the log failed: %v", err)
	}
}

// Entries of other publishers lie between the last one acknowledged and the one that is looked for.
func TestEntryIsFoundAmongOthers(t *testing.T) {
	ctx := testContext(t)
	o := openOutside(t, eventlog.Config{Partitions: 1}, eventlog.Hooks{Trust: -1, DuplicateWindow: 100 * time.Millisecond})
	other := o.openOther(t)
	mine, theirs := &producer{id: 0, groups: 2}, &producer{id: 1, groups: 2}
	store := func(p *producer, l *eventlog.Log) {
		t.Helper()
		if err := p.submit(ctx, l, 2); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		store(theirs, other)
		if err := theirs.tickets[len(theirs.tickets)-1].Wait(ctx); err != nil {
			t.Fatal(err)
		}
		before := o.last(t, ctx)
		o.proxy.Hold()
		store(mine, o.log)
		eventually(t, "the entry is stored", func() bool { return o.last(t, ctx) > before })
		for range 5 {
			store(theirs, other)
			if err := theirs.tickets[len(theirs.tickets)-1].Wait(ctx); err != nil {
				t.Fatal(err)
			}
		}
		o.proxy.Cut()
		if err := mine.tickets[len(mine.tickets)-1].Wait(ctx); err != nil {
			t.Fatal(err)
		}
		// The entry was found where it is, not stored again at the end.
		if got := mine.tickets[len(mine.tickets)-1].Positions()[0].Sequence; got != before+1 {
			t.Errorf("found at %d, it is at %d", got, before+1)
		}
	}
	check(t, ctx, other, []*producer{mine, theirs})
}

// A stream that comes back shorter than what it acknowledged is not written to any more.
func TestLogThatLostEntriesFails(t *testing.T) {
	for _, way := range retryWays[:2] {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			o := openOutside(t, eventlog.Config{Partitions: 1}, way.hooks)
			for n := range 3 {
				if _, err := o.log.Append(ctx, receipts(5, n)); err != nil {
					t.Fatal(err)
				}
			}
			o.proxy.Hold()
			o.empty(t, ctx)
			ticket, err := o.log.Submit(ctx, receipts(5, 3))
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the entry is stored", func() bool { return o.last(t, ctx) > 0 })
			o.proxy.Cut()
			if err := ticket.Wait(ctx); !errors.Is(err, eventlog.ErrAhead) || !errors.Is(err, eventlog.ErrUnavailable) {
				t.Errorf("the ticket says %v", err)
			}
			<-o.log.Failed()
			if _, err := o.log.Submit(ctx, receipts(5, 4)); !errors.Is(err, eventlog.ErrAhead) {
				t.Errorf("the next submit says %v", err)
			}
		})
	}
}

// Past the window, a retry stores the entry only if the log has not grown since it was searched:
// here it grows by another entry at first, and then by an earlier try that was slow.
func TestRetryPastTheWindowIsConditional(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	// The test must answer within the time, in which it looks at a try and stores an entry.
	o := openOutside(t, eventlog.Config{Partitions: 1}, eventlog.Hooks{Trust: -1, AckTimeout: 3 * time.Second})
	o.deafen(t, ctx)
	tries := make(chan *nats.Msg, 1)
	if _, err := o.js.Conn().ChanSubscribe(events.BatchSubject(0), tries); err != nil {
		t.Fatal(err)
	}
	if err := o.js.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	try := func(expect string) *nats.Msg {
		t.Helper()
		select {
		case m := <-tries:
			if got := m.Header.Get(jetstream.ExpectedLastSeqHeader); got != expect {
				t.Fatalf("the try expects the log to end at %q, it ends at %q", got, expect)
			}
			return m
		case <-ctx.Done():
			t.Fatal("no try")
			return nil
		}
	}
	grow := func(id string) {
		t.Helper()
		if _, err := o.js.Publish(ctx, "elsewhere", []byte("x"), jetstream.WithMsgID(id)); err != nil {
			t.Fatal(err)
		}
	}
	overtaken := []byte(`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence"}}`)

	ticket, err := o.log.Submit(ctx, receipts(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	try("") // unanswered
	m := try("0")
	grow("another")
	if err := m.Respond(overtaken); err != nil {
		t.Fatal(err)
	}
	m = try("1")
	grow(m.Header.Get(jetstream.MsgIDHeader))
	if err := m.Respond(overtaken); err != nil {
		t.Fatal(err)
	}
	if err := ticket.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if got := ticket.Positions()[0].Sequence; got != 2 {
		t.Errorf("the entry is at %d, not at %d", 2, got)
	}
}

// What came after the last known entry has left the log before the entry in doubt was looked for.
func TestEntryInDoubtIsTrimmed(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	// Long enough for the test to trim the log before the entry is looked for.
	o := openOutside(t, eventlog.Config{Partitions: 1}, eventlog.Hooks{Trust: -1, AckTimeout: 3 * time.Second})
	if _, err := o.log.Append(ctx, receipts(1, 0)); err != nil {
		t.Fatal(err)
	}
	o.deafen(t, ctx)
	ids := answer(t, o, []string{""})
	ticket, err := o.log.Submit(ctx, receipts(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the try", func() bool { return len(ids()) == 1 })
	if _, err := o.js.Publish(ctx, "elsewhere", []byte("x")); err != nil {
		t.Fatal(err)
	}
	purge(t, ctx, o.js)
	if err := ticket.Wait(ctx); !errors.Is(err, eventlog.ErrUnknownOutcome) || !errors.Is(err, eventlog.ErrTrimmed) {
		t.Errorf("the ticket says %v", err)
	}
	if _, err := o.log.Append(ctx, receipts(1, 2)); err != nil {
		t.Errorf("the next one says %v", err)
	}
	if err := o.log.Err(); err != nil {
		t.Errorf("the log failed: %v", err)
	}
}
