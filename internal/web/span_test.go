package web

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/projections"
)

func zoned(t *testing.T, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// TestStepsFollowTheClockOfTheZone: days have 23, 24 or 25 hours, and begin at midnight.
func TestStepsFollowTheClockOfTheZone(t *testing.T) {
	for _, c := range []struct {
		zone, from, to string
		hourly         bool
		steps          int
		first, last    string
	}{
		{"UTC", "2026-03-01", "2026-03-02", true, 24, "2026-03-01T00:00:00Z", "2026-03-01T23:00:00Z"},
		{"Europe/Berlin", "2026-10-25", "2026-10-26", true, 25, "2026-10-24T22:00:00Z", "2026-10-25T22:00:00Z"},
		{"Europe/Berlin", "2026-10-20", "2026-10-30", true, 40, "2026-10-19T22:00:00Z", "2026-10-29T17:00:00Z"},
		{"Europe/Berlin", "2026-03-01", "2026-04-01", false, 31, "2026-02-28T23:00:00Z", "2026-03-30T22:00:00Z"},
		{"Asia/Kolkata", "2026-03-01", "2026-03-02", false, 25, "2026-02-28T18:30:00Z", "2026-03-01T18:00:00Z"},
		{"Asia/Kolkata", "2026-03-01", "2026-04-01", false, 31, "2026-02-28T18:30:00Z", "2026-03-30T18:30:00Z"},
		{"Asia/Kolkata", "2026-03-01", "2026-04-01", true, 31, "2026-02-28T18:00:00Z", "2026-03-30T18:00:00Z"},
		{"UTC", "2026-01-01", "2026-07-01", false, 27, "2026-01-01T00:00:00Z", "2026-06-29T00:00:00Z"},
	} {
		s, refused := dates(c.from, c.to, noon, zoned(t, c.zone))
		if refused != "" {
			t.Fatal(refused)
		}
		starts := s.starts(c.hourly)
		first, last := starts[0].UTC().Format(time.RFC3339), starts[len(starts)-1].UTC().Format(time.RFC3339)
		if len(starts) != c.steps || first != c.first || last != c.last {
			t.Errorf("%s to %s in %s: %d steps from %s to %s, want %d from %s to %s", c.from, c.to, c.zone, len(starts), first, last, c.steps, c.first, c.last)
		}
		for i := range starts {
			if got := within(starts, starts[i].Add(10*time.Minute)); got != i {
				t.Errorf("%s: ten minutes into step %d is in step %d", c.zone, i, got)
			}
		}
		for in, most := range maxLabels {
			n, before := 0, -2
			for i := range starts {
				if s.labelled(s.starts(false), in, i) {
					if i == before+1 && len(starts) > most {
						t.Errorf("%s to %s in %s: labels %d and %d stand over each other", c.from, c.to, c.zone, before, i)
					}
					n, before = n+1, i
				}
			}
			if n < 2 || n > most+1 {
				t.Errorf("%s to %s in %s: %d labels in a drawing for %d", c.from, c.to, c.zone, n, most)
			}
		}
	}
}

// TestEveryRowIsInAStep: nothing that was counted is left out, as the total is that of the API.
func TestEveryRowIsInAStep(t *testing.T) {
	f := filled()
	b := newBrowser(t, f)
	b.signIn()
	for _, query := range []string{"span=24h", "span=7d", "span=30d", "from=2026-02-10&to=2026-02-12", "from=2026-02-10&to=2026-03-02", "from=2025-06-01"} {
		for _, tz := range []string{"UTC", "Asia/Kolkata", "America/New_York", "Asia/Kathmandu"} {
			values, _ := url.ParseQuery(query + "&tz=" + tz)
			fl, wrong := newFilter(values, noon)
			if wrong != nil {
				t.Fatal(wrong)
			}
			q := fl.query("acme#chat", projections.ByApp, 1)
			want := f.inTime(&q)
			a := b.get("/?app=acme/chat&"+query+"&tz="+tz, 200)
			a.has("<dt>Messages</dt><dd>"+count(want[0].Messages)+"</dd>", "<dt>Recipients</dt><dd>"+count(want[0].Eligible)+"</dd>", "("+tz+")", "of "+tz+".")
			if half := strings.Contains(tz, "Asia"); half != strings.Contains(a.body, noteHours) && !strings.Contains(query, "24h") {
				t.Errorf("%s in %s: the note on whole hours: %v", query, tz, !half)
			}
		}
	}
}

func TestWhatCannotBeCountedIsSaid(t *testing.T) {
	b := newBrowser(t, filled())
	b.signIn()
	for query, sentence := range map[string]string{
		"from=2026-03-02&to=2026-03-01": "ends before it begins", "from=2026-03-01&to=2026-03-01": "ends before it begins", "from=yesterday": "A date is written as",
		"from=1960-01-01": "not before 1970", "from=1970-01-01": "too long", "tz=Mars/Olympus": "no time zone", "tz=Local": "no time zone", "tz=../etc/passwd": "no time zone",
		"min=many": "not a number", "label=" + strings.Repeat("x", 100): "not a label", "sender=%00": "not an id",
	} {
		b.get("/?app=acme/chat&"+query, 400).has(sentence, `<input id="from"`)
	}
}

// TestComparedWithTheSpanBefore asks for the span of the same length, as compare=previous does.
func TestComparedWithTheSpanBefore(t *testing.T) {
	f := newFakeServer()
	f.rows[projections.ByHour] = []projections.RateRow{
		hourRow(time.Date(2026, 2, 20, 5, 0, 0, 0, time.UTC), 1, 10, 2, 2, 1000), hourRow(time.Date(2026, 2, 22, 5, 0, 0, 0, time.UTC), 3, 10, 7, 7, 2000),
	}
	f.rows[projections.BySender] = []projections.RateRow{{Key: "ann", CohortCounts: projections.CohortCounts{Messages: 4, Eligible: 8, Read: 2}, R50: projections.NotYet, R90: projections.NotYet}}
	b := newBrowser(t, f)
	b.signIn()
	b.get("/?app=acme/chat&from=2026-02-22&to=2026-02-24&compare=previous", 200).has(
		`<dt>Read</dt><dd>70`+space+`%</dd><dd class="was">before: 20`+space+`%</dd>`, `<dt>Messages</dt><dd>3</dd><dd class="was">before: 1</dd>`)
	b.get("/?app=acme/chat&view=senders&from=2026-02-22&to=2026-02-24&compare=previous", 200).has("was 25" + space + "%")
	q := f.queries[len(f.queries)-1]
	if from, to := time.UnixMilli(q.From).UTC(), time.UnixMilli(q.To).UTC(); from.Day() != 20 || to.Day() != 22 || len(q.Keys) != 1 {
		t.Errorf("compared with %s to %s, %v", from, to, q.Keys)
	}
}

// TestLabelsOfPresetsStandApart: at any time of the day, no two labels are of steps next to each
// other where there are too many for all of them.
func TestLabelsOfPresetsStandApart(t *testing.T) {
	for _, p := range presets {
		for h := range 24 {
			s := upToNow(p, noon.Add(time.Duration(h)*time.Hour), time.UTC)
			starts := s.starts(false)
			for in, most := range maxLabels {
				n, before := 0, -2
				for i := range starts {
					if !s.labelled(starts, in, i) {
						continue
					}
					if i == before+1 && len(starts) > most {
						t.Errorf("%s, %d hours after noon: labels %d and %d stand over each other", p.Label, h, before, i)
					}
					n, before = n+1, i
				}
				if n < 2 || n > most+1 {
					t.Errorf("%s, %d hours after noon: %d labels in a drawing for %d", p.Label, h, n, most)
				}
			}
		}
	}
}
