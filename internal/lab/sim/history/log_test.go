package history

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/oracle"
	"github.com/receiptd/receiptd/projections"
)

// The logs are only as good as what happens in them.
func TestLogsReachEveryOutcome(t *testing.T) {
	const logs = 2000
	atLeast := map[events.Kind]map[events.Outcome]int{} // seen, by kind
	within := map[events.Outcome]int{}                  // logs it occurs in
	total := 0
	var alerts [3]int
	for seed := range logs {
		l := Logs().Example(seed)
		m := oracle.NewWithLimits(0, SmallLimits())
		here := map[events.Outcome]bool{}
		for i, outcomes := range l.Apply(m) {
			for j, outcome := range outcomes {
				ev := &l[i].Events[j]
				if err := ev.Validate(); err != nil {
					t.Fatalf("seed %d: %v in %s", seed, err, show(ev))
				}
				if atLeast[ev.Kind] == nil {
					atLeast[ev.Kind] = map[events.Outcome]int{}
				}
				atLeast[ev.Kind][outcome]++
				here[outcome] = true
			}
			total += len(outcomes)
		}
		for _, app := range m.Apps() {
			for _, r := range m.Rejections(app) {
				here[r.Outcome] = true // RejectedParkedExpired is no event's outcome
			}
		}
		for o := range here {
			within[o]++
		}
		for _, app := range m.Apps() {
			groups, parts := m.DecidedAlerts(app)
			joined := (&oracle.Cluster{Partitions: []*oracle.Model{m}}).Alerts(app)
			alerts[0] += min(len(groups), 1)
			alerts[1] += min(len(parts), 1)
			if slices.ContainsFunc(joined, func(x projections.Alert) bool { return x.Rule.By != events.AlertByGroup }) {
				alerts[2]++
			}
		}
	}
	t.Logf("%d events in %d logs, alerts of groups, parts and alerts of these %d times", total, logs, alerts)
	for _, n := range alerts {
		if 20*n < logs {
			t.Errorf("alerts of groups, parts and alerts of these come up %d times in %d logs", alerts, logs)
		}
	}
	for o := events.OutcomeApplied; o <= events.OutcomeHidden; o++ {
		if o == events.OutcomeRejected || o > events.RejectedParkedExpired && o < events.RejectedImportAhead || o > events.RejectedImportBehind && o < events.OutcomeHidden {
			continue
		}
		share := float64(within[o]) / logs
		t.Logf("%-9s %-32s in %4.1f %% of logs", o, o.Reason(), 100*share)
		if share < 0.1 {
			t.Errorf("outcome %d, %s %q, occurs in %.1f %% of logs", o, o, o.Reason(), 100*share)
		}
	}
	for k := events.MessageSent; k < events.RulesLevel; k++ { // which is only in those of [Raise]
		for _, o := range []events.Outcome{events.OutcomeApplied, events.OutcomeDuplicate} {
			if 1000*atLeast[k][o] < total/10 {
				t.Errorf("%s is %s in %d of %d events", k, o, atLeast[k][o], total)
			}
		}
		if repeats := atLeast[k][events.OutcomeApplied.Repeat()]; !k.Internal() && 5000*repeats < total/10 {
			t.Errorf("%s is repeated in %d of %d events", k, repeats, total)
		}
	}
}

func TestSplitChangesNothingButPositions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Logs().Draw(t, "log")
		split := split(t, l)
		a, b := oracle.NewWithLimits(0, SmallLimits()), oracle.NewWithLimits(0, SmallLimits())
		if x, y := flat(l.Apply(a)), flat(split.Apply(b)); !reflect.DeepEqual(x, y) {
			t.Fatalf("outcomes\n%v, split\n%v\n%v", x, y, split)
		}
		checkValid(t, split)
		if x, y := state(a, true), state(b, true); x != y {
			t.Fatalf("state\n%s\nsplit\n%s\n%v", x, y, split)
		}
	})
}

func TestRepeatedEventsChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Logs().Draw(t, "log")
		repeated := Repeat(t, l)
		a, b := oracle.NewWithLimits(0, SmallLimits()), oracle.NewWithLimits(0, SmallLimits())
		l.Apply(a)
		repeated.Apply(b)
		if x, y := state(a, false), state(b, false); x != y {
			t.Fatalf("state\n%s\nrepeated\n%s\n%v", x, y, repeated)
		}
	})
}

func TestResendKeepsTheOriginalOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Logs().Draw(t, "log")
		again := Resend(t, l)
		again.Apply(oracle.NewWithLimits(0, SmallLimits())) // sequences grow, or it panics
		checkValid(t, again)
		next := 0
		for _, e := range again {
			if next < len(l) && e.At == l[next].At && e.Poison == l[next].Poison && reflect.DeepEqual(e.Events, l[next].Events) {
				next++
			}
		}
		if next != len(l) {
			t.Fatalf("entry %d is missing in\n%v", next, again)
		}
	})
}

// A fold that skips what its checkpoint reflects ends with every entry applied once.
func TestScheduleDeliversEverythingInOrder(t *testing.T) {
	restarts := 0
	rapid.Check(t, func(t *rapid.T) {
		l := Logs().Draw(t, "log")
		position, kept := 0, 0 // entries applied
		for _, op := range schedule(t, l) {
			switch op.Kind {
			case opApply:
				if op.Entry > position {
					t.Fatalf("entry %d comes after entry %d", op.Entry, position-1)
				}
				position = max(position, op.Entry+1)
			case opCheckpoint:
				kept = position
			case opRestart:
				position = kept
				restarts++
			}
		}
		if position != len(l) {
			t.Fatalf("%d of %d entries were delivered", position, len(l))
		}
	})
	if restarts == 0 {
		t.Error("no restart in any schedule")
	}
}

func TestLogsShowAsText(t *testing.T) {
	l := Log{
		{Sequence: 3, At: 5, Events: []events.Event{
			{App: "o#a", Kind: events.MessageRead, Group: "g", User: "u", Message: "m", Strict: true},
			{App: "o#a", Kind: events.GroupCreated, Group: "g", User: "u", Members: []string{"v"}},
		}},
		{Sequence: 4, At: 6, Poison: "not a batch"},
	}
	want := `
entry 3 at 5 
   0 o#a message.read group=g user=u message=m strict=true
   1 o#a group.created group=g user=u members=[v]
entry 4 at 6 not a batch
`
	if got := l.GoString(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if l.Len() != 2 {
		t.Errorf("%d events", l.Len())
	}
}

func BenchmarkLogs(b *testing.B) {
	gen := Logs()
	for seed := range b.N {
		gen.Example(seed)
	}
}

func flat(outcomes [][]events.Outcome) []events.Outcome {
	var all []events.Outcome
	for _, o := range outcomes {
		all = append(all, o...)
	}
	return all
}

func checkValid(t *rapid.T, l Log) {
	for _, e := range l {
		for i := range e.Events {
			if err := e.Events[i].Validate(); err != nil {
				t.Fatalf("%v in %s", err, show(&e.Events[i]))
			}
		}
	}
}

// state is everything the model answers, but for positions; rejections only on demand.
func state(m *oracle.Model, rejections bool) string {
	var b strings.Builder
	for _, app := range m.Apps() {
		s, revision, _ := m.Settings(app)
		fmt.Fprintln(&b, app, s, revision, m.ParkedCount(app))
		for _, c := range m.AllConversations(app) {
			fmt.Fprintln(&b, c, m.Members(app, c.Group))
		}
		for _, msg := range m.AllMessages(app) {
			c := oracle.ConversationOf(app, msg)
			fmt.Fprintln(&b, msg, m.Readers(c, msg.ID), m.NonReaders(c, msg.ID))
		}
		for _, user := range m.Users(app) {
			fmt.Fprintln(&b, user, m.Conversations(app, user), m.Summary(app, user))
		}
		if rejections {
			for _, r := range m.Rejections(app) {
				r.Sequence, r.Index = 0, 0
				fmt.Fprintln(&b, r)
			}
		}
	}
	fmt.Fprintln(&b, len(m.Poisoned()), m.Clock())
	return b.String()
}
