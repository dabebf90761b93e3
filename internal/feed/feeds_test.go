package feed

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/internal/cluster"
)

// behind is a network on which every copy stands at an entry.
type behind struct {
	cluster.Bus
	at uint64
}

func (b behind) Ask(context.Context, string, []byte) ([]byte, error) {
	return json.Marshal(reply{After: b.at})
}

// What was told before is not told again by a copy that is behind, nor by the fold here. So whoever
// comes online has to have it in their summary.
func TestSummariesHaveWhatWasToldBefore(t *testing.T) {
	hub := notify.New(1, notify.Options{})
	defer hub.Close()
	f := New(hub, 1)
	bus := behind{at: 5}
	f.Join(Options{ID: "1", Node: "a", Bus: bus, Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
	in := &f.parts[0].in
	cover := func(who string) uint64 {
		t.Helper()
		sub := hub.Subscribe("o#a", who)
		defer sub.Close()
		after, err := f.Cover(t.Context(), 0, "o#a", who)
		if err != nil {
			t.Fatal(err)
		}
		return after
	}
	if after := cover("alice"); after != 0 {
		t.Errorf("nothing was told elsewhere: after %d", after)
	}
	in.begin(10)
	in.follow(newLine(bus, "b", "1", 0), bus.at)
	if after := cover("bob"); after != 10 {
		t.Errorf("told up to 10, and by a copy that stands at 5: after %d", after)
	}
	in.takeOver()
	if after := cover("carol"); after != 10 {
		t.Errorf("told up to 10, and by the fold here that comes to it: after %d", after)
	}
}
