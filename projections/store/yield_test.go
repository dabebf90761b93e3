package store_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
	"github.com/receiptd/receiptd/projections/store"
)

// On a machine of one processor neither a commit nor a compaction holds up goroutines that have
// little to do each time.
func TestCommitAndCompactionLetOthersRun(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	p := part(t, s)
	log := manyMessages(100_000)
	// The scheduler by itself would switch every ten milliseconds, a few dozen times.
	for n := range 4 {
		fold(t, p, log[:(n+1)*len(log)/4])
		if yields, took := yieldsDuring(func() { commit(t, s, p) }); yields < 300 {
			t.Errorf("%d yields in a commit of %v", yields, took)
		}
	}
	if yields, took := yieldsDuring(func() {
		if err := s.Compact(t.Context()); err != nil {
			t.Error(err)
		}
	}); yields < 250 {
		t.Errorf("%d yields in a compaction of %v", yields, took)
	}
}

// yieldsDuring counts how often a goroutine that always yields gets to run while f does.
func yieldsDuring(f func()) (yields int, took time.Duration) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				yields++
				runtime.Gosched()
			}
		}
	}()
	begin := time.Now()
	f()
	took = time.Since(begin)
	close(stop)
	<-stopped
	return yields, took
}

// manyMessages is a log of that many messages of one group.
func manyMessages(n int) history.Log {
	const app = "acme#chat"
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled = true
	log := history.Log{
		{Sequence: 1, At: 1, Events: []events.Event{{Kind: events.AppConfigured, App: app, Settings: &settings, Revision: 1}}},
		{Sequence: 2, At: 1, Events: []events.Event{{Kind: events.GroupCreated, App: app, Group: "g", User: "ann", Members: []string{"ben"}}}},
	}
	for sent := 0; sent < n; {
		e := history.Entry{Sequence: uint64(len(log) + 1), At: 2}
		for range min(1000, n-sent) {
			e.Events = append(e.Events, events.Event{Kind: events.MessageSent, App: app, Group: "g", User: "ann", Message: fmt.Sprint("m", sent), Receipt: true})
			sent++
		}
		log = append(log, e)
	}
	return log
}
