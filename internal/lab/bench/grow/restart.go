package grow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/bench/load"
)

// Restart describes a kill -9 under full load and the start after it.
type Restart struct {
	// Receipts were in the state.
	Receipts int `json:"receipts"`
	// Open is the time in seconds from the start of the process until log and state were open,
	// Serving the time until it was ready and had answered a query for counts correctly. In
	// between it folded the events that its state lacked.
	Open    float64 `json:"open_s"`
	Serving float64 `json:"serving_s"`
	Folded  int     `json:"events_folded"`
	// Unanswered is how many events were in flight when it was killed. They were sent again.
	Unanswered int `json:"events_unanswered"`
}

// unanswered holds events whose requests failed: they may or may not be in the log.
type unanswered struct {
	mu       sync.Mutex
	requests [][]events.Event
}

func (u *unanswered) add(evs []events.Event) {
	u.mu.Lock()
	u.requests = append(u.requests, slices.Clone(evs))
	u.mu.Unlock()
}

// restart kills the server in the middle of full load, starts it again, and sends again what was
// not answered.
func (r *run) restart(ctx context.Context) error {
	// What was answered must be there at once. What is in flight may be.
	before := r.sample(load.CountsAtOnce)
	if err := r.killUnderLoad(ctx); err != nil {
		return err
	}
	most := make(map[string]int, len(before))
	for _, m := range before {
		most[m.id] = 0
	}
	for _, g := range r.streams {
		g.Expected(func(_, _, id string, readers int) {
			if _, ok := most[id]; ok {
				most[id] = readers
			}
		})
	}
	start := time.Now()
	if err := r.server.Start(ctx, r.dir); err != nil {
		return err
	}
	for app, ids := range byApp(before) {
		counts, err := r.server.Counts(ctx, app, ids)
		if err != nil {
			return err
		}
		for _, m := range before {
			if n := counts[m.id]; m.app == app && (n < m.readers || n > most[m.id]) {
				return fmt.Errorf("message %s has %d readers after the start, not %d to %d", m.id, n, m.readers, most[m.id])
			}
		}
	}
	r.result.Restart = Restart{
		Receipts: r.totals().Receipts, Open: r.server.Opened().Sub(start).Seconds(), Serving: time.Since(start).Seconds(),
	}
	metrics, err := r.server.Metrics(ctx)
	if err != nil {
		return err
	}
	r.result.Restart.Folded = int(metrics["receiptd_fold_outcomes_total"])
	for _, evs := range r.unanswered.requests {
		r.result.Restart.Unanswered += len(evs)
		if err := r.server.Load(ctx, evs); err != nil {
			return fmt.Errorf("send again: %w", err)
		}
	}
	return nil
}

// killUnderLoad loads the server, and kills it in the middle, after the time of a run.
func (r *run) killUnderLoad(ctx context.Context) error {
	var poured error
	var pouring sync.WaitGroup
	pouring.Go(func() {
		_, poured = r.load(pourBatch).Phase(ctx, r.o.Duration+time.Minute, 0, nil)
	})
	select {
	case <-time.After(r.o.Duration):
	case <-ctx.Done():
	}
	err := r.server.Kill()
	pouring.Wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil && poured == nil:
		return errors.New("the load did not notice that the server was killed")
	}
	return err
}

// byApp groups the ids of messages by app.
func byApp(list []message) map[string][]string {
	ids := map[string][]string{}
	for _, m := range list {
		ids[m.app] = append(ids[m.app], m.id)
	}
	return ids
}

// check compares the totals of all messages and the counts of many with what the traffic leads to:
// nothing that was answered is lost, nothing that was sent again is doubled.
func (r *run) check(ctx context.Context) error {
	l := r.load(1)
	want := l.Reads()
	for app, w := range want {
		var answer struct {
			Rows []struct{ Messages, Read int }
		}
		if err := r.server.Get(ctx, child.App(app)+"/analytics/read-rate?group_by=hour", &answer); err != nil {
			return err
		}
		var got load.Reads
		for _, row := range answer.Rows {
			got = load.Reads{Messages: got.Messages + row.Messages, Read: got.Read + row.Read}
		}
		if got != w {
			return fmt.Errorf("%s has %d messages and %d reads, not %d and %d", app, got.Messages, got.Read, w.Messages, w.Read)
		}
	}
	made := l.Totals()
	r.result.Receipts, r.result.Messages = made.Receipts, made.Messages
	checked, err := l.Check(ctx, max(1, made.Messages/checkedMost))
	r.result.CountsChecked = checked
	return err
}
