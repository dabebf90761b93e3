package eventlog

import (
	"context"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
)

// Entries keep their distance under load, what comes alone does not wait for anything, and the end
// of the log ends a wait.
func TestEntriesKeepADistanceUnderLoad(t *testing.T) {
	stopping, stop := context.WithCancel(context.Background())
	p := &publisher{log: &Log{stopping: stopping}}
	took := func() time.Duration {
		start := time.Now()
		p.pace()
		return time.Since(start)
	}
	for _, test := range []struct{ events, submits int }{{paceFromEvents, 1}, {paceFromSubmits, paceFromSubmits}} {
		p.latest = load{time.Now(), test.events, test.submits}
		if p.pace(); time.Since(p.latest.began) < entryInterval {
			t.Errorf("the next entry begins %v after one of %d events of %d submits", time.Since(p.latest.began), p.latest.events, p.latest.submits)
		}
	}
	// An entry that began in an hour would make the next one wait for that long.
	p.latest = load{time.Now().Add(time.Hour), paceFromEvents - 1, paceFromSubmits - 1}
	if d := took(); d > time.Minute {
		t.Errorf("after an entry of %d events of %d submits the next one waits %v", p.latest.events, p.latest.submits, d)
	}
	p.latest.began, p.latest.events = time.Now().Add(-entryInterval), paceFromEvents
	if d := took(); d > time.Minute {
		t.Errorf("an entry that comes later waits %v", d)
	}
	time.AfterFunc(10*time.Millisecond, stop)
	p.latest.began, p.latest.events = time.Now().Add(time.Hour), paceFromEvents
	if d := took(); d > time.Minute {
		t.Errorf("a log that ends waits %v", d)
	}
}

// An entry knows how many submits have events in it: one that fills several entries is counted in
// each of them, and none is counted in an entry of others.
func TestEntriesCountTheirSubmits(t *testing.T) {
	p := &publisher{wake: make(chan struct{}, 1)}
	submit := func(n int) {
		evs := make([]events.Event, n)
		for i := range evs {
			evs[i] = events.Event{App: "acme#chat", Kind: events.GroupJoined, Group: "g", User: "u"}
		}
		p.add(evs, share{weight: 1}, new(Ticket))
	}
	submit(1)
	submit(2)
	submit(events.MaxBatchEvents)
	submit(1)
	for i, want := range []struct{ events, submits int }{{events.MaxBatchEvents, 3}, {4, 2}} {
		out := p.encode(p.take(false))
		if out.events != want.events || out.submits != want.submits {
			t.Errorf("entry %d has %d events of %d submits, not %d of %d", i, out.events, out.submits, want.events, want.submits)
		}
	}
	submit(1) // into a batch that was used before
	if out := p.encode(p.take(false)); out.submits != 1 {
		t.Errorf("an entry of one submit counts %d", out.submits)
	}
}
