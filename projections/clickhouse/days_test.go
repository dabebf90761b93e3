package clickhouse

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/oracle"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/store"
)

// TestSpansAreCutAtDays: whole days are taken from the totals of days, the hours before and after
// them from the cohorts.
func TestSpansAreCutAtDays(t *testing.T) {
	s := &Store{}
	const day = 24
	for _, test := range []struct {
		first, last int64
		q           projections.RateQuery
		want        string
	}{
		{0, day - 1, projections.RateQuery{By: projections.ByGroup}, "group_days 0-0 "},
		{day, 3*day - 1, projections.RateQuery{By: projections.BySender}, "sender_days 24-48 "},
		{day - 1, 2*day - 1, projections.RateQuery{By: projections.ByGroup}, "group_days 24-24 cohorts 23-23 "},
		{day, 2 * day, projections.RateQuery{By: projections.ByGroup}, "group_days 24-24 cohorts 48-48 "},
		{day - 3, 4*day + 2, projections.RateQuery{By: projections.BySender}, "sender_days 24-72 cohorts 21-23 cohorts 96-98 "},
		{day + 1, 3*day - 2, projections.RateQuery{By: projections.BySender}, "cohorts 25-70 "},
		{day + 1, 2*day - 2, projections.RateQuery{By: projections.BySender}, "cohorts 25-46 "},
		{day, 2*day - 2, projections.RateQuery{By: projections.BySender}, "cohorts 24-46 "},
		{0, day - 1, projections.RateQuery{By: projections.ByGroup, Group: "g"}, "group_days 0-0 "},
		{0, day - 1, projections.RateQuery{By: projections.BySender, Sender: "s"}, "sender_days 0-0 "},
		{0, day - 1, projections.RateQuery{By: projections.ByGroup, Sender: "s"}, "cohorts 0-23 "},
		{0, day - 1, projections.RateQuery{By: projections.BySender, Group: "g"}, "cohorts 0-23 "},
		{0, day - 1, projections.RateQuery{By: projections.BySender, Group: "g", Sender: "s"}, "cohorts 0-23 "},
		{0, day - 1, projections.RateQuery{}, "hours 0-23 "},
		{0, day - 1, projections.RateQuery{Group: "g"}, "cohorts 0-23 "},
		{0, day, projections.RateQuery{By: projections.ByDay}, "hours 0-24 "},
		{0, day, projections.RateQuery{By: projections.ByDay, Group: "g"}, "group_days 0-0 cohorts 24-24 "},
		{1, 2*day - 1, projections.RateQuery{By: projections.ByDay, Sender: "s"}, "sender_days 24-24 cohorts 1-23 "},
		{0, day - 1, projections.RateQuery{By: projections.ByDay, Group: "g", Sender: "s"}, "cohorts 0-23 "},
		{-5, day, projections.RateQuery{By: projections.ByGroup}, "group_days 0-0 cohorts 24-24 "},
		{5, 4, projections.RateQuery{By: projections.ByGroup}, ""},
		{
			math.MinInt64/projections.HourMillis + 1, math.MaxInt64/projections.HourMillis - 1, projections.RateQuery{By: projections.ByGroup},
			"group_days 0-1193016 cohorts 1193040-1193046 ",
		},
	} {
		q := test.q
		q.From, q.To = test.first*projections.HourMillis, test.last*projections.HourMillis+1
		show := func() (got string) {
			for _, from := range s.sources(&q) {
				got += fmt.Sprintf("%s %d-%d ", from.table.name, from.first, from.last)
			}
			return got
		}
		s.days.Store(false)
		for _, from := range s.sources(&q) {
			if from.column == "day" {
				t.Errorf("%+v: %s before it is complete", q, show())
			}
		}
		s.UseDays()
		if got := show(); got != test.want {
			t.Errorf("%+v: %q, want %q", q, got, test.want)
		}
	}
}

// daysTest is a log of some weeks in two partitions. It is folded by the model, and by a fold that
// stores its cohorts and totals in ClickHouse, has next to no cache, and crashes now and then.
type daysTest struct {
	t      *testing.T
	random *rand.Rand
	store  *Store
	parts  [2]*tracked
	model  *oracle.Cluster
}

// tracked is a fold of one partition.
type tracked struct {
	log   history.Log
	done  int // entries folded
	state *store.Store
	part  *projections.Partition
	batch events.Batch
}

func newDaysTest(t *testing.T, seed uint64) *daysTest {
	d := &daysTest{
		t: t, random: rand.New(rand.NewPCG(seed, 0)), store: openStore(t), model: oracle.NewCluster(2, oracle.DefaultLimits()),
	}
	for k := range d.parts {
		state, err := store.Open("state", store.Options{FS: vfs.NewMem()})
		must(t, err)
		t.Cleanup(func() { must(t, state.Close()) })
		d.parts[k] = &tracked{log: d.weeks(k), state: state}
		d.open(d.parts[k])
	}
	return d
}

// weeks makes the log of a partition, from the middle of February on: messages in groups and single
// chats that are read, some of them days later, or recalled. The same users send in the groups of
// both partitions.
func (d *daysTest) weeks(partition int) (log history.Log) {
	at := time.Date(2024, time.February, 17, 7, 0, 0, 0, time.UTC).UnixMilli()
	add := func(evs ...events.Event) {
		for i := range evs {
			evs[i].App = testApp
		}
		log = append(log, history.Entry{Sequence: uint64(len(log)) + 1, At: at, Events: evs})
	}
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled, settings.GroupReceipts.Validity = true, 0
	settings.SingleReceipts.Validity = 0
	add(events.Event{Kind: events.AppConfigured, Settings: &settings, Revision: 1})
	users := []string{"ann", "ben", "cleo", "dan", "eve"}
	var groups []string
	for i := range 4 {
		groups = append(groups, fmt.Sprintf("g%d.%d", partition, i))
		add(events.Event{Kind: events.GroupCreated, Group: groups[i], User: users[i], Members: users})
	}
	anybody := func() string { return users[d.random.IntN(len(users))] }
	var sent []events.Event
	for len(log) < 900 {
		if d.random.IntN(3) == 0 {
			at += d.random.Int64N(3 * projections.HourMillis)
		}
		at += d.random.Int64N(3000)
		ev := events.Event{Kind: events.MessageSent, User: anybody(), Message: fmt.Sprint("m", len(sent)), Receipt: true}
		ev.Label = []string{"", "spring", "summer"}[d.random.IntN(3)]
		// A single chat lives in one partition, so its users' names carry the partition's number.
		if ev.Group = groups[d.random.IntN(len(groups))]; d.random.IntN(3) == 0 {
			ev.Group, ev.Receipt = "", false
			ev.User, ev.Peer = fmt.Sprint(ev.User, partition), fmt.Sprint("peer", partition)
		}
		if then := d.random.IntN(10); then > 2 && len(sent) > 0 {
			m := sent[max(0, len(sent)-1-d.random.IntN(12))]
			ev = events.Event{Kind: events.MessageRead, Group: m.Group, User: anybody(), Message: m.Message}
			if m.Peer != "" {
				ev.User, ev.Peer = m.Peer, m.User
			}
			switch {
			case then == 3:
				ev = events.Event{Kind: events.MessageRecalled, Group: m.Group, User: m.User, Peer: m.Peer, Message: m.Message}
			case (then == 4 || then == 6) && m.Peer != "":
				ev.Kind = events.MessageDelivered
			case then == 5 && m.Peer != "":
				ev.Kind, ev.Message = events.ConversationRead, ""
			}
		} else {
			sent = append(sent, ev)
		}
		add(ev)
	}
	return log
}

func (d *daysTest) open(f *tracked) {
	var err error
	f.part, err = projections.Open(0, f.state, projections.Options{CacheBytes: 1, TrackCohorts: true})
	must(d.t, err)
}

// step folds an entry, and then may store what changed, make a checkpoint, or crash and go on from
// the last one.
func (d *daysTest) step(k int) {
	f := d.parts[k]
	e := &f.log[f.done]
	f.done++
	e.Apply(d.model.Partitions[k])
	d.fold(f, e)
	switch d.random.IntN(60) {
	case 0:
		d.save(k)
	case 1, 2:
		d.save(k) // what a checkpoint has is not stored again
		c, err := f.part.Capture()
		must(d.t, err)
		must(d.t, f.state.Commit(c))
		f.part.Committed(c)
	case 3:
		d.open(f)
		at, _ := f.part.Position()
		for i := range f.log[:f.done] {
			if f.log[i].Sequence > at {
				d.fold(f, &f.log[i])
			}
		}
	}
}

func (d *daysTest) fold(f *tracked, e *history.Entry) {
	f.batch.SetEvents(e.Events)
	_, err := f.part.Apply(projections.Decoded{
		Sequence: e.Sequence, At: e.At, Fingerprint: e.Sequence, Batch: &f.batch, Poison: e.Poison,
	})
	must(d.t, err)
}

func (d *daysTest) save(k int) {
	at, _ := d.parts[k].part.Position()
	var rows []CohortRow
	for _, c := range d.parts[k].part.TakeCohorts(nil) {
		rows = append(rows, CohortRow{Cohort: c, Version: at})
	}
	must(d.t, d.store.InsertCohorts(context.Background(), k, rows))
}

// spans begin and end within days, at their ends, across the end of February, and anywhere.
func (d *daysTest) spans() (list [][2]int64) {
	const hour, day = projections.HourMillis, 24 * projections.HourMillis
	march := time.Date(2024, time.March, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	list = [][2]int64{
		{math.MinInt64, math.MaxInt64},
		{march - 7*day, march}, {march, march + 7*day}, {march - day, march + day},
		{march - 5*day - 3*hour, march + 2*day + 7*hour}, // both ends within days
		{march - 9*day, march + hour}, {march - 9*day - hour, march},
		{march - 3*hour, march + 4*hour},             // two days, none of them whole
		{march + 4*hour, march + 20*hour},            // within a day
		{march - day + 1, march - 1}, {march, march}, // a day, as widened; nothing
	}
	for range 4 {
		from := march - 10*day + d.random.Int64N(20*day)
		list = append(list, [2]int64{from, from + d.random.Int64N(12*day)})
	}
	return list
}

// compare asks ClickHouse, the folds and the model for read rates in every way, and returns how
// many rows it saw, and their sum.
func (d *daysTest) compare() (rows int, sum projections.CohortCounts) {
	d.t.Helper()
	filters := []struct{ group, sender, label string }{{}, {group: "g0.1"}, {sender: "ann"}, {sender: "ben1"}, {group: "g1.2", sender: "cleo"}, {label: "spring"}}
	for _, span := range d.spans() {
		for by := projections.ByHour; by <= projections.ByLabel; by++ {
			for _, f := range filters {
				q := projections.RateQuery{
					App: testApp, From: span[0], To: span[1], By: by, Group: f.group, Sender: f.sender, Label: f.label, Limit: 1 + d.random.IntN(12), Bins: true,
				}
				d.vary(&q)
				got, err := d.store.ReadRates(context.Background(), q)
				must(d.t, err)
				if embedded := d.embedded(q); fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", embedded) {
					d.t.Fatalf("%+v:\nClickHouse %+v\nembedded   %+v", q, got, embedded)
				}
				want, total := d.model.Rates(q)
				if len(got.Rows) != len(want) || got.Total != total {
					d.t.Fatalf("%+v:\nClickHouse %+v\nmodel      %+v", q, got, want)
				}
				for i := range got.Rows {
					if what := want[i].Differs(got.Rows[i]); what != "" {
						d.t.Fatalf("%+v, row %d: %s:\nClickHouse %+v\nmodel      %+v", q, i, what, got.Rows[i], want[i])
					}
					sum.Add(got.Rows[i].CohortCounts)
				}
				rows += len(got.Rows)
			}
		}
	}
	return rows, sum
}

// vary asks in one of the many ways to ask for the same: in a zone of whole hours, from another row
// on, in another order.
func (d *daysTest) vary(q *projections.RateQuery) {
	if zone := d.random.IntN(2 * len(wholeHourZones)); zone < len(wholeHourZones) {
		q.Zone = wholeHourZones[zone]
	}
	q.Sort, q.Reverse = projections.RateSort(d.random.IntN(int(projections.SortP50))), d.random.IntN(3) == 0
	q.MinMessages, q.Offset = uint64(d.random.IntN(3)), d.random.IntN(4)
}

// wholeHourZones have days that begin at whole hours of UTC.
var wholeHourZones = []*time.Location{time.FixedZone("", 9*3600), time.FixedZone("", -4*3600), zoneOf("America/Havana")}

func zoneOf(name string) *time.Location {
	zone, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return zone
}

func (d *daysTest) embedded(q projections.RateQuery) projections.RatePage {
	s := projections.NewRateScan(q)
	for s.Next() {
		for _, f := range d.parts {
			for done := false; !done; {
				var err error
				done, err = s.Step(f.part)
				must(d.t, err)
			}
		}
	}
	page, err := s.Page()
	must(d.t, err)
	return page
}

// TestDaysCountWhatHoursCount: for any span and filter, the answers from totals of days are those
// of the embedded rollup and of the model; and the totals of days were used for them.
func TestDaysCountWhatHoursCount(t *testing.T) {
	d := newDaysTest(t, 1)
	d.store.UseDays()
	for more := true; more; {
		more = false
		for k, f := range d.parts {
			if f.done < len(f.log) {
				d.step(k)
				more = true
			}
		}
	}
	for k := range d.parts {
		d.save(k)
	}
	if rows, sum := d.compare(); rows < 400 || sum.Read < 1000 || sum.Recalled < 100 {
		t.Errorf("%d rows were compared, with %+v: there is too little in the logs", rows, sum)
	}
	must(t, d.store.conn.Exec(context.Background(), "TRUNCATE TABLE cohorts"))
	january := time.Date(2024, time.January, 1, 0, 0, 0, 0, time.UTC)
	for _, by := range []projections.RateBy{projections.ByGroup, projections.BySender} {
		q := projections.RateQuery{App: testApp, From: january.UnixMilli(), To: january.AddDate(0, 6, 0).UnixMilli(), By: by, Limit: 100}
		got, err := d.store.ReadRates(context.Background(), q)
		must(t, err)
		if want := d.embedded(q); len(want.Rows) == 0 || !slices.EqualFunc(got.Rows, want.Rows, sameRow) {
			t.Errorf("%+v, without cohorts:\n%+v\nembedded\n%+v", q, got, want)
		}
	}
}

func sameRow(a, b projections.RateRow) bool { return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b) }
