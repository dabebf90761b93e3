package sim

import (
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/oracle"
)

func TestTrafficIsTheSameForTheSameSeed(t *testing.T) {
	make := func(seed uint64, step int) (setup, evs []events.Event) {
		config := DefaultConfig()
		config.Seed = seed
		traffic := mustNew(t, config)
		generators, err := traffic.Generators(3)
		if err != nil {
			t.Fatal(err)
		}
		for len(evs) < 20_000 {
			evs = generators[2].Next(evs, step)
		}
		return traffic.Setup(), evs
	}
	setup, evs := make(1, 1000)
	again, evsAgain := make(1, 1000)
	if !reflect.DeepEqual(setup, again) || !reflect.DeepEqual(evs, evsAgain) {
		t.Error("the same seed gave other traffic")
	}
	other, evsOther := make(2, 1000)
	if reflect.DeepEqual(setup, other) || reflect.DeepEqual(evs, evsOther) {
		t.Error("another seed gave the same traffic")
	}
}

func TestTrafficIsValid(t *testing.T) {
	traffic := mustNew(t, Config{Seed: 3, Apps: 2, Groups: 50, Members: 10, Churn: 1, SingleChats: 0.5, Absent: 0.6, EarlyReads: 0.3, Duplicates: 0.3})
	generators, err := traffic.Generators(2)
	if err != nil {
		t.Fatal(err)
	}
	evs := generators[1].Next(generators[0].Next(traffic.Setup(), 20_000), 20_000)
	kinds := map[events.Kind]int{}
	for i := range evs {
		if err := evs[i].Validate(); err != nil {
			t.Fatalf("%v in %+v", err, evs[i])
		}
		kinds[evs[i].Kind]++
		if id := evs[i].Message; id != "" && len(id) != 19 || evs[i].Group != "" && len(evs[i].Group) != 15 || evs[i].User[:4] != "user" {
			t.Fatalf("ids of %+v", evs[i])
		}
	}
	for _, k := range []events.Kind{events.MessageSent, events.MessageDelivered, events.MessageRead, events.GroupJoined, events.GroupLeft} {
		if kinds[k] < 100 {
			t.Errorf("%d of kind %s", kinds[k], k)
		}
	}
}

func TestExpectedReadersAreThoseOfTheModel(t *testing.T) {
	for name, config := range map[string]Config{
		"default":         DefaultConfig(),
		"plain":           {Seed: 1, Apps: 1, Groups: 20, Members: 20},
		"pairs":           {Seed: 2, Apps: 1, Groups: 1, Members: 2, Duplicates: 0.2, EarlyReads: 0.5, Churn: 1},
		"chats only":      {Seed: 3, Apps: 2, Groups: 10, Members: 5, Duplicates: 0.3, SingleChats: 1, Absent: 0.5},
		"all at once":     {Seed: 4, Apps: 3, Groups: 200, Members: 10, Duplicates: 0.5, EarlyReads: 0.5, Churn: 0.8, SingleChats: 0.3, Absent: 0.3},
		"one large group": {Seed: 5, Apps: 1, Groups: 1, Members: 500, Duplicates: 0.1, EarlyReads: 0.1, Churn: 1, Absent: 0.2},
		"nobody reads":    {Seed: 6, Apps: 1, Groups: 10, Members: 10, Churn: 0.1, SingleChats: 0.5, Absent: 1},
	} {
		t.Run(name, func(t *testing.T) {
			traffic := mustNew(t, config)
			n := min(3, config.Groups)
			generators, err := traffic.Generators(n)
			if err != nil {
				t.Fatal(err)
			}
			run := newRun(t, traffic)
			for round := range 40 {
				g := generators[round%n]
				run.apply(g.Next(nil, 1+round*15))
			}
			var totals Totals
			for _, g := range generators {
				run.compare(g)
				totals.Add(g.Totals())
			}
			run.compareTotals(totals)
		})
	}
}

// run is a model that the traffic goes through.
type run struct {
	t        *testing.T
	model    *oracle.Model
	outcomes map[events.Outcome]int
	messages int
}

func newRun(t *testing.T, traffic *Traffic) *run {
	r := &run{t: t, model: oracle.New(0), outcomes: map[events.Outcome]int{}}
	settings := traffic.Settings()
	var evs []events.Event
	for _, app := range traffic.Apps() {
		evs = append(evs, events.Event{App: app, Kind: events.AppConfigured, Settings: &settings, Revision: 1})
	}
	r.apply(append(evs, traffic.Setup()...))
	clear(r.outcomes)
	return r
}

func (r *run) apply(evs []events.Event) {
	sequence := r.model.Sequence() + 1
	for i, outcome := range r.model.Apply(sequence, int64(sequence), evs) {
		if outcome.Rejected() {
			r.t.Fatalf("%q: %+v", outcome.Reason(), evs[i])
		}
		r.outcomes[outcome]++
	}
}

func (r *run) compare(g *Generator) {
	counts := map[string]int{}
	g.Expected(func(app, group, id string, readers int) {
		r.messages++
		counts[id] = readers
	})
	g.Readers(func(app, group, id string, readers []string) {
		found := r.model.Messages(app, id)
		if len(found) != 1 || found[0].Group != group {
			r.t.Fatalf("message %s of group %q: %+v", id, group, found)
		}
		var want []string
		for _, reader := range r.model.Readers(oracle.ConversationOf(app, found[0]), id) {
			want = append(want, reader.User)
		}
		got := slices.Sorted(slices.Values(readers))
		slices.Sort(want)
		if !slices.Equal(got, want) || counts[id] != found[0].Read {
			r.t.Fatalf("message %s of group %q: %d readers %q, the model has %q", id, group, counts[id], got, want)
		}
	})
}

func (r *run) compareTotals(totals Totals) {
	waiting, all := 0, 0
	for _, app := range r.model.Apps() {
		waiting += r.model.ParkedCount(app)
		all += len(r.model.AllMessages(app))
	}
	got := []int{totals.Events, totals.Messages, totals.Messages, totals.Early, totals.Duplicates, totals.Waiting, totals.Receipts}
	applied, parked, duplicate := r.outcomes[events.OutcomeApplied], r.outcomes[events.OutcomeParked], r.outcomes[events.OutcomeDuplicate]
	want := []int{applied + parked + duplicate, all, r.messages, parked, duplicate, waiting, totals.Distinct + totals.Duplicates}
	if !slices.Equal(got, want) {
		r.t.Errorf("totals %+v: %v, the model says %v", totals, got, want)
	}
	if other := applied + parked - totals.Distinct; other != totals.Messages+totals.Joined+totals.Left {
		r.t.Errorf("%d events that are no receipts, totals %+v", other, totals)
	}
}

func TestTrafficHasTheConfiguredShape(t *testing.T) {
	config := DefaultConfig()
	config.Groups, config.EarlyReads = 1000, 0.05
	traffic := mustNew(t, config)
	members, large := 0, 0
	sizes := groupSizes(config.Groups, config.Members)
	for i, n := range sizes {
		members += n
		if i >= len(sizes)*9/10 {
			large += n
		}
	}
	generators, err := traffic.Generators(1)
	if err != nil {
		t.Fatal(err)
	}
	g := generators[0]
	var evs []events.Event
	for range 500 {
		evs = g.Next(evs[:0], 2000)
	}
	singles, read, seats := 0, 0, 0
	g.Expected(func(_, group, _ string, readers int) {
		if group == "" {
			singles++
		} else {
			read += readers
		}
	})
	for i := range g.ledger.records {
		if c := &g.conversations[g.ledger.records[i].conversation]; c.group != "" {
			seats += len(c.users) - len(c.outside) - 1
		}
	}
	total := g.Totals()
	groupMessages := total.Messages - singles
	for _, c := range []struct {
		name      string
		got, want float64
		tolerance float64
	}{
		{"members of a group", float64(members) / float64(config.Groups), 50, 1},
		{"members in the largest tenth", float64(large) / float64(members), 0.47, 0.05},
		{"duplicates", float64(total.Duplicates) / float64(total.Receipts), config.Duplicates, 0.01},
		{"early", float64(total.Early) / float64(read), config.EarlyReads, 0.01},
		{"churn", float64(total.Joined+total.Left) / float64(groupMessages), config.Churn, 0.01},
		{"joined of those who moved", float64(total.Joined) / float64(total.Joined+total.Left), 0.5, 0.1},
		{"single chats", float64(singles) / float64(total.Messages), config.SingleChats, 0.01},
		// The tolerance is for readers who are still to come.
		{"absent", 1 - float64(read)/float64(seats), config.Absent, 0.08},
	} {
		t.Logf("%s: %.3f", c.name, c.got)
		if math.Abs(c.got-c.want) > c.tolerance {
			t.Errorf("%s: %.3f, want %.3f", c.name, c.got, c.want)
		}
	}
}

func TestGeneratorsShareNoConversation(t *testing.T) {
	traffic := mustNew(t, DefaultConfig())
	generators, err := traffic.Generators(4)
	if err != nil {
		t.Fatal(err)
	}
	owner := map[events.Conversation]int{}
	ids := map[string]bool{}
	for i, g := range generators {
		for _, ev := range g.Next(nil, 20_000) {
			c := events.Conversation{App: ev.App, Group: ev.Group}
			if ev.Peer != "" {
				c.A, c.B = min(ev.User, ev.Peer), max(ev.User, ev.Peer)
			}
			if o, ok := owner[c]; ok && o != i {
				t.Fatalf("%v is shared by %d and %d", c, o, i)
			}
			owner[c] = i
			if ev.Kind == events.MessageSent {
				if ids[ev.Message] {
					t.Fatalf("message id %s came twice", ev.Message)
				}
				ids[ev.Message] = true
			}
		}
	}
}

func TestBadTrafficIsRefused(t *testing.T) {
	for _, change := range []func(*Config){
		func(c *Config) { c.Apps = 0 },
		func(c *Config) { c.Groups = 0 },
		func(c *Config) { c.Members = 1 },
		func(c *Config) { c.Duplicates = 1 },
		func(c *Config) { c.EarlyReads = -0.1 },
		func(c *Config) { c.Absent = math.NaN() },
		func(c *Config) { c.Churn = 2 },
		func(c *Config) { c.SingleChats = 1.1 },
	} {
		config := DefaultConfig()
		change(&config)
		if _, err := New(config); err == nil {
			t.Errorf("%+v was taken", config)
		}
	}
	if _, err := mustNew(t, DefaultConfig()).Generators(101); err == nil {
		t.Error("more generators than groups were taken")
	}
}

func TestReceiptsAllocateNothing(t *testing.T) {
	config := DefaultConfig()
	config.SingleChats = 0
	generators, err := mustNew(t, config).Generators(1)
	if err != nil {
		t.Fatal(err)
	}
	evs := make([]events.Event, 0, 1000)
	if n := testing.AllocsPerRun(200, func() { evs = generators[0].Next(evs[:0], 1000) }); n > 2 {
		t.Errorf("%v allocations for 1000 events", n)
	}
}

func mustNew(t *testing.T, config Config) *Traffic {
	t.Helper()
	traffic, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return traffic
}

// BenchmarkTraffic guards that the load generator uses little of the machine it loads.
func BenchmarkTraffic(b *testing.B) {
	traffic, err := New(DefaultConfig())
	if err != nil {
		b.Fatal(err)
	}
	generators, err := traffic.Generators(1)
	if err != nil {
		b.Fatal(err)
	}
	evs := make([]events.Event, 0, 1000)
	b.ReportAllocs()
	for n := b.N; n > 0; n -= 1000 {
		evs = generators[0].Next(evs[:0], min(n, 1000))
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mevents/s")
}
