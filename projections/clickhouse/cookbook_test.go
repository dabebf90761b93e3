package clickhouse

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/lab/cookbook"
	"github.com/receiptd/receiptd/projections"
)

// TestCookbook runs every example as it stands there, and compares what it answers with the model.
func TestCookbook(t *testing.T) {
	questions, list, err := cookbook.Read("../../docs/analytics.md")
	must(t, err)
	openStore(t)         // the engine is built here, whatever other tests have run
	t.Chdir(t.TempDir()) // where the engine writes files
	f := newFortnight(t)
	tested := map[string]bool{}
	for _, r := range list {
		want := expected[r.Title]
		if want == nil {
			t.Errorf("nothing is known of the example %q", r.Title)
			continue
		}
		tested[r.Title] = true
		for _, sql := range r.Statements {
			if err := f.store.conn.Exec(context.Background(), sql); err != nil {
				t.Errorf("%s: %v", r.Title, err)
			}
		}
		got := f.rows(r.Query)
		if lines := want(f); len(lines) == 0 || !slices.Equal(got, lines) {
			t.Errorf("%s:\ngot  %q\nwant %q", r.Title, got, lines)
		}
	}
	for title := range expected {
		if !tested[title] {
			t.Errorf("there is no example %q", title)
		}
	}
	for _, q := range questions {
		if !tested[q.Recipe] {
			t.Errorf("%s: there is no example %q", q.Name, q.Recipe)
		}
	}
	if len(questions) < 12 {
		t.Errorf("%d questions were found", len(questions))
	}
}

// TestNothingTookNoTime: a campaign that nobody could read has no times, rather than times of 0.
func TestNothingTookNoTime(t *testing.T) {
	_, list, err := cookbook.Read("../../docs/analytics.md")
	must(t, err)
	f := &fortnight{t: t, store: openStore(t)}
	for _, r := range list {
		if r.Title != "Time until half and nine tenths" {
			continue
		}
		if got := f.rows(r.Query); !slices.Equal(got, []string{"<nil> <nil> <nil> <nil>"}) {
			t.Errorf("times of nothing: %q", got)
		}
		return
	}
	t.Error("the example is gone")
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
