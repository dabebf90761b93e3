package store_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/sim/history"
	"github.com/receiptd/receiptd/projections/store"
)

// On a machine of one processor a flush must not hold up those who have little to do, again and again.
func TestFlushLetsOthersRun(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	s, err := store.Open(t.TempDir(), store.Options{MemTableBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	p := part(t, s)
	fold(t, p, manyMessages(100_000))
	commit(t, s, p)

	turns := 0
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				turns++
				runtime.Gosched()
			}
		}
	}()
	begin := time.Now()
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	close(stop)
	<-stopped
	// A flush of this size writes about 390 pieces; by itself the scheduler changes over every ten milliseconds.
	if turns < 250 {
		t.Errorf("%d turns in a flush of %v", turns, took)
	}
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
