package web

import (
	"errors"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// everyView is a request for each view, in each of its states.
var everyView = []string{
	"/", "/?app=acme/chat", "/?app=acme/chat&span=7d", "/?app=acme/chat&span=30d", "/?app=acme/chat&group=g&sender=s",
	"/?app=acme/chat&view=groups", "/?app=acme/chat&view=groups&order=worst&span=30d", "/?app=acme/chat&view=senders&order=best",
	"/?app=acme/chat&view=message&id=m1", "/?app=acme/chat&view=message&id=m1&readers=100",
	"/?app=acme/chat&view=message&id=none", "/?app=acme/support", "/?app=acme/support&view=groups", "/?app=acme/support&view=senders",
	"/?app=acme/none", "/?app=acme/chat&view=none",
	"/?app=acme/chat&from=2026-02-20&to=2026-03-02&tz=Asia/Kolkata&compare=previous", "/?app=acme/chat&from=2025-01-01&tz=America/New_York",
	"/?app=acme/chat&from=2026-03-02&to=2026-03-01", "/?app=acme/chat&view=groups&at=50&min=10&compare=previous&label=spring",
	"/?app=acme/chat&view=labels", "/?app=acme/chat&view=messages", "/?app=acme/chat&view=readers", "/?app=acme/chat&view=group&group=182480000001009",
	"/?app=acme/chat&view=group&group=none", "/?app=acme/chat&view=user&user=user0000049", "/?app=acme/chat&view=user&user=user0000049&list=read&group=182480000001009",
	"/?app=acme/chat&view=user&user=user0000049&list=sent&tz=Asia/Kathmandu", "/?app=acme/chat&view=user&user=none",
	"/?app=acme/chat&view=find", "/?app=acme/chat&view=find&q=none",
}

var (
	inline    = regexp.MustCompile(`(?i)<style|<script[^>]*>[^<]|\sstyle=|\son\w+=|javascript:|<base|<iframe|<object|<embed`)
	reference = regexp.MustCompile(`(?:src|href|action|data-\w*src)="([^"]*)"`)
	ids       = regexp.MustCompile(`\sid="([^"]*)"`)
	named     = regexp.MustCompile(`(?:aria-labelledby|aria-describedby|for)="([^"]*)"`)
)

func TestViewsAreSelfContained(t *testing.T) {
	b := newBrowser(t, filled())
	b.signIn()
	for _, path := range everyView {
		a := b.get(path, 0)
		if found := inline.FindString(a.body); found != "" {
			t.Errorf("%s has %q in it, which the policy forbids", path, found)
		}
		for _, match := range reference.FindAllStringSubmatch(a.body, -1) {
			if target := match[1]; !strings.HasPrefix(target, "./") && !strings.HasPrefix(target, "#") {
				t.Errorf("%s refers to %q, not relative to itself", path, target)
			}
		}
		h := a.header
		if h.Get("Content-Security-Policy") != policy || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", path, h)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") || strings.Contains(policy, "*") || !strings.HasPrefix(policy, "default-src 'none'") {
		t.Errorf("policy %q", policy)
	}
}

// TestViewsAreWellFormed holds what a screen reader goes by; the browser's test has axe look
// closer.
func TestViewsAreWellFormed(t *testing.T) {
	b := newBrowser(t, filled())
	b.signIn()
	for _, path := range everyView {
		body := b.get(path, 0).body
		if n := strings.Count(body, "<h1"); n != 1 {
			t.Errorf("%s has %d main headings", path, n)
		}
		var all []string
		for _, match := range ids.FindAllStringSubmatch(body, -1) {
			if slices.Contains(all, match[1]) {
				t.Errorf("%s has the id %s twice", path, match[1])
			}
			all = append(all, match[1])
		}
		for _, match := range named.FindAllStringSubmatch(body, -1) {
			if !slices.Contains(all, match[1]) {
				t.Errorf("%s names #%s, which is not there", path, match[1])
			}
		}
		if live := strings.Count(body, "data-live"); live != len(regexp.MustCompile(`id="[^"]+"[^>]* data-live`).FindAllString(body, -1)) {
			t.Errorf("%s has live parts without an id", path)
		}
		if drawings := strings.Count(body, "<figure"); drawings != strings.Count(body, "<details>") {
			t.Errorf("%s has figures without their numbers", path)
		}
	}
}

func TestHostileIdsAreText(t *testing.T) {
	hostile := `"><script>alert(1)</script><svg onload=x>'&amp;{{.}}` + "\u202e\uE000\uE001"
	f := newFakeServer()
	f.fillMessage(hostile, 3, 2)
	m := f.messages[hostile]
	m.From, m.Group = hostile+"f", hostile+"g"
	f.messages[hostile] = m
	f.readers[hostile][0] = projections.Reader{User: hostile + "r", ReadAt: m.SentAt, Content: hostile + "c"}
	f.nonReaders[hostile][0] = hostile + "n"
	row := projections.RateRow{Key: hostile, CohortCounts: projections.CohortCounts{Messages: 1, Eligible: 2, Delivered: 1, Read: 1}}
	f.rows[projections.ByGroup] = []projections.RateRow{row}
	f.rows[projections.BySender] = f.rows[projections.ByGroup]
	f.alerts = []projections.Alert{someAlert(hostile+"a", hostile+"n")}
	f.rows[projections.ByLabel] = f.rows[projections.ByGroup]
	f.groups = map[string][]string{hostile: {hostile + "u"}}
	f.list = []projections.UserMessage{{Message: projections.Message{ID: hostile + "i", From: hostile + "s", Group: hostile, Label: hostile + "l"}, ReadAt: 5, ReadContent: hostile + "t"}}
	b := newBrowser(t, f)
	b.signIn()
	q := url.QueryEscape(hostile)
	for path, shown := range map[string][]string{
		"/?app=acme/chat&view=message&id=" + q:                           {"", "f", "g", "r", "c", "n"},
		"/?app=acme/chat&view=message&id=" + q + "none":                  {"none"},
		"/?app=acme/chat&view=groups":                                    {""},
		"/?app=acme/chat&view=senders":                                   {""},
		"/?app=acme/chat":                                                {"a", "n"},
		"/?app=acme/chat&view=labels":                                    {""},
		"/?app=acme/chat&view=group&group=" + q:                          {"", "u", "i", "s", "l"},
		"/?app=acme/chat&view=user&list=read&user=" + q + "u&group=" + q: {"u", "i", "t"},
		"/?app=acme/chat&view=find&q=" + q + "none":                      {"none"},
		"/?app=acme/chat&label=" + url.QueryEscape(hostile[:20]):         nil,
		"/?app=acme/chat&tz=" + q + "&from=" + q:                         nil,
		"/?app=acme/chat&group=" + q + "&sender=" + q + "s":              {"", "s"},
		"/?app=" + q:                nil,
		"/?app=acme/chat&view=" + q: nil,
		"/?app=acme/chat&view=groups&order=" + q + "&span=" + q: {""},
	} {
		a := b.get(path, 0)
		for _, dangerous := range []string{"<script>alert", "<svg onload", `"><` + "script"} {
			if strings.Contains(a.body, dangerous) {
				t.Errorf("%s: %q came through", path, dangerous)
			}
		}
		for _, end := range shown {
			if !strings.Contains(html.UnescapeString(a.body), hostile+end) {
				t.Errorf("%s does not show the id ending in %q", path, end)
			}
		}
		// What turns the direction of writing reaches no further than its element.
		for _, match := range textAfterTag.FindAllStringSubmatch(a.body, -1) {
			if tag, text := match[1], match[2]; strings.Contains(text, "\u202e") && tag != "<bdi>" && tag != "<title>" {
				t.Errorf("%s: %s%s is not isolated from the text around it", path, tag, text)
			}
		}
	}
}

// textAfterTag matches a tag, in whose attributes no > is, and the text up to the next one.
var textAfterTag = regexp.MustCompile(`(<[^>]*>)([^<]+)`)

// someAlert is an alert of a group that became due twenty minutes ago.
func someAlert(group, rule string) projections.Alert {
	return projections.Alert{
		Rule: events.AlertRule{Name: rule, After: events.Duration(2 * time.Hour), ReadBelow: 30}, Key: group,
		Hour: noon.UnixMilli()/projections.HourMillis - 3, Messages: 2, Eligible: 1200, Read: 120,
	}
}

// TestAlertsAreOnTheOverview: of the span, of what it is narrowed to, and no more than fit.
func TestAlertsAreOnTheOverview(t *testing.T) {
	f := newFakeServer()
	old := someAlert("old", "quiet")
	old.Hour -= 48
	f.alerts = []projections.Alert{old, someAlert("team", "quiet")}
	median := someAlert("spring", "slow")
	median.Rule.By, median.Rule.ReadBelow, median.Rule.MedianAbove = events.AlertByLabel, 0, events.Duration(time.Hour)
	f.alerts = append(f.alerts, median)
	b := newBrowser(t, f)
	b.signIn()
	text := func(path string) string {
		return strings.NewReplacer(space, " ", "\u202f", " ").Replace(html.UnescapeString(b.get(path, 200).body))
	}
	page := text("/?app=acme/chat&span=24h")
	for _, want := range []string{
		`<li>Group <a href=`, `<li>Label <a href=`, `<bdi>team</bdi></a>: 10 % (120 of 1 200 recipients) had read within 2 h what was sent in the hour from Mar 4, 09:00 (UTC)`,
		`<bdi>spring</bdi></a>: 10 % (120 of 1 200 recipients) had read within 1 h`, "<bdi>quiet</bdi></b> asks for 30 %", "<bdi>slow</bdi></b> asks for 50 %",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in %s", want, page)
		}
	}
	if strings.Contains(page, "<bdi>old</bdi>") {
		t.Error("an alert of before the span is shown")
	}
	if page = text("/?app=acme/chat&span=24h&group=team"); !strings.Contains(page, "120 of 1 200") || strings.Contains(page, "<bdi>spring</bdi>") {
		t.Errorf("narrowed to a group: %s", page)
	}
	if page = text("/?app=acme/chat&span=24h&sender=ann"); strings.Contains(page, "120 of 1 200") {
		t.Errorf("narrowed to a sender: %s", page)
	}
	if page = text("/?app=acme/chat&label=spring"); !strings.Contains(page, "within 1 h") || strings.Contains(page, "<bdi>team</bdi>") {
		t.Errorf("narrowed to a label: %s", page)
	}
	if page = text("/?app=acme/chat&tz=Asia/Kolkata"); !strings.Contains(page, "from Mar 4, 14:30 (Asia/Kolkata)") {
		t.Errorf("in another zone: %s", page)
	}
	if page = text("/?app=acme/chat&to=2026-03-04"); strings.Contains(page, "120 of 1 200") {
		t.Errorf("of after the span: %s", page)
	}
	for range maxShownAlerts {
		f.alerts = append(f.alerts, someAlert("team", "quiet"))
	}
	if page = text("/?app=acme/chat&span=24h"); !strings.Contains(page, "2 more in this time") {
		t.Errorf("many: %s", page)
	}
}

func TestHostileLabelsInDrawingsAreText(t *testing.T) {
	hostile := `</text><script>alert(1)</script>" onload="x` + "\x00\xff"
	drawings, err := bars(hostile, plot{labels: []string{hostile, "b"}, series: [][]float64{{1, 2}}, format: short})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range drawings {
		text := string(d)
		if strings.Contains(text, "<script") || strings.Contains(text, `" onload="`) || strings.Contains(text, "style=") {
			t.Errorf("drawn %s", text)
		}
		if !strings.Contains(text, "&lt;script&gt;alert(1)") {
			t.Errorf("the label is not shown: %s", text)
		}
	}
	raw := `<svg viewBox="0 0 1 1" onload="x()"><script>x</script><path d="M 0 0" onclick="y" style="fill:url(http://x);stroke:rgb(4,0,0)"/><foreignObject><p>z</p></foreignObject><text x="1" y="2" style="fill:rgb(3,0,0)">hi<a href="w">w</a></text></svg>`
	got, err := restyle([]byte(raw), "c", "l", func(string) float64 { return 0 })
	want := `<svg class="c" viewBox="0 0 1 1" role="img" aria-label="l"><path d="M 0 0" fill="url(http://x)" stroke="var(--s1)"></path><text x="1" y="2" fill="var(--soft)">hi</text></svg>`
	if err != nil || string(got) != want {
		t.Errorf("restyled\n%s, %v\nwant\n%s", got, err, want)
	}
}

func TestEmptyStatesSayWhatToDo(t *testing.T) {
	f := newFakeServer()
	f.apps = nil
	b := newBrowser(t, f)
	b.signIn()
	b.get("/", 200).has("There is no app yet", "export URL=http://receipts.example/v1/apps/acme/chat KEY=$(cat data/admin.key)", `api -X PUT $URL -d '{"group_receipts":{"enabled":true}}'`)
	f.apps = []string{"acme#chat", "acme#support"}
	for _, view := range []string{"overview", "groups", "senders"} {
		b.get("/?app=acme/support&view="+view, 200).has("/v1/apps/acme/support KEY=", `"type":"message.sent","id":"m1"`, `"type":"message.read"`)
	}
	b.get("/?app=acme/support", 200).has(`data-every="2000"`)
	b.get("/?app=acme/none", 404).lacks(`aria-label="Views"`)
	b.get("/?app=acme/support&group=team", 200).has("Choose a longer span of time")
	b.get("/?app=acme/chat&view=find", 200).has("Id of a message, a group or a user", "m1")
	b.get("/?app=acme/chat&view=message&id=m9", 200).has("There is no message with this id")
	b.get("/?app=acme/chat&view=message&id="+strings.Repeat("x", 200), 200).has("cannot be the id of a message")
	b.header.Set("X-Forwarded-Proto", "https")
	b.get("/?app=acme/support", 200).has("export URL=https://receipts.example/")
}

func TestErrorsAreToldWithoutWhatIsInside(t *testing.T) {
	f := filled()
	b := newBrowser(t, f)
	b.signIn()
	f.failure = errors.New("out of cheese")
	for _, view := range []string{"overview", "groups", "senders", "message&id=m1"} {
		a := b.get("/?app=acme/chat&view="+view, http.StatusInternalServerError)
		a.has("The server&#39;s log says why")
		a.lacks("cheese")
	}
	f.failure = projections.ErrTooManyCohorts
	b.get("/?app=acme/chat&view=senders&span=30d", http.StatusUnprocessableEntity).has("Choose a shorter one")
	b.get("/?app=acme/chat&group=a%0Ab", http.StatusBadRequest)
	f.status.Problem = "partition 1 is 500 entries behind"
	b.get("/", 200).has("Not ready", "500 entries behind")
}

func TestFilesAreServedAndNothingElse(t *testing.T) {
	b := newBrowser(t, filled())
	for name, contentType := range map[string]string{
		"style.css": "text/css; charset=utf-8", "live.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml", "../templates/home.html": "", "": "", "none": "",
	} {
		w := b.recorder()
		if ok := b.page.File(w, name); ok != (contentType != "") || w.Header().Get("Content-Type") != contentType {
			t.Errorf("%q: %v %v", name, ok, w.Header())
		}
	}
	style, _ := embedded.ReadFile("static/style.css")
	if strings.Contains(string(style), "url(") || strings.Contains(string(style), "@import") {
		t.Error("the style loads something")
	}
}

// TestAViewIsMadeInAMoment guards against a chart that becomes expensive: a view asks once, and
// draws. On a machine with much else to do the time of the best of some tries counts.
func TestAViewIsMadeInAMoment(t *testing.T) {
	b := newBrowser(t, filled())
	b.signIn()
	for _, path := range everyView {
		const most = 2 * time.Second // usually 10 ms
		var a viewed
		took := time.Hour
		for try := 0; try < 5 && took > most; try++ {
			b.server.queries = nil
			began := time.Now()
			a = b.get(path, 0)
			took = min(took, time.Since(began))
		}
		if took > most {
			t.Errorf("%s took %s", path, took)
		}
		if len(b.server.queries) > 1 && !strings.Contains(path, "compare") || len(b.server.queries) > 2 {
			t.Errorf("%s asked %d times", path, len(b.server.queries))
		}
		if len(a.body) > 200<<10 {
			t.Errorf("%s is %d bytes", path, len(a.body))
		}
	}
}

// TestViewsAreMadeSideBySide: what a browser gets does not depend on what others ask for
// meanwhile. The start page changes with every sample, so that of it only status and end are
// compared.
func TestViewsAreMadeSideBySide(t *testing.T) {
	b := newBrowser(t, filled())
	b.signIn()
	ask := func(b *browser, path string) (status int, body string) {
		w := b.send(httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	type answer struct {
		status int
		body   string
	}
	alone := map[string]answer{}
	for _, path := range everyView {
		status, body := ask(b, path)
		alone[path] = answer{status, body}
	}
	var running sync.WaitGroup
	for range 4 {
		own := *b
		running.Go(func() {
			for _, path := range everyView {
				status, body := ask(&own, path)
				want := alone[path]
				if status != want.status {
					t.Errorf("%s: %d, alone %d", path, status, want.status)
				}
				if !strings.HasSuffix(strings.TrimSpace(body), "</html>") || path != "/" && body != want.body {
					t.Errorf("%s: another body than alone: %d bytes, %d", path, len(body), len(want.body))
				}
				own.page.samples.take()
			}
		})
	}
	running.Wait()
}

// A dead letter may hold anything, and is only for those who are signed in.
func TestDeadLettersAreShown(t *testing.T) {
	f := filled()
	f.status.DeadLetters = []DeadLetter{{When: "2026-03-04T12:00:00.000Z", Reason: "malformed JSON", Subject: "receipts.v1.0.x", Data: "<b>" + strings.Repeat("x", 1000)}}
	b := newBrowser(t, f)
	if body := b.get("/", 200).body; strings.Contains(body, "malformed JSON") || strings.Contains(body, "Dead letters") {
		t.Error("it is shown to everybody")
	}
	b.signIn()
	body := b.get("/", 200).body
	if !strings.Contains(body, "malformed JSON") || !strings.Contains(body, "&lt;b&gt;xxx") || strings.Contains(body, strings.Repeat("x", 300)) {
		t.Errorf("it is not shown as it should be: %s", body)
	}
}

// TestMessageOfSeveralConversations: an id that several conversations use leads to each of them.
func TestMessageOfSeveralConversations(t *testing.T) {
	f := newFakeServer()
	f.fillMessage("m1", 3, 2)
	f.messages["other"] = projections.Message{ID: "m1", From: "ann & co", To: "ben", SentAt: noon.UnixMilli(), Counts: projections.Counts{Eligible: 1}}
	f.messages["third"] = projections.Message{ID: "m1", From: "cleo", Group: "other group", SentAt: noon.UnixMilli()}
	b := newBrowser(t, f)
	b.signIn()
	page := b.get("/?app=acme/chat&view=message&id=m1", 200)
	page.has("Several conversations", "ann &amp; co", "other group", "182480000001009")
	for _, link := range []string{"a=ann&#43;%26&#43;co&amp;app=acme%2Fchat&amp;b=ben&amp;id=m1&amp;view=message", "group=other&#43;group&amp;id=m1&amp;view=message"} {
		page.has(link)
	}
	b.get("/?a=ann+%26+co&app=acme%2Fchat&b=ben&id=m1&view=message", 200).has("Single chat.", "ann &amp; co")
	b.get("/?app=acme%2Fchat&group=other+group&id=m1&view=message", 200).has("cleo")
	b.get("/?app=acme%2Fchat&group=none&id=m1&view=message", 200).has("There is no message with this id")
}
