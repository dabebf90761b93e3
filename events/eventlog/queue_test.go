package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
)

// heavy makes events that fill a queue quickly.
func heavy(n int, id string, group string) []events.Event {
	evs := make([]events.Event, n)
	for i := range evs {
		evs[i] = read(group, fmt.Sprintf("%s-%d", id, i))
		evs[i].Content = strings.Repeat("c", events.MaxContentBytes)
	}
	return evs
}

func TestQueueIsBoundedAndRefusesWhole(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	o := openOutside(t, eventlog.Config{Partitions: 2}, eventlog.Hooks{})
	inPartition := func(want int) string {
		for n := 0; ; n++ {
			e := read(fmt.Sprintf("g%d", n), "u")
			if events.Partition(&e, 2) == want {
				return e.Group
			}
		}
	}
	g0, g1 := inPartition(0), inPartition(1)

	o.proxy.Hold()
	var tickets []*eventlog.Ticket
	submitted := 0
	for {
		// Not over while there is room, however busy the machine
		brief, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		ticket, err := o.log.Submit(brief, heavy(100, fmt.Sprintf("p0-%d", submitted), g1))
		cancel()
		if errors.Is(err, eventlog.ErrOverloaded) && errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		tickets = append(tickets, ticket)
		submitted += 100
	}
	if got := int64(submitted) * events.MaxContentBytes; got > eventlog.MaxQueuedBytes {
		t.Errorf("%d bytes of content are queued, the bound is %d", got, eventlog.MaxQueuedBytes)
	}
	if s := o.log.Stats()[1]; s.Queued != int64(submitted) || s.InFlight == 0 {
		t.Errorf("%d events are queued, the counters say %+v", submitted, s)
	}

	// A submit for both partitions, of which one has room, is refused as a whole, and gives back
	// the room it had taken: three of them want more than there is.
	mixed := append(heavy(900, "p1-0", g0), heavy(100, "p1-1", g1)...)
	for range 3 {
		brief, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		_, err := o.log.Submit(brief, mixed)
		cancel()
		if !errors.Is(err, eventlog.ErrOverloaded) {
			t.Fatalf("the mixed submit says %v", err)
		}
	}
	if queued := o.log.Stats()[0].Queued; queued != 0 {
		t.Errorf("%d events of a refused submit are queued", queued)
	}
	if _, err := o.log.Submit(ctx, heavy(900, "p2-0", g0)); err != nil {
		t.Fatalf("the partition with room says %v", err)
	}

	// A waiting submit gets its turn when there is room again.
	waiting := make(chan error, 1)
	go func() {
		_, err := o.log.Append(ctx, mixed)
		waiting <- err
	}()
	eventually(t, "it waits", func() bool { return o.log.Stats()[1].Waiting == 1 })
	o.proxy.Release()
	if err := <-waiting; err != nil {
		t.Error(err)
	}
	for _, ticket := range tickets {
		if err := ticket.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(readAll(t, ctx, o.log, 0)) + len(readAll(t, ctx, o.log, 1)); got != submitted+900+len(mixed) {
		t.Errorf("%d events in the log, %d were accepted", got, submitted+900+len(mixed))
	}
}

func TestTooManyWaitingProducersAreRefused(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	o := openOutside(t, eventlog.Config{Partitions: 1}, eventlog.Hooks{})
	o.proxy.Hold()
	if _, err := o.log.Submit(ctx, heavy(eventlog.MaxQueuedBytes/events.MaxContentBytes, "p0-0", "g")); err != nil {
		t.Fatal(err)
	}
	one := heavy(1, "p1-0", "g")
	patient, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for range eventlog.MaxWaiting {
		wg.Go(func() {
			if _, err := o.log.Submit(patient, one); !errors.Is(err, eventlog.ErrOverloaded) {
				t.Errorf("a producer that gave up was told %v", err)
			}
		})
	}
	eventually(t, "they wait", func() bool { return o.log.Stats()[0].Waiting == eventlog.MaxWaiting })
	begin := time.Now()
	if _, err := o.log.Submit(ctx, one); !errors.Is(err, eventlog.ErrOverloaded) {
		t.Errorf("one more was told %v", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it was told after %v", took)
	}
	cancel()
	wg.Wait()
	o.proxy.Release()
	if _, err := o.log.Append(ctx, one); err != nil {
		t.Error(err)
	}
}
