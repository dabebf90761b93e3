package projections_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/oracle"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
	"github.com/receiptd/receiptd/projections"
)

// scan goes through one or more partitions to the end.
func scan(s *projections.RateScan, parts ...*projections.Partition) (projections.RatePage, error) {
	s.SmallSteps()
	for s.Next() {
		for _, p := range parts {
			for {
				done, err := s.Step(p)
				if err != nil {
					return projections.RatePage{}, err
				}
				if done {
					break
				}
			}
		}
	}
	return s.Page()
}

// rateQueries ask for everything, and for parts of it. The logs of package history begin in the
// last half minute before midnight.
func rateQueries(app string) []projections.RateQuery {
	const midnight = 1709337600000
	all := projections.RateQuery{App: app, From: math.MinInt64, To: math.MaxInt64, Limit: 1000, Bins: true}
	list := slices.Repeat([]projections.RateQuery{all}, 20)
	list[1].By = projections.ByGroup
	list[2].By = projections.BySender
	list[3].By, list[3].Group, list[3].Limit = projections.BySender, "g1", 1
	list[4].Sender, list[4].From, list[4].To, list[4].Limit = "u1", midnight-1, midnight+1, 2
	list[5].By, list[5].Limit = projections.ByDay, 2
	list[6].By, list[6].Group = projections.ByDay, "g1"
	kiritimati := time.FixedZone("", 14*3600)
	list[7].By, list[7].Label, list[7].Sort = projections.BySender, "spring", projections.SortRate
	list[8].By, list[8].Offset, list[8].Limit = projections.ByLabel, 1, 1
	list[9].By, list[9].Zone = projections.ByDay, kiritimati
	list[10].By, list[10].Zone, list[10].Reverse = projections.ByWeek, kiritimati, true
	list[11].By, list[11].Zone, list[11].Offset = projections.ByWeekHour, kiritimati, 1
	list[12].By, list[12].MinMessages, list[12].Sort = projections.BySender, 2, projections.SortNotRead
	list[13].By, list[13].Sort, list[13].Reverse, list[13].Limit = projections.ByGroup, projections.SortKey, true, 2
	list[14].By, list[14].Label = projections.ByApp, "summer"
	list[15].By = projections.ByApp
	list[16].Zone, list[16].Limit = kiritimati, 1
	list[17].By, list[17].Sort, list[17].Offset, list[17].Limit = projections.BySender, projections.SortRecalled, 1, 2
	list[18].By, list[18].Keys = projections.BySender, []string{"u1", "u3", "nobody"}
	list[19].By, list[19].From, list[19].To = projections.ByApp, midnight-1, midnight+1
	if app == "" { // what means something in an app only cannot be asked for
		list = slices.DeleteFunc(list, func(q projections.RateQuery) bool {
			return !q.By.InTime() && q.By != projections.ByApp || q.Group != "" || q.Sender != "" || q.Label != ""
		})
	}
	return list
}

func compareRates(t *rapid.T, p *projections.Partition, model *oracle.Model, app string) {
	t.Helper()
	for _, q := range rateQueries(app) {
		got, err := scan(projections.NewRateScan(q), p)
		sameRates(t, q, got, err, model)
	}
}

func sameRates(t *rapid.T, q projections.RateQuery, page projections.RatePage, err error, model *oracle.Model) {
	t.Helper()
	if err != nil {
		t.Fatalf("rates %+v: %v", q, err)
	}
	got := page.Rows
	want, total := model.Rates(q)
	if len(got) != len(want) || page.Total != total {
		t.Fatalf("rates %+v:\n got   %+v\n model %+v", q, got, want)
	}
	for i := range got {
		if what := want[i].Differs(got[i]); what != "" {
			t.Fatalf("rates %+v, row %d: %s:\n got   %+v\n model %+v", q, i, what, got[i], want[i])
		}
	}
}

// TestTakenCohortsAreTheRollup follows a fold by the changes it reports, as the sink of an
// external store does.
func TestTakenCohortsAreTheRollup(t *testing.T) {
	logs := history.Logs()
	rapid.Check(t, func(t *rapid.T) {
		log := logs.Draw(t, "log")
		model := oracle.NewWithLimits(0, history.SmallLimits())
		log.Apply(model)
		latest := map[string]projections.Cohort{}
		straight, f := followed(t, log, func(o *projections.Options) { o.TrackCohorts = true }, func(f *fold) {
			for _, c := range f.part.TakeCohorts(nil) {
				latest[nameOf(c)] = c
			}
		})
		want := map[string]projections.Cohort{}
		for _, app := range model.Apps() {
			for _, x := range model.Cohorts(app) {
				addCohort(want, app, x)
			}
		}
		for name, c := range want {
			if got := latest[name]; got.CohortCounts != c.CohortCounts || !slices.Equal(got.Bins, c.Bins) {
				t.Fatalf("%s:\n taken %+v\n model %+v", name, got, c)
			}
		}
		if len(latest) != len(want) {
			t.Fatalf("%d cohorts and totals were taken; model: %d", len(latest), len(want))
		}
		straight.commitAll()
		f.commitAll()
		if a, b := straight.state.dump(), f.state.dump(); a != b {
			t.Fatalf("the states differ:\nstraight:\n%s\nstopped:\n%s", a, b)
		}
		f.part.TakeCohorts(nil) // evicts what is committed
		f.cacheIsBounded()
	})
}

// nameOf says which messages a cohort or total counts.
func nameOf(c projections.Cohort) string {
	return fmt.Sprintf("%d %q %d %q %q %q %q", c.Kind, c.App, c.Hour, c.Group, c.Peer, c.Sender, c.Label)
}

// addCohort adds a cohort of the model, and adds it to the totals that it is part of.
func addCohort(cohorts map[string]projections.Cohort, app string, x oracle.Cohort) {
	c := x.Conversation
	peer := ""
	if c.Group == "" {
		if peer = c.A; peer == x.Sender {
			peer = c.B
		}
	}
	hour, day := x.Hour.UnixMilli()/projections.HourMillis, x.Hour.Truncate(24*time.Hour).UnixMilli()/projections.HourMillis
	names := []projections.Cohort{
		{Kind: projections.OneCohort, Hour: hour, Group: c.Group, Peer: peer, Sender: x.Sender, Label: x.Label},
		{Kind: projections.HourTotal, Hour: hour},
		{Kind: projections.SenderDay, Hour: day, Sender: x.Sender},
	}
	if c.Group != "" {
		names = append(names, projections.Cohort{Kind: projections.GroupDay, Hour: day, Group: c.Group})
	}
	for _, name := range names {
		name.App = app
		sum, there := cohorts[nameOf(name)]
		if !there {
			sum = name
		}
		sum.Add(x.CohortCounts)
		var times projections.Distribution
		for _, b := range sum.Bins {
			times.Add(b.Bin, b.Count)
		}
		for _, ms := range x.Times {
			times.Add(projections.TimeBin(ms), 1)
		}
		sum.Bins = times.Bins()
		cohorts[nameOf(name)] = sum
	}
}

// TestStateKnowsWhetherItsCohortsAreComplete: what was folded without totals of days does not
// pass for a state that has them.
func TestStateKnowsWhetherItsCohortsAreComplete(t *testing.T) {
	state := memory{}
	seq := uint64(0)
	fold := func(tracked bool) (complete bool) {
		part, err := projections.Open(0, state, projections.Options{TrackCohorts: tracked})
		if err != nil {
			t.Fatal(err)
		}
		complete = part.CohortsComplete()
		seq++
		if _, err := part.Apply(projections.Decoded{Sequence: seq, At: 1, Poison: "no batch"}); err != nil {
			t.Fatal(err)
		}
		c, err := part.Capture()
		if err == nil {
			err = state.commit(c)
		}
		if err != nil {
			t.Fatal(err)
		}
		return complete
	}
	for i, step := range []struct{ tracked, complete bool }{
		{true, true}, {true, true}, {false, false}, {true, false}, {true, false},
	} {
		if complete := fold(step.tracked); complete != step.complete && step.tracked {
			t.Errorf("step %d: complete: %v", i, complete)
		}
	}
}

// A cohort that outgrows its list of times, and whose window then widens both ways, goes on
// counting as before, and what a recall takes back is gone from it.
func TestManyTimesInOneCohort(t *testing.T) {
	const app, members, messages = "o#a", 90, 8
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled = true
	group := events.Event{App: app, Kind: events.GroupCreated, Group: "g", User: "sender"}
	for i := range members {
		group.Members = append(group.Members, fmt.Sprint("reader", i))
	}
	log := []history.Entry{{At: 1, Events: []events.Event{{App: app, Kind: events.AppConfigured, Settings: &settings, Revision: 1}, group}}}
	add := func(at int64, ev events.Event) {
		ev.App, ev.Group = app, "g"
		log = append(log, history.Entry{At: at, Events: []events.Event{ev}})
	}
	for i := range messages {
		add(1000, events.Event{Kind: events.MessageSent, User: "sender", Message: fmt.Sprint("m", i), Receipt: true})
	}
	at := int64(1000)
	for i := range members {
		at += int64(i * i * 37 % 10_007)
		for k := range messages {
			add(at, events.Event{Kind: events.MessageRead, User: fmt.Sprint("reader", (i+k)%members), Message: fmt.Sprint("m", k)})
		}
	}
	late := at
	add(late, events.Event{Kind: events.MessageSent, User: "sender", Message: "late", Receipt: true})
	add(late+1, events.Event{Kind: events.MessageRead, User: "reader0", Message: "late"})
	add(late+2, events.Event{Kind: events.MessageRecalled, User: "sender", Message: "m3"})

	rapid.Check(t, func(t *rapid.T) {
		model := oracle.New(0)
		straight, stopped := newFold(t, memory{}, 0), newFold(t, memory{}, 1)
		for _, f := range []*fold{straight, stopped} {
			f.options.Limits = projections.Limits{}
			f.open()
		}
		for i, e := range log {
			e.Sequence = uint64(i) + 1
			e.Apply(model)
			straight.apply(e)
			stopped.apply(e)
			if rapid.IntRange(0, 60).Draw(t, "stop") == 0 {
				stopped.commit()
				stopped.crash()
			}
		}
		compareRates(t, straight.part, model, app)
		compareRates(t, stopped.part, model, app)
		straight.commitAll()
		stopped.commitAll()
		if a, b := straight.state.dump(), stopped.state.dump(); a != b {
			t.Fatalf("the states differ:\nstraight:\n%s\nstopped:\n%s", a, b)
		}
		if counted, actual := straight.part.CacheSize(); counted != actual {
			t.Fatalf("counted %d bytes, cached %d", counted, actual)
		}
	})
}

// A scan that was begun in one generation of the state goes on in another, however much of that one
// is stored.
func TestScanGoesOnInAnotherGeneration(t *testing.T) {
	logs := history.Logs()
	rapid.Check(t, func(t *rapid.T) {
		log := logs.Draw(t, "log")
		model := oracle.NewWithLimits(0, history.SmallLimits())
		a, b := newFold(t, memory{}, 0), newFold(t, memory{}, 0)
		for _, e := range log {
			e.Apply(model)
			for _, f := range []*fold{a, b} {
				f.apply(e)
				if rapid.IntRange(0, 4).Draw(t, "commit") == 0 {
					f.commit()
				}
			}
		}
		if rapid.Bool().Draw(t, "all of it stored") {
			a.commitAll()
		}
		for _, app := range append(model.Apps(), "") {
			for _, q := range rateQueries(app) {
				s := projections.NewRateScan(q)
				s.SmallSteps()
				for s.Next() {
					before := rapid.IntRange(0, 8).Draw(t, "steps before the switch")
					for n, done := 0, false; !done; n++ {
						part := a.part
						if n >= before {
							part = b.part
						}
						var err error
						if done, err = s.Step(part); err != nil {
							t.Fatal(err)
						}
					}
				}
				got, err := s.Page()
				sameRates(t, q, got, err, model)
			}
		}
	})
}

// A query that is too large is refused: it neither answers in part nor goes on.
func TestRateQueriesAreBounded(t *testing.T) {
	part, err := projections.Open(0, memory{}, projections.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, list := range fewSenders(3, 4) {
		var b events.Batch
		b.SetEvents(list)
		if _, err := part.Apply(projections.Decoded{Sequence: uint64(i) + 1, At: 1, Batch: &b}); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		cohorts, rows int
		by            projections.RateBy
		want          error
	}{
		{12, 12, projections.BySender, nil},
		{11, 12, projections.BySender, projections.ErrTooManyCohorts},
		{12, 3, projections.ByGroup, nil},
		{12, 2, projections.ByGroup, projections.ErrTooManyCohorts},
		{1, 1, projections.ByHour, nil},
	} {
		s := projections.NewRateScan(projections.RateQuery{App: "o#a", To: 2, By: test.by, Limit: 1})
		s.Bound(test.cohorts, test.rows)
		rows, err := scan(s, part)
		if !errors.Is(err, test.want) || err == nil && len(rows.Rows) != 1 {
			t.Errorf("%+v: %v, %v", test, rows, err)
		}
	}
}

// fewSenders are groups in which each of some senders sends a message.
func fewSenders(groups, senders int) (entries [][]events.Event) {
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled = true
	entries = append(entries, []events.Event{{App: "o#a", Kind: events.AppConfigured, Settings: &settings, Revision: 1}})
	for g := range groups {
		group := fmt.Sprint("g", g)
		var list []events.Event
		for s := range senders {
			user := fmt.Sprint("u", g, s)
			comes := events.Event{App: "o#a", Kind: events.GroupJoined, Group: group, User: user}
			if s == 0 {
				comes.Kind = events.GroupCreated
			}
			list = append(list, comes, events.Event{App: "o#a", Kind: events.MessageSent, Group: group, User: user, Message: user, Receipt: true})
		}
		entries = append(entries, list)
	}
	return entries
}
