package eventlog_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// producer submits numbered events, so that what is missing, doubled or out of order shows.
type producer struct {
	id      int
	groups  int
	next    int
	tickets []ticket
}

type ticket struct {
	first, n int
	*eventlog.Ticket
}

func (p *producer) event(n int) events.Event {
	return read(fmt.Sprintf("g%d", n%p.groups), fmt.Sprintf("p%d-%d", p.id, n))
}

// submit sends the next n events and keeps the ticket.
func (p *producer) submit(ctx context.Context, l *eventlog.Log, n int) error {
	evs := make([]events.Event, n)
	for i := range evs {
		evs[i] = p.event(p.next + i)
	}
	t, err := l.Submit(ctx, evs)
	if err != nil {
		return err
	}
	p.tickets = append(p.tickets, ticket{first: p.next, n: n, Ticket: t})
	p.next += n
	return nil
}

// check waits for the producers' tickets and compares the log with what they submitted: every event
// once, where its ticket says, and those of a producer in order.
func check(t *testing.T, ctx context.Context, l *eventlog.Log, producers []*producer) {
	t.Helper()
	for _, p := range producers {
		for _, ticket := range p.tickets {
			if err := ticket.Wait(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	logged := make(map[string]eventlog.Location)
	order := make(map[string]int) // last number of each producer in each partition
	total := 0
	for partition := range l.Partitions() {
		for _, s := range readAll(t, ctx, l, partition) {
			if at, ok := logged[s.user]; ok {
				t.Fatalf("%s is twice in the log: at %+v and at %+v", s.user, at, s)
			}
			logged[s.user] = eventlog.Location{Partition: partition, Sequence: s.sequence, Index: s.index}
			var producer, n int
			if _, err := fmt.Sscanf(s.user, "p%d-%d", &producer, &n); err != nil {
				t.Fatal(err)
			}
			key := fmt.Sprintf("%d in %d", producer, partition)
			if last, ok := order[key]; ok && n <= last {
				t.Fatalf("event %d of producer %s comes after %d", n, key, last)
			}
			order[key] = n
			total++
		}
	}
	for _, p := range producers {
		for _, ticket := range p.tickets {
			total -= ticket.n
			i := 0
			for at := range ticket.Locations() {
				e := p.event(ticket.first + i)
				if got := logged[e.User]; got != at {
					t.Fatalf("%s: its ticket says %+v, the log %+v", e.User, at, got)
				}
				if want := events.Partition(&e, l.Partitions()); at.Partition != want {
					t.Fatalf("%s is in partition %d, belongs into %d", e.User, at.Partition, want)
				}
				i++
			}
			if i != ticket.n {
				t.Fatalf("%d locations of %d events", i, ticket.n)
			}
		}
	}
	if total != 0 {
		t.Fatalf("the log has %d events more than were submitted", total)
	}
}

func TestEventsAreStoredOnceAndInOrder(t *testing.T) {
	for _, partitions := range []int{1, 3} {
		t.Run(fmt.Sprint(partitions), func(t *testing.T) {
			ctx := testContext(t)
			l := natstest.OpenLog(t, eventlog.Config{Partitions: partitions})
			producers := make([]*producer, 8)
			var wg sync.WaitGroup
			for id := range producers {
				p := &producer{id: id, groups: 7}
				producers[id] = p
				wg.Go(func() {
					for n := range 100 {
						if err := p.submit(ctx, l, 1+(n*(id+3))%97); err != nil {
							t.Error(err)
							return
						}
						if n%10 == 0 {
							if err := p.tickets[n].Wait(ctx); err != nil {
								t.Error(err)
							}
						}
					}
				})
			}
			wg.Wait()
			check(t, ctx, l, producers)
		})
	}
}

func TestSubmitLargerThanAnEntry(t *testing.T) {
	ctx := testContext(t)
	l := natstest.OpenLog(t, eventlog.Config{Partitions: 2})
	p := &producer{groups: 50}
	if err := p.submit(ctx, l, 5*events.MaxBatchEvents); err != nil {
		t.Fatal(err)
	}
	ticket := p.tickets[0]
	if err := ticket.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	check(t, ctx, l, []*producer{p})
	for _, position := range ticket.Positions() {
		if _, last, err := l.Bounds(ctx, position.Partition); err != nil || position.Sequence != last {
			t.Errorf("position %+v, the last entry is %d, %v", position, last, err)
		}
	}
	i := 0
	for at := range ticket.Locations() {
		if i%997 == 0 && ticket.Locate(i) != at {
			t.Fatalf("Locate(%d) is %+v, Locations says %+v", i, ticket.Locate(i), at)
		}
		i++
	}
}

func TestSubmitHeavierThanTheQueue(t *testing.T) {
	ctx := testContext(t)
	l := natstest.OpenLog(t, eventlog.Config{Partitions: 1})
	content := make([]byte, events.MaxContentBytes)
	for i := range content {
		content[i] = 'x'
	}
	evs := make([]events.Event, eventlog.MaxQueuedBytes/len(content)+100)
	for i := range evs {
		evs[i] = read("g", fmt.Sprintf("p0-%d", i))
		evs[i].Content = string(content[:len(content)-i%7])
	}
	for range 2 { // the second waits for the room of the first, all of it
		if _, err := l.Append(ctx, evs); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(readAll(t, ctx, l, 0)); got != 2*len(evs) {
		t.Errorf("%d events in the log, want %d", got, 2*len(evs))
	}
}

func TestSubmitTo(t *testing.T) {
	ctx := testContext(t)
	l := natstest.OpenLog(t, eventlog.Config{Partitions: 3})
	seen := []events.Event{{App: "acme#chat", Kind: events.StatisticSeen, User: "ann", Upto: 7}}
	ticket, err := l.SubmitTo(ctx, 2, seen)
	if err != nil {
		t.Fatal(err)
	}
	if err := ticket.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if got, want := ticket.Positions(), []eventlog.Position{{Partition: 2, Sequence: 1}}; !slices.Equal(got, want) {
		t.Errorf("positions %v, want %v", got, want)
	}
	if got, want := ticket.Locate(0), (eventlog.Location{Partition: 2, Sequence: 1}); got != want {
		t.Errorf("location %v, want %v", got, want)
	}
	for _, partition := range []int{-1, 3} {
		if _, err := l.SubmitTo(ctx, partition, seen); err == nil {
			t.Errorf("partition %d of 3 was accepted", partition)
		}
	}
}

func TestEmptySubmit(t *testing.T) {
	ctx := testContext(t)
	l := natstest.OpenLog(t, eventlog.Config{Partitions: 2})
	ticket, err := l.Append(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := ticket.Positions(); len(got) != 0 {
		t.Errorf("positions %v of nothing", got)
	}
}

func TestStats(t *testing.T) {
	ctx := testContext(t)
	l := natstest.OpenLog(t, eventlog.Config{Partitions: 1})
	for range 3 {
		if _, err := l.Append(ctx, receipts(10, 0)); err != nil {
			t.Fatal(err)
		}
	}
	s := l.Stats()[0]
	if s.Entries != 3 || s.Events != 30 || s.LastSequence != 3 || s.Bytes == 0 || s.AckTime < s.LastAck || s.LastAck <= 0 {
		t.Errorf("%+v", s)
	}
	if s.Queued != 0 || s.Waiting != 0 || s.InFlight != 0 || s.Failed != 0 || s.Retries != 0 {
		t.Errorf("idle, but %+v", s)
	}
}

// A submit costs a handful of allocations, however many events it has.
func TestSubmitDoesNotAllocatePerEvent(t *testing.T) {
	ctx := testContext(t)
	l := natstest.OpenLog(t, eventlog.Config{Partitions: 2, Fsync: eventlog.FsyncInterval})
	evs := receipts(1000, 0)
	allocs := testing.AllocsPerRun(200, func() {
		if _, err := l.Append(ctx, evs); err != nil {
			t.Fatal(err)
		}
	})
	// Nearly all of them are the client's and the server's, per entry.
	if allocs > 250 {
		t.Errorf("%.0f allocations per submit of %d events", allocs, len(evs))
	}
}
