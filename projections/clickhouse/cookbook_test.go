package clickhouse

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/oracle"
	"github.com/receiptd/receiptd/projections"
)

// fortnight is two weeks of an app, in ClickHouse and in the model.
type fortnight struct {
	t      testing.TB
	store  *Store
	model  *oracle.Model
	random *rand.Rand
	folder *folder
	block  *Block
	sent   []events.Event
	joined map[string]string // when the current stays in the club began, by user
}

var (
	fortnightBegins = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	fortnightUsers  = []string{"u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7"}
)

// newFortnight folds the traffic of the two weeks: of groups that members join and leave, that
// change hands, that are too large or have one member, and of single chats.
func newFortnight(t testing.TB) *fortnight {
	f := &fortnight{
		t: t, store: openStore(t), model: oracle.New(3), random: rand.New(rand.NewPCG(7, 0)), folder: newFolder(t), block: &Block{Partition: 3},
		joined: map[string]string{},
	}
	f.folder.x.At = fortnightBegins.UnixMilli()
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled, settings.GroupReceipts.Validity, settings.GroupReceipts.MaxGroupSize = true, 0, 6
	settings.SingleReceipts.Validity = 0
	f.add(0, events.Event{Kind: events.AppConfigured, Settings: &settings, Revision: 1})
	group := func(id, owner string, admins []string, members ...string) {
		f.add(1, events.Event{Kind: events.GroupCreated, Group: id, User: owner, Admins: admins, Members: members})
	}
	group("team", "u0", []string{"u1", "u2"}, "u1", "u3", "u4", "u3")
	group("club", "u1", nil, "u0", "u2")
	group("everybody", "u0", nil, fortnightUsers...)
	group("alone", "u5", nil)
	group("gone", "u6", []string{"u7"}, "u1")
	for i := range 3000 {
		f.step(i)
	}
	f.save()
	return f
}

func (f *fortnight) user() string { return fortnightUsers[f.random.IntN(len(fortnightUsers))] }

// step adds an event, a quarter of an hour after the one before on average.
func (f *fortnight) step(i int) {
	after := f.random.Int64N(13 * 60_000)
	group := []string{"team", "club", "club", "everybody", "alone", "gone"}[f.random.IntN(6)]
	e := events.Event{Group: group, User: f.user()}
	switch k := f.random.IntN(40); {
	case k == 0:
		e.Kind, e.Group = events.GroupJoined, "club"
	case k == 1:
		e.Kind, e.Group = events.GroupLeft, "club"
	case k == 2:
		e.Kind, e.Role = events.GroupRole, events.Role(1+f.random.IntN(3))
	case k == 3 && i > 1000:
		e = events.Event{Kind: events.GroupDissolved, Group: "gone"}
	case k == 4 && len(f.sent) > 9:
		m := f.sent[len(f.sent)-1-f.random.IntN(8)]
		e = events.Event{Kind: events.MessageRecalled, Group: m.Group, User: m.User, Peer: m.Peer, Message: m.Message}
	case k == 5:
		e.Kind, e.Revision, e.SendReads = events.UserConfigured, uint64(i+1), events.Choice(1+f.random.IntN(2))
		e.User = "u3"
	case k < 16:
		e.Kind, e.Message, e.Receipt = events.MessageSent, fmt.Sprint("m", len(f.sent)), f.random.IntN(6) > 0
		if f.random.IntN(3) == 0 {
			e.Group, e.Receipt = "", false
			for e.Peer = f.user(); e.Peer == e.User; {
				e.Peer = f.user()
			}
		}
		e.Label = []string{"", "", "spring", "summer"}[f.random.IntN(4)]
		f.sent = append(f.sent, e)
	default:
		f.read(&e)
	}
	f.add(after, e)
}

// read makes an event a receipt; now and then one whose message has not been sent yet. u7 never
// reads.
func (f *fortnight) read(e *events.Event) {
	if e.User == "u7" {
		e.User = "u1"
	}
	e.Kind, e.Message = events.MessageRead, fmt.Sprint("m", len(f.sent))
	if n := len(f.sent); n > 0 && f.random.IntN(12) > 0 {
		m := f.sent[max(0, n-1-f.random.IntN(14))]
		e.Group, e.Message = m.Group, m.Message
		if m.Peer != "" {
			e.User, e.Peer = m.Peer, m.User
			if m.Peer == "u7" {
				e.Kind = events.MessageDelivered
				return
			}
			switch f.random.IntN(4) {
			case 0:
				e.Kind = events.MessageDelivered
			case 1:
				e.Kind, e.Message = events.ConversationRead, ""
			}
		}
	}
}

func (f *fortnight) add(after int64, e events.Event) {
	e.App = testApp
	f.folder.add(f.block, after, e)
	outcome := f.model.Apply(f.folder.x.Sequence, f.folder.x.At, []events.Event{e})[0]
	if e.Group == "club" && outcome == events.OutcomeApplied && (e.Kind == events.GroupCreated || e.Kind == events.GroupJoined) {
		for _, user := range append(e.Members, e.User) {
			f.joined[user] = time.UnixMilli(f.folder.x.At).UTC().Format("2006-01-02 15:04:05.000")
		}
	}
}

func (f *fortnight) save() {
	ctx := context.Background()
	must(f.t, f.store.Insert(ctx, f.block, f.block.Token(0)))
	at, _ := f.folder.part.Position()
	var messages []MessageRow
	for _, m := range f.folder.part.TakeMessages(nil) {
		messages = append(messages, MessageRow{AppMessage: m, Version: at})
	}
	must(f.t, f.store.InsertMessages(ctx, messages))
	var cohorts []CohortRow
	for _, c := range f.folder.part.TakeCohorts(nil) {
		cohorts = append(cohorts, CohortRow{Cohort: c, Version: at})
	}
	must(f.t, f.store.InsertCohorts(ctx, 3, cohorts))
	f.store.UseDays()
}

// rows are those of a query, each as text.
func (f *fortnight) rows(sql string) (list []string) {
	f.t.Helper()
	rows, err := f.store.conn.Query(context.Background(), sql)
	if err != nil {
		f.t.Fatalf("%s: %v", sql, err)
	}
	defer rows.Close()
	var targets []any
	for _, c := range rows.ColumnTypes() {
		targets = append(targets, reflect.New(c.ScanType()).Interface())
	}
	for rows.Next() {
		must(f.t, rows.Scan(targets...))
		var cells []string
		for _, v := range targets {
			x := reflect.ValueOf(v).Elem()
			for x.Kind() == reflect.Pointer && !x.IsNil() {
				x = x.Elem()
			}
			cell := fmt.Sprint(x.Interface())
			if at, ok := x.Interface().(time.Time); ok {
				cell = at.UTC().Format("2006-01-02 15:04:05.000")
			}
			cells = append(cells, cell)
		}
		list = append(list, strings.Join(cells, " "))
	}
	must(f.t, rows.Err())
	return list
}

// recipient is one who could read a message, as the model knows it.
type recipient struct {
	projections.Message
	user      string
	took      int64 // -1 = not read
	delivered bool
}

func (f *fortnight) recipients() (list []recipient) {
	for _, m := range f.model.AllMessages(testApp) {
		if !m.Tracked || m.Recalled {
			continue
		}
		in := m.Conversation(testApp)
		for _, r := range f.model.Readers(in, m.ID) {
			list = append(list, recipient{m, r.User, r.ReadAt - m.SentAt, true})
		}
		for _, user := range f.model.NonReaders(in, m.ID) {
			list = append(list, recipient{m, user, -1, m.Delivered > m.Read})
		}
	}
	return list
}

// messages are the tracked ones that were not recalled.
func (f *fortnight) messages() []projections.Message {
	return slices.DeleteFunc(f.model.AllMessages(testApp), func(m projections.Message) bool { return !m.Tracked || m.Recalled })
}

// TestDetailsAreWhatTheModelSays: questions that cohorts do not answer, in every way; and the views
// behind them.
func TestDetailsAreWhatTheModelSays(t *testing.T) {
	f := newFortnight(t)
	var got []string
	got = f.rows("SELECT `group`, message, sender, label, recipient, took_ms FROM recipients WHERE app = '" + testApp + "'")
	var want []string
	read := 0
	for _, r := range f.recipients() {
		took := "<nil>"
		if r.took >= 0 {
			took = fmt.Sprint(r.took)
			read++
		}
		want = append(want, strings.Join([]string{r.Group, r.ID, r.From, r.Label, r.user, took}, " "))
	}
	sameSet(t, "recipients", got, want)
	if read < 200 || read > len(want)-200 {
		t.Errorf("%d of %d have read: too few, or too many", read, len(want))
	}
	got = f.rows("SELECT message, reader, took_ms FROM reads")
	if len(got) != read {
		t.Errorf("%d reads, not %d", len(got), read)
	}
	for _, group := range []string{"team", "club", "everybody", "alone", "gone"} {
		want = nil
		for _, m := range f.model.Members(testApp, group) {
			want = append(want, m.User+" "+m.Role.String())
		}
		sameSet(t, "members of "+group, f.rows("SELECT user, role FROM members WHERE left_at IS NULL AND `group` = '"+group+"'"), want)
	}
	rows := 0
	for by := projections.ByHour; by <= projections.ByReader; by++ {
		for _, zone := range []*time.Location{nil, zoneOf("Asia/Kolkata"), zoneOf("Europe/Zurich")} {
			for range 4 {
				rows += f.compare(by, zone)
			}
		}
	}
	if rows < 500 {
		t.Errorf("%d rows were compared", rows)
	}
}

// compare asks ClickHouse and the model the same, and returns how many rows it saw.
func (f *fortnight) compare(by projections.RateBy, zone *time.Location) int {
	f.t.Helper()
	q := projections.RateQuery{App: testApp, From: math.MinInt64, To: math.MaxInt64, By: by, Zone: zone, Limit: 1 + f.random.IntN(40), Bins: true}
	q.Sort, q.Reverse = projections.RateSort(f.random.IntN(int(projections.SortP50))), f.random.IntN(3) == 0
	q.MinMessages, q.Offset = uint64(f.random.IntN(3)), f.random.IntN(3)
	if f.random.IntN(2) == 0 {
		q.From = fortnightBegins.UnixMilli() + f.random.Int64N(5*24*projections.HourMillis)
		q.To = q.From + f.random.Int64N(10*24*projections.HourMillis)
	}
	switch f.random.IntN(5) {
	case 0:
		q.Group = "club"
	case 1:
		q.Sender = f.user()
	case 2:
		q.Label = "spring"
	case 3:
		for range 40 {
			q.Messages = append(q.Messages, f.sent[f.random.IntN(len(f.sent))].Message)
		}
	}
	got, err := f.store.ReadRates(context.Background(), q)
	must(f.t, err)
	want, total := f.model.Rates(q)
	if len(got.Rows) != len(want) || got.Total != total {
		f.t.Fatalf("%+v:\nClickHouse %+v\nmodel      %d rows, %+v", q, got, total, want)
	}
	for i := range got.Rows {
		if what := want[i].Differs(got.Rows[i]); what != "" {
			f.t.Fatalf("%+v, row %d: %s:\nClickHouse %+v\nmodel      %+v", q, i, what, got.Rows[i], want[i])
		}
	}
	return len(want)
}

func sameSet(t testing.TB, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: %d, not %d\ngot  %.3000q\nwant %.3000q", what, len(got), len(want), got, want)
	}
}

// TestTimeBinsAreThoseOfTheRollup compares the view with the table of bins that the fold has.
func TestTimeBinsAreThoseOfTheRollup(t *testing.T) {
	f := &fortnight{t: t, store: openStore(t)}
	var want []string
	for bin := range uint16(projections.NumBins) {
		first, end := projections.BinMillis(bin), int64(1)<<37
		if bin < projections.NumBins-1 {
			end = projections.BinMillis(bin + 1)
		}
		if first < end {
			want = append(want, fmt.Sprint(bin, " ", first, " ", end-1, " 1"))
		}
	}
	got := f.rows("SELECT bin, first_ms, last_ms, abs(ms - first_ms) <= 0.0101 * first_ms AND abs(ms - last_ms) <= 0.0101 * last_ms FROM time_bins ORDER BY bin")
	if len(got) != len(want) {
		t.Fatalf("%d bins, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("got %s, want %s", got[i], want[i])
		}
	}
}

// recipe is an example of the document.
type recipe struct{ title, sql string }

// recipes are the examples of the cookbook.
func recipes(t testing.TB) (list []recipe) {
	text, err := os.ReadFile("../../docs/analytics.md")
	must(t, err)
	_, book, _ := strings.Cut(string(text), "\n## Cookbook\n")
	book, _, _ = strings.Cut(book, "\n## ")
	for _, m := range regexp.MustCompile("(?s)\n### ([^\n]+)\n(?:[^#]*?)```sql\n(.*?)```").FindAllStringSubmatch(book, -1) {
		list = append(list, recipe{m[1], m[2]})
	}
	return list
}

// TestCookbook runs every example as it stands there, and compares what it answers with the model.
func TestCookbook(t *testing.T) {
	list := recipes(t)
	t.Chdir(t.TempDir()) // where the engine writes files
	f := newFortnight(t)
	tested := map[string]bool{}
	for _, r := range list {
		want := expected[r.title]
		if want == nil {
			t.Errorf("nothing is known of the example %q", r.title)
			continue
		}
		tested[r.title] = true
		statements := strings.Split(r.sql, ";\n")
		for _, sql := range statements[:len(statements)-1] {
			if err := f.store.conn.Exec(context.Background(), sql); err != nil {
				t.Errorf("%s: %v", r.title, err)
			}
		}
		got := f.rows(statements[len(statements)-1])
		if lines := want(f); len(lines) == 0 || !slices.Equal(got, lines) {
			t.Errorf("%s:\ngot  %q\nwant %q", r.title, got, lines)
		}
	}
	for title := range expected {
		if !tested[title] {
			t.Errorf("there is no example %q", title)
		}
	}
}

func rate(read, eligible int) string {
	if eligible == 0 {
		return "0"
	}
	return fmt.Sprint(math.RoundToEven(float64(read)/float64(eligible)*10000) / 10000)
}

// sums adds up messages by a key.
type sums struct{ messages, read, eligible int }

func (f *fortnight) by(key func(m *projections.Message) string) map[string]sums {
	all := map[string]sums{}
	for _, m := range f.messages() {
		if k := key(&m); k != "" {
			s := all[k]
			all[k] = sums{s.messages + 1, s.read + m.Read, s.eligible + m.Eligible}
		}
	}
	return all
}

// ranked are lines of keys with at least so many messages, in the order of their rates.
func ranked(all map[string]sums, least, sign int) (lines []string) {
	var keys []string
	for k, s := range all {
		if s.messages >= least && s.eligible > 0 {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b string) int {
		x, y := all[a], all[b]
		return cmp.Or(sign*strings.Compare(rate(x.read, x.eligible), rate(y.read, y.eligible)), strings.Compare(a, b))
	})
	for _, k := range keys[:min(len(keys), 10)] {
		lines = append(lines, fmt.Sprint(k, " ", all[k].messages, " ", rate(all[k].read, all[k].eligible)))
	}
	return lines
}

// readers adds up recipients by user.
func (f *fortnight) readers(of func(r *recipient) bool) (users []string, could, read map[string]int) {
	could, read = map[string]int{}, map[string]int{}
	for _, r := range f.recipients() {
		if !of(&r) {
			continue
		}
		if could[r.user]++; could[r.user] == 1 {
			users = append(users, r.user)
		}
		if r.took >= 0 {
			read[r.user]++
		}
	}
	slices.Sort(users)
	return users, could, read
}

func spring(r *recipient) bool { return r.Label == "spring" }

// times are those to read, ascending, and how many could read.
func (f *fortnight) times(of func(r *recipient) bool) (times []int64, everybody int) {
	for _, r := range f.recipients() {
		if of(&r) {
			everybody++
			if r.took >= 0 {
				times = append(times, r.took)
			}
		}
	}
	slices.Sort(times)
	return times, everybody
}

// expected is what the model says to each example.
var expected = map[string]func(f *fortnight) []string{
	"Worst groups": func(f *fortnight) []string {
		return ranked(f.by(func(m *projections.Message) string { return m.Group }), 3, 1)
	},
	"Top senders with a minimum": func(f *fortnight) []string {
		return ranked(f.by(func(m *projections.Message) string { return m.From }), 20, -1)
	},
	"Time until half and nine tenths": func(f *fortnight) []string {
		times, everybody := f.times(spring)
		of := func(tenths int) string {
			if n := (everybody*tenths + 9) / 10; n <= len(times) {
				return fmt.Sprint(times[n-1])
			}
			return "<nil>"
		}
		last := float64(len(times) - 1)
		return []string{fmt.Sprint(times[int(0.5*last)], " ", times[int(0.9*last)], " ", of(5), " ", of(9))}
	},
	"Half of the readers, from the bins": func(f *fortnight) []string {
		times, _ := f.times(func(*recipient) bool { return true })
		bin := projections.TimeBin(times[(len(times)-1)/2])
		first, last := float64(projections.BinMillis(bin)), float64(projections.BinMillis(bin+1)-1)
		if first == last {
			return []string{fmt.Sprint(first)}
		}
		return []string{fmt.Sprint(2. * first * last / (first + last))}
	},
	"Funnel of a campaign": func(f *fortnight) []string {
		reached, hour := 0, 0
		for _, r := range f.recipients() {
			if spring(&r) && (r.delivered || r.took >= 0) {
				reached++
			}
			if spring(&r) && r.took >= 0 && r.took <= 3_600_000 {
				hour++
			}
		}
		times, everybody := f.times(spring)
		return []string{fmt.Sprint(everybody, " ", reached, " ", len(times), " ", hour)}
	},
	"Non-readers of a campaign": func(f *fortnight) (lines []string) {
		users, could, read := f.readers(spring)
		for _, u := range users {
			if read[u] == 0 {
				lines = append(lines, fmt.Sprint(u, " ", could[u]))
			}
		}
		return lines
	},
	"Who never reads": func(f *fortnight) (lines []string) {
		users, could, read := f.readers(func(*recipient) bool { return true })
		slices.SortStableFunc(users, func(a, b string) int { return could[b] - could[a] })
		for _, u := range users {
			if read[u] == 0 && could[u] >= 5 {
				lines = append(lines, fmt.Sprint(u, " ", could[u]))
			}
		}
		return lines
	},
	"What nobody read": func(f *fortnight) (lines []string) {
		list := slices.DeleteFunc(f.messages(), func(m projections.Message) bool { return m.Read > 0 || m.Eligible == 0 })
		slices.SortFunc(list, func(a, b projections.Message) int {
			return cmp.Or(cmp.Compare(a.SentAt, b.SentAt), strings.Compare(a.ID, b.ID))
		})
		for _, m := range list[:min(len(list), 20)] {
			lines = append(lines, fmt.Sprint(m.ID, " ", m.From, " ", m.Eligible))
		}
		return lines
	},
	"Activity of readers": func(f *fortnight) (lines []string) {
		users, could, read := f.readers(func(*recipient) bool { return true })
		slices.SortStableFunc(users, func(a, b string) int { return read[b] - read[a] })
		for _, u := range users {
			lines = append(lines, fmt.Sprint(u, " ", could[u], " ", read[u], " ", rate(read[u], could[u])))
		}
		return lines
	},
	"Heat map by weekday and hour": func(f *fortnight) (lines []string) {
		all := f.by(func(m *projections.Message) string {
			at := time.UnixMilli(m.SentAt).In(zoneOf("Asia/Kolkata"))
			return fmt.Sprintf("%d %02d", (int(at.Weekday())+6)%7+1, at.Hour())
		})
		for weekday := 1; weekday <= 7; weekday++ {
			for hour := range 24 {
				if s, there := all[fmt.Sprintf("%d %02d", weekday, hour)]; there {
					lines = append(lines, fmt.Sprint(weekday, " ", hour, " ", s.messages, " ", rate(s.read, s.eligible)))
				}
			}
		}
		return lines
	},
	"Two weeks compared": func(f *fortnight) (lines []string) {
		week := func(n int) map[string]sums {
			return f.by(func(m *projections.Message) string {
				if int(time.UnixMilli(m.SentAt).Sub(fortnightBegins)/(7*24*time.Hour)) != n {
					return ""
				}
				return m.Group
			})
		}
		before, this := week(0), week(1)
		for _, group := range []string{"alone", "club", "everybody", "gone", "team"} {
			if x, y := this[group], before[group]; x.eligible > 0 && y.eligible > 0 {
				lines = append(lines, fmt.Sprint(group, " ", rate(x.read, x.eligible), " ", rate(y.read, y.eligible)))
			}
		}
		return lines
	},
	"Trend": func(f *fortnight) (lines []string) {
		dayOf := func(m *projections.Message) string { return time.UnixMilli(m.SentAt).UTC().Format(time.DateOnly) }
		all := f.by(dayOf)
		for day := fortnightBegins; day.Before(fortnightBegins.AddDate(0, 1, 0)); day = day.AddDate(0, 0, 1) {
			s := all[day.Format(time.DateOnly)]
			if s.eligible == 0 {
				continue
			}
			var seven sums
			for back := range 7 {
				x := all[day.AddDate(0, 0, -back).Format(time.DateOnly)]
				seven.read, seven.eligible = seven.read+x.read, seven.eligible+x.eligible
			}
			lines = append(lines, day.Format("2006-01-02 15:04:05.000")+" "+rate(s.read, s.eligible)+" "+rate(seven.read, seven.eligible))
		}
		return lines
	},
	"Who was in a group": func(f *fortnight) (lines []string) {
		for _, m := range f.model.Members(testApp, "club") {
			lines = append(lines, m.User+" "+m.Role.String()+" "+f.joined[m.User])
		}
		slices.Sort(lines)
		return lines
	},
	"Export to CSV and Parquet": func(f *fortnight) []string {
		times, _ := f.times(func(*recipient) bool { return true })
		return []string{fmt.Sprint(len(times), " ", len(times))}
	},
	"With a table of your own": func(f *fortnight) (lines []string) {
		_, could, read := f.readers(func(*recipient) bool { return true })
		return []string{
			fmt.Sprint("CH ", could["u1"]+could["u2"], " ", read["u1"]+read["u2"]), fmt.Sprint("IN ", could["u3"], " ", read["u3"]),
		}
	},
}
