package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// What the API is run with does what it asks for.
var (
	_ State              = (*projector.Projector)(nil)
	_ gateway.Log        = (*eventlog.Log)(nil)
	_ gateway.Subscriber = (*notify.Hub)(nil)
)

// TestEventsAreInTheRealLogWhenAnswered reads back what was answered: positions are true, and
// outcomes are those of each event's own place in its entry.
func TestEventsAreInTheRealLogWhenAnswered(t *testing.T) {
	log := natstest.OpenLog(t, eventlog.Config{Partitions: testPartitions})
	h := newHarness(t, func(c *Config) { c.Log = log })
	// The outcome of an event tells which it is: odd members were there already.
	h.state.outcomes = func(ctx context.Context, partition int, sequence uint64) ([]events.Outcome, error) {
		var outcomes []events.Outcome
		for _, user := range readEntry(t, log, partition, sequence) {
			var n int
			if _, err := fmt.Sscanf(user, "u%d", &n); err != nil {
				return nil, err
			}
			outcomes = append(outcomes, []events.Outcome{events.OutcomeApplied, events.OutcomeDuplicate}[n%2])
		}
		return outcomes, nil
	}
	var lines, want []string
	for i := range 200 {
		lines = append(lines, fmt.Sprintf(`{"type":"group.joined","group":"g%d","user":"u%d"}`, i*7%13, i))
		want = append(want, fmt.Sprint("u", i))
	}
	rq := ndjson(lines...)
	var answered struct {
		Positions []eventlog.Position
		Outcomes  []struct {
			Index   int
			Outcome string
		}
	}
	if err := json.Unmarshal(h.want(rq, 200, "").body, &answered); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range answered.Positions {
		for sequence := uint64(1); sequence <= p.Sequence; sequence++ {
			got = append(got, readEntry(t, log, p.Partition, sequence)...)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the log has %d events, %d were answered", len(got), len(want))
	}

	rq.path += "?wait=applied"
	if err := json.Unmarshal(h.want(rq, 200, "").body, &answered); err != nil {
		t.Fatal(err)
	}
	for i, o := range answered.Outcomes {
		if want := []string{"applied", "duplicate"}[i%2]; o.Index != i || o.Outcome != want {
			t.Fatalf("outcome %d: %+v, want %s", i, o, want)
		}
	}
	if len(answered.Outcomes) != len(lines) {
		t.Errorf("%d outcomes", len(answered.Outcomes))
	}
}

// readEntry returns the users of the events of an entry.
func readEntry(t *testing.T, log *eventlog.Log, partition int, sequence uint64) (users []string) {
	t.Helper()
	e, err := log.EntryAt(t.Context(), partition, sequence)
	if err != nil {
		t.Error(err)
		return nil
	}
	var b events.Batch
	if err := events.DecodeEntry(e.Subject, e.Data, e.MsgID, testPartitions, &b); err != nil {
		t.Error(err)
	}
	for i := range b.Len() {
		users = append(users, b.Users[b.User[i]])
	}
	return users
}
