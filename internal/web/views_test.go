package web

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/projections"
)

func hourRow(at time.Time, messages, eligible, delivered, read uint64, times ...int64) projections.RateRow {
	row := projections.RateRow{Key: at.UTC().Truncate(time.Hour).Format(time.RFC3339)}
	row.CohortCounts = projections.CohortCounts{Messages: messages, Eligible: eligible, Delivered: delivered, Read: read}
	for _, ms := range times {
		row.Bins = append(row.Bins, projections.BinCount{Bin: projections.TimeBin(ms), Count: read / uint64(len(times))})
	}
	return row
}

func TestOverviewAddsUpTheHours(t *testing.T) {
	f := newFakeServer()
	f.rows[projections.ByHour] = []projections.RateRow{
		hourRow(noon.Add(-9*24*time.Hour), 1_000_000, 1_000_000, 0, 0), // before the span
		hourRow(noon.Add(-2*time.Hour), 10, 400, 300, 200, 2000, 50_000),
		hourRow(noon, 5, 100, 60, 50, 2000),
	}
	b := newBrowser(t, f)
	b.signIn()
	for _, span := range []string{"24h", "7d"} {
		a := b.get("/?app=acme/chat&span="+span, 200)
		a.has("<dt>Messages</dt><dd>15</dd>", "<dt>Recipients</dt><dd>500</dd>", "<dt>Delivered</dt><dd>72"+space+"%</dd>", "<dt>Read</dt><dd>50"+space+"%</dd>",
			"<dt>Half of recipients within</dt><dd>50"+space+"s</dd>", "<dt>Half of readers within</dt><dd>2"+space+"s</dd>", "<dt>99 of 100 readers within</dt><dd>50"+space+"s</dd>",
			// The funnel's numbers, and the distribution's.
			"<td>360</td><td>72"+space+"%</td>", `<th scope="row">5`+space+`s</th><td>150</td><td>60`+space+`%</td><td>60`+space+`%</td>`)
	}
	q := f.queries[len(f.queries)-1]
	from, to := time.UnixMilli(q.From).UTC(), time.UnixMilli(q.To).UTC()
	if q.App != "acme#chat" || !q.Bins || q.By != projections.ByHour || to.Sub(from) != 7*24*time.Hour || to.Before(noon) || to.Sub(noon) > 6*time.Hour || to.Hour()%6 != 0 {
		t.Errorf("asked for %+v, from %s to %s", q, from, to)
	}
	b.get("/?app=acme/chat&span=30d", 200).has("<dt>Messages</dt><dd>1\u202f000\u202f015</dd>")
	if q := f.queries[len(f.queries)-1]; q.By != projections.ByDay || q.To-q.From != 30*24*projections.HourMillis || q.From%(24*projections.HourMillis) != 0 {
		t.Errorf("asked for %+v", q)
	}
	b.get("/?app=acme/chat&group=team&sender=ann", 200).has("Group <b><bdi>team</bdi></b>", "Sender <b><bdi>ann</bdi></b>")
	if q := f.queries[len(f.queries)-1]; q.Group != "team" || q.Sender != "ann" {
		t.Errorf("asked for %+v", q)
	}
}

func TestOverviewOfOneHourAndOfAnswersWithoutBins(t *testing.T) {
	f := newFakeServer()
	f.rows[projections.ByHour] = []projections.RateRow{hourRow(noon, 5, 100, 60, 50)}
	b := newBrowser(t, f)
	b.signIn()
	a := b.get("/?app=acme/chat", 200)
	// A line of one point is a dot.
	a.has("<dt>Half of recipients within</dt><dd>–</dd>", "<dt>Half of readers within</dt><dd>–</dd>", `id="rate"`, `<circle`)
	a.lacks(`id="distribution"`, `id="percentiles"`)
}

func TestRankingIsInTheOrderAskedFor(t *testing.T) {
	f := newFakeServer()
	for i, read := range []uint64{10, 90, 50} {
		f.rows[projections.ByGroup] = append(f.rows[projections.ByGroup], projections.RateRow{
			Key: fmt.Sprintf("group-%d", i), CohortCounts: projections.CohortCounts{Messages: uint64(9 - i), Eligible: 100, Read: read}, P50: 1500, P99: 90_000,
		})
	}
	f.rows[projections.ByGroup] = append(f.rows[projections.ByGroup], projections.RateRow{Key: "group-recalled", CohortCounts: projections.CohortCounts{Recalled: 3}})
	b := newBrowser(t, f)
	b.signIn()
	for order, want := range map[string]string{"messages": "0 1 2", "best": "1 2 0", "worst": "0 2 1", "none": "0 1 2"} {
		a := b.get("/?app=acme/chat&view=groups&order="+order, 200)
		rest := a.body
		for id := range strings.FieldsSeq(want) {
			at := strings.Index(rest, ">group-"+id+"<")
			if at < 0 {
				t.Fatalf("%s: group-%s is not where it belongs in %s", order, id, want)
			}
			rest = rest[at:]
		}
		if shown := strings.Contains(a.body, "group-recalled"); shown != (order == "messages" || order == "none") {
			t.Errorf("%s: a group without rate is shown: %v", order, shown)
		}
	}
	a := b.get("/?app=acme/chat&view=groups", 200)
	a.has("1.5"+space+"s", "1.5"+space+"min", "1 to 4 of 4", `href="./?app=acme%2Fchat&amp;group=group-1"`)
}

func TestMessageShowsWhoHasReadAndWhoHasNot(t *testing.T) {
	f := newFakeServer()
	f.fillMessage("m1", 130, 140)
	single := projections.Message{ID: "m2", From: "ann", To: "ben", SentAt: noon.UnixMilli(), Counts: projections.Counts{Eligible: 1, Delivered: 1, Read: 1}}
	f.messages["m2"], f.readers["m2"] = single, []projections.Reader{{User: "ben", ReadAt: noon.UnixMilli() + 1500}}
	b := newBrowser(t, f)
	b.signIn()
	a := b.get("/?app=acme/chat&view=message&id=m1", 200)
	a.has("130, in the order of reading", "140 of those who could", "on it, will be there", `<td class="rank">50</td>`, "readers=50", "nonreaders=50", "48.1"+space+"%")
	a.lacks(`<td class="rank">51</td>`)
	a = b.get("/?app=acme/chat&view=message&id=m1&readers=100", 200)
	a.has(`<td class="rank">101</td>`, `<td class="rank">130</td>`, "First page of readers")
	a.lacks(`<td class="rank">100</td>`, "More readers")
	b.get("/?app=acme/chat&view=message&id=m1&readers=-4&nonreaders=x", 200).has(`<td class="rank">1</td>`)
	b.get("/?app=acme/chat&view=message&id=m2", 200).has("Single chat", "2026-03-04 12:20:00</time> (UTC)", "user=ben&amp;view=user", "1.5"+space+"s", "All have read it")
	recalled := single
	recalled.Recalled, recalled.Counts = true, projections.Counts{}
	f.messages["m2"], f.readers["m2"] = recalled, nil
	b.get("/?app=acme/chat&view=message&id=m2", 200).has("Recalled", "Nobody yet.", "Nobody is counted.")
}

func TestHistoryIsOfTheLastTenMinutes(t *testing.T) {
	f := newFakeServer()
	p := f.page()
	h := p.samples.history()
	if len(h.labels) != maxSamples || h.labels[maxSamples-1] != "now" || h.folded[maxSamples-1] != missing() {
		t.Fatalf("an empty history: %v", h.labels[maxSamples-1])
	}
	p.samples.take()
	for range maxSamples + 5 {
		f.advance(sampleEvery)
		f.status.Partitions[0].Folded += 5000
		f.status.Partitions[0].Stored = f.status.Partitions[0].Applied + 7
		p.samples.take()
	}
	h = p.samples.history()
	for i, v := range h.folded[1:] {
		if v != 2500 || h.lag[i+1] != 7 || h.appended[i+1] != 0 {
			t.Fatalf("%d: %v a second, %v behind", i, v, h.lag[i+1])
		}
	}
	f.status.Partitions[0].Folded = 3 // a replayed state was switched to
	f.advance(sampleEvery)
	p.samples.take()
	if h = p.samples.history(); h.folded[maxSamples-1] != 0 {
		t.Errorf("%v a second after a switch", h.folded[maxSamples-1])
	}
	b := newBrowser(t, f)
	b.page.samples = p.samples
	b.get("/", 200).has("stored by this process", "<th scope=\"row\">−0:30</th>")
}

func TestNumbersForPeople(t *testing.T) {
	s := "\u202f"
	for got, want := range map[string]string{
		count(0): "0", count(999): "999", count(uint64(1_234_567)): "1" + s + "234" + s + "567", count(-1000): "−1" + s + "000",
		short(0): "0", short(0.44): "0.4", short(9.96): "10", short(999.4): "999", short(999.6): "1" + space + "k", short(1_260_000): "1.3" + space + "M", short(2.5): "2.5",
		percent(0): "0" + space + "%", percent(1): "100" + space + "%", percent(0.5): "50" + space + "%", percent(0.8765): "87.6" + space + "%",
		percent(0.9999): ">" + space + "99.9" + space + "%", percent(0.0001): "<" + space + "0.1" + space + "%",
		millis(0): "0" + space + "ms", millis(0.41): "0.4" + space + "ms", millis(999): "999" + space + "ms", millis(999.6): "1" + space + "s", millis(90_000): "1.5" + space + "min",
		millis(3_600_000): "1" + space + "h", millis(1.5 * 86_400_000): "1.5" + space + "d",
		uptime(0): "0" + space + "s", uptime(61 * time.Second): "1" + space + "min 1" + space + "s", uptime(50 * time.Hour): "2" + space + "d 2" + space + "h",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for values, want := range map[[2]float64]float64{{0, 0}: 4, {1, 3}: 4, {0, 4}: 4, {5, 9}: 10, {0, 101}: 120, {0, 7_300_000}: 8_000_000, {0.1, 0.3}: 0.32} {
		if got := ceiling([][]float64{values[:]}, values[1] < 1 && values[0] > 0); got < want*0.999 || got > want*1.001 {
			t.Errorf("the axis for %v ends at %v, want %v", values, got, want)
		}
	}
}

// TestHalfOfTheReadersIsNotHalfOfTheRecipients: with three tenths read, half of all have not. And
// what groups cannot know is not shown.
func TestHalfOfTheReadersIsNotHalfOfTheRecipients(t *testing.T) {
	f := newFakeServer()
	f.rows[projections.ByHour] = []projections.RateRow{hourRow(noon, 5, 100, 30, 30, 5000)}
	b := newBrowser(t, f)
	b.signIn()
	a := b.get("/?app=acme/chat", 200)
	a.has("<dt>Half of recipients within</dt><dd>not yet</dd>", "<dt>Half of readers within</dt><dd>5"+space+"s</dd>", "half of the readers")
	a.lacks("<dt>Delivered</dt>", "up to so long", "half have read")
}

// TestComparedTilesAreThoseOfBothSpans: a number that one of two spans has stands beside that of
// the other one, whichever it is.
func TestComparedTilesAreThoseOfBothSpans(t *testing.T) {
	chats := &totals{CohortCounts: projections.CohortCounts{Messages: 4, Eligible: 4, Delivered: 3, Read: 1}}
	groups := &totals{CohortCounts: projections.CohortCounts{Messages: 1, Eligible: 10, Delivered: 5, Read: 5}}
	of := func(tiles []tile, name string) string {
		for _, f := range tiles {
			if f.Name == name {
				return f.Value + ", before " + f.Before
			}
		}
		return ""
	}
	if got, want := of(compared(chats, groups), "Delivered"), percent(0.75)+", before "+percent(0.5); got != want {
		t.Errorf("single chats, and groups before: %q, not %q", got, want)
	}
	if got, want := of(compared(groups, chats), "Delivered"), percent(0.5)+", before "+percent(0.75); got != want {
		t.Errorf("groups, and single chats before: %q, not %q", got, want)
	}
	if got := of(compared(groups, groups), "Delivered"); got != "" {
		t.Errorf("groups have no deliveries of their own, and show %q", got)
	}
	if got := of(compared(groups, &totals{}), "Read"); got != percent(0.5)+", before –" {
		t.Errorf("nothing before: %q", got)
	}
}
