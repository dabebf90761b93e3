package projections_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/oracle"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
)

// TestHistoriesMatchTheModel folds random histories and compares every outcome and every answer
// with the model, which was written from the rules alone; one fold goes straight through, another
// is stopped, restarted and starved of memory at random, and both end with the same bytes.
func TestHistoriesMatchTheModel(t *testing.T) {
	logs := history.Logs()
	repeats := 0 // of an event from before a restart
	rapid.Check(t, func(t *rapid.T) {
		log, id := logs.Draw(t, "log"), 0
		switch rapid.SampledFrom([]string{"as it is", "repeated", "sent again", "raised", "repartitioned"}).Draw(t, "variant") {
		case "repartitioned":
			log, id = history.Repartition(t, log), rapid.IntRange(0, 3).Draw(t, "partition")
		case "raised":
			log = history.Raise(t, log)
		case "repeated":
			log = history.Repeat(t, log)
		case "sent again":
			log = history.Resend(t, log)
		}
		disturb := disturbances(t, len(log))

		model := oracle.NewWithLimits(id, history.SmallLimits())
		model.SetLevels(history.SmallLevels())
		straight := newFold(t, memory{}, 0)
		disturbed := newFold(t, memory{}, 1)
		straight.be(id)
		disturbed.be(id)
		known := map[string]bool{} // with an id, from before the last restart; and since
		for i, e := range log {
			want := e.Apply(model)
			for name, f := range map[string]*fold{"straight": straight, "disturbed": disturbed} {
				got := f.apply(e)
				if !slices.Equal(got, want) {
					t.Fatalf("%s fold, entry %d: outcomes\n got  %v\n want %v", name, e.Sequence, describe(got), describe(want))
				}
			}
			for j, ev := range e.Events {
				name := fmt.Sprint(ev.App, ev.Kind, ev.EventID)
				if known[name] && want[j].Repeated() {
					repeats++
				}
				if ev.EventID != "" && !known[name] {
					known[name] = false
				}
			}
			disturbed.disturb(disturb[i], model)
			if disturb[i] == 1 || disturb[i] == 2 {
				for name := range known {
					known[name] = true
				}
			}
		}
		compareWithModel(t, straight.part, model)
		compareWithModel(t, disturbed.part, model)
		same(t, "level", []uint64{straight.part.Level()}, []uint64{model.Level()})
		straight.commitAll()
		disturbed.commitAll()
		if a, b := straight.state.dump(), disturbed.state.dump(); a != b {
			t.Fatalf("the states differ:\nstraight:\n%s\ndisturbed:\n%s", a, b)
		}
		disturbed.noStrays()
		disturbed.crash()
		compareWithModel(t, disturbed.part, model)
	})
	if repeats == 0 {
		t.Error("no event came again after a restart")
	}
	t.Logf("%d events came again after a restart", repeats)
}

func describe(list []events.Outcome) []string {
	out := make([]string, len(list))
	for i, o := range list {
		out[i] = fmt.Sprintf("%d:%v %s", i, o, o.Reason())
	}
	return out
}
