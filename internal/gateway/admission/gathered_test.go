package admission

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// What is gathered is admitted like passes are, and what lasts holds memory of its app though it
// has nothing under way.
func TestGatheredAndLastingAreCountedByApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Memory: 1000 * kib})
		flood, quiet := Requester{App: "flood", Door: "test"}, Requester{App: "quiet", Door: "test"}
		one := Gathered{Requests: 1, Size: kib, Held: 100 * kib}
		var all Gathered
		for range 5 {
			if err := g.Gather(flood, one); err != nil {
				t.Fatal(err)
			}
			all.Add(one)
		}
		if r := refusal(t, g.Gather(flood, one)); r.Reason != MemoryFull {
			t.Errorf("beyond half of the memory: %v", r)
		}
		room := g.Room(flood)
		if r := refusal(t, room.Hold(kib)); r.Reason != MemoryFull {
			t.Errorf("and with a stream: %v", r)
		}
		if err := g.Gather(quiet, one); err != nil {
			t.Errorf("another app: %v", err)
		}
		g.Submitted(quiet, one, true, 0)
		g.Submitted(flood, all, true, 200*kib)
		if room.Fit(51*kib) || !room.Fit(50*kib) {
			t.Error("what can do with less has not a quarter of the memory")
		}
		if err := room.Hold(250 * kib); err != nil {
			t.Error(err)
		}
		g.Answered(flood, 200*kib)
		for i := range 2 * accountsMax { // to be forgotten, if it were not for the room
			p, _ := g.Enter(Requester{App: fmt.Sprint("app", i), Door: "test"}, 1)
			p.Release()
		}
		if r := refusal(t, room.Hold(201*kib)); r.Reason != MemoryFull {
			t.Errorf("what lasts is forgotten: %v", r)
		}
		room.Release()
		room.Release()

		// The queue.
		small := Gathered{Requests: 1, Size: 100 * kib}
		waiting := Gathered{}
		for g.Gather(flood, small) == nil {
			waiting.Add(small)
		}
		if waiting.Requests < 5 || waiting.Requests > 6 { // half of the memory
			t.Errorf("%d requests wait", waiting.Requests)
		}
		if err := g.Gather(quiet, small); err != nil {
			t.Errorf("another app: %v", err)
		}
		if r := refusal(t, g.Gather(flood, small)); r.Reason != OverShare {
			t.Errorf("beside another app: %v", r)
		}
		g.Submitted(quiet, small, false, 0)
		g.Submitted(flood, waiting, false, 0)
		time.Sleep(recentFor)
		empty(t, g)
	})
}
