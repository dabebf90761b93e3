package web

import (
	"context"
	"html"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/fair"
	"github.com/receiptd/receiptd/projections"
)

var hrefs = regexp.MustCompile(`href="(\./\?[^"]*)"`)

// link finds the first link of a view that has all the parts, and follows it.
func (b *browser) link(from viewed, parts ...string) viewed {
	b.t.Helper()
	for _, match := range hrefs.FindAllStringSubmatch(from.body, -1) {
		to := html.UnescapeString(match[1])
		all := true
		for _, part := range parts {
			all = all && strings.Contains(to+"&", part)
		}
		if all {
			return b.get(strings.TrimPrefix(to, "."), 200)
		}
	}
	b.t.Fatalf("%s has no link with %q", from.path, parts)
	return viewed{}
}

// TestDrillDown goes from the app to a group, a message, its reader and what they have not read,
// and from a sender to their messages; the zone stays all the way.
func TestDrillDown(t *testing.T) {
	f := filled()
	f.rows[projections.ByGroup][0].Key = "182480000001009"
	m := f.messages["m1"]
	m.ID = f.list[129].ID
	f.messages[m.ID], f.readers[m.ID], f.nonReaders[m.ID] = m, f.readers["m1"], f.nonReaders["m1"]
	b := newBrowser(t, f)
	b.signIn()
	groups := b.link(b.get("/?app=acme/chat&tz=Asia/Kolkata", 200), "view=groups", "tz=Asia%2FKolkata")
	narrowed := b.link(groups, "group=182480000001009")
	narrowed.has("Narrowed to")
	group := b.link(narrowed, "view=group&", "group=182480000001009")
	group.has(f.list[129].ID, "2026-03-04 17:48:59", "(Asia/Kolkata)", "130, in the order in which they joined")
	message := b.link(group, "view=message", "id="+m.ID, "group=182480000001009")
	message.has("137, in the order of reading", "(Asia/Kolkata)")
	reader := b.link(message, "view=user", "list=read", "user=user0000049")
	reader.has("seen", "1.6"+space+"min")
	unread := b.link(reader, "list=unread", "user=user0000049")
	unread.has("Read by others")
	b.link(unread, "view=group&", "group=182480000001009")
	sent := b.link(group, "list=sent", "user=user0000049", "tz=Asia%2FKolkata")
	sent.has(f.list[129].ID)
	sent.lacks(f.list[128].ID)
	message.has("list=unread", "user=user0001000")
}

// TestListsArePaged: following "more" shows everything once, and the way back is there.
func TestListsArePaged(t *testing.T) {
	f := filled()
	b := newBrowser(t, f)
	b.signIn()
	for path, more := range map[string]struct {
		rows *regexp.Regexp
		next []string
		want int
	}{
		"/?app=acme/chat&view=groups":                                    {regexp.MustCompile(`<td class="rank">`), []string{"view=groups", "at=%s"}, 140},
		"/?app=acme/chat&view=group&group=182480000001009":               {regexp.MustCompile(`<td class="rate">`), []string{"view=group", "before=%s"}, 130},
		"/?app=acme/chat&view=user&user=user0000049&list=sent":           {regexp.MustCompile(`<td class="rate">`), []string{"view=user", "at="}, 65},
		"/?app=acme/chat&view=group&group=182480000001009&before=999999": {regexp.MustCompile(`<td class="rate">`), []string{"before="}, 130},
	} {
		seen, pages := 0, 0
		for a := b.get(path, 200); ; pages++ {
			seen += len(more.rows.FindAllString(a.body, -1))
			next := regexp.MustCompile(`href="(\./\?[^"]*)">(?:More|Older) (?:groups|messages)`).FindStringSubmatch(a.body)
			if next == nil || pages > 10 {
				break
			}
			a = b.get(strings.TrimPrefix(html.UnescapeString(next[1]), "."), 200)
		}
		if seen != more.want || pages != (more.want-1)/listed {
			t.Errorf("%s: %d rows on %d further pages, want %d", path, seen, pages, more.want)
		}
	}
	a := b.get("/?app=acme/chat&view=groups&at=100&min=1", 200)
	a.has("from 1 messages on: 101 to 140 of 140", "The groups before")
	a.lacks("More groups")
}

// TestFindLeadsToWhatHasTheID, and shows what there is to choose from if several have.
func TestFindLeadsToWhatHasTheID(t *testing.T) {
	f := filled()
	f.groups["both"] = []string{"both"}
	b := newBrowser(t, f)
	b.signIn()
	for id, to := range map[string]string{
		"m1": "./?app=acme%2Fchat&id=m1&view=message", "182480000001009": "./?app=acme%2Fchat&group=182480000001009&view=group",
		"user0000012": "./?app=acme%2Fchat&user=user0000012&view=user",
	} {
		w := b.send(httptest.NewRequest("GET", "/?app=acme/chat&view=find&q="+id, nil))
		if w.Code != 303 || w.Header().Get("Location") != to {
			t.Errorf("%s: %d, %s", id, w.Code, w.Header().Get("Location"))
		}
	}
	b.get("/?app=acme/chat&view=find&q=both", 200).has("Group <bdi>both</bdi>", "User <bdi>both</bdi>")
	b.get("/?app=acme/chat&view=find&q=none", 200).has("No message, group or user")
	b.get("/?app=acme/chat&view=find&q="+strings.Repeat("x", 300), 200).has("cannot be an id")
	b.get("/?app=acme/chat&view=user&user=none", 404)
	b.get("/?app=acme/chat&view=group&group=none", 404)
}

// Files are made a few at a time, as each is in memory as a whole: whoever asks for many waits.
func TestFilesAreMadeAFewAtATime(t *testing.T) {
	f := filled()
	var now, most atomic.Int64
	f.reading = func() {
		n := now.Add(1)
		for was := most.Load(); n > was && !most.CompareAndSwap(was, n); was = most.Load() {
		}
		time.Sleep(10 * time.Millisecond) // so that all come meanwhile
		now.Add(-1)
	}
	b := newBrowser(t, f)
	b.signIn()
	var all sync.WaitGroup
	for range 4 * downloadsAtOnce {
		all.Go(func() {
			r := httptest.NewRequest("GET", "/?app=acme/chat&format=csv&view=message&id=m1&list=readers", nil)
			r.AddCookie(b.cookie)
			w := httptest.NewRecorder()
			if b.page.ServeHTTP(w, r); w.Code != http.StatusOK {
				t.Errorf("%d: %s", w.Code, w.Body)
			}
		})
	}
	all.Wait()
	if n := most.Load(); n > downloadsAtOnce {
		t.Errorf("%d files were made at a time, want %d at most", n, downloadsAtOnce)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.page.downloads.Acquire(t.Context(), fair.Key{}, downloadsAtOnce); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(ctx, "GET", "/?app=acme/chat&format=csv&view=message&id=m1&list=readers", nil)
	if w := b.send(r); w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d for one whose time ended while others were made", w.Code)
	}
}

// TestFilesHaveAllThatIsListed, with ids that a spreadsheet does not take for formulas.
func TestFilesHaveAllThatIsListed(t *testing.T) {
	f := filled()
	f.rows[projections.BySender][3].Key = "=HYPERLINK(1)"
	f.readers["m1"][0].Content = "@SUM(1)"
	b := newBrowser(t, f)
	b.signIn()
	for path, lines := range map[string]int{
		"view=senders": 140, "view=senders&at=50&order=worst": 140, "view=groups&min=1000": 0, "view=overview": 24, "view=message&id=m1&list=readers": 137,
		"view=message&id=m1&list=nonreaders": 14, "view=group&group=182480000001009": 130, "view=user&user=user0000049&list=read": 22, "view=user&user=user0000049&list=sent": 65,
	} {
		csv, ndjson := b.get("/?app=acme/chat&format=csv&"+path, 200), b.get("/?app=acme/chat&format=ndjson&"+path, 200)
		n, m := strings.Count(csv.body, "\r\n")-1, strings.Count(ndjson.body, "\n")
		if n != m || lines > 0 && n != lines || n == 0 {
			t.Errorf("%s: %d and %d lines, want %d", path, n, m, lines)
		}
		if h := csv.header; !strings.HasPrefix(h.Get("Content-Disposition"), "attachment") || !strings.HasPrefix(h.Get("Content-Type"), "text/csv") || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, h)
		}
		for _, line := range strings.Split(csv.body, "\r\n") {
			for _, cell := range strings.Split(line, ",") {
				if strings.HasPrefix(strings.Trim(cell, `"`), "=") || strings.HasPrefix(strings.Trim(cell, `"`), "@") {
					t.Errorf("%s: a formula: %s", path, line)
				}
			}
		}
	}
	b.get("/?app=acme/chat&format=csv&view=senders", 200).has("'=HYPERLINK(1),")
	b.get("/?app=acme/chat&format=ndjson&view=senders", 200).has(`"key":"=HYPERLINK(1)"`)
	b.get("/?app=acme/chat&format=csv&view=user&user=none", 404)
	b.get("/?app=acme/chat&format=csv&view=message&id=none", 404)
	b.cookie = nil
	b.get("/?app=acme/chat&format=csv&view=senders", 401).lacks("HYPERLINK")
}

// TestClickHouseThatIsDown: the numbers of the state are shown, and it is said whose they are;
// where nobody is to answer that is said, and is no defect.
func TestClickHouseThatIsDown(t *testing.T) {
	f := filled()
	b := newBrowser(t, f)
	b.signIn()
	for _, path := range []string{"/?app=acme/chat", "/?app=acme/chat&view=senders"} {
		f.substitute = false
		b.get(path, 200).lacks(noteSubstitute)
		f.substitute = true
		b.get(path, 200).has(noteSubstitute)
	}
	f.failure = projections.ErrRatesUnavailable
	// Which of the two it is the page is not told.
	b.get("/?app=acme/chat", 503).has("ClickHouse does not answer", "Messages and readers are counted by it alone", "--analytics-fallback none")
	f.failure, f.substitute = nil, false
	b.get("/?app=acme/chat&view=readers", 422).has("This takes ClickHouse")
	// Days that are not whole hours from UTC are made of hours.
	b.get("/?app=acme/chat&from=2026-02-10&to=2026-03-01&tz=Asia/Kolkata", 200).has(noteHours, "Feb 9, 23:30")
	f.clickhouse = true
	exact := newBrowser(t, f)
	exact.signIn()
	exact.get("/?app=acme/chat&from=2026-02-10&to=2026-03-01&tz=Asia/Kolkata", 200).lacks(noteHours, "Feb 9, 23:30")
}

// TestClusterPage is for those who are signed in, and says which node is not well and why.
func TestClusterPage(t *testing.T) {
	f := filled()
	f.cluster = &Cluster{
		Node: "a", RulesLevel: 3, Wanted: 2, Moves: []ClusterMove{{Partition: 1, From: "c", To: "a"}}, Nodes: []ClusterNode{{Name: "a", State: "serving", MaxRulesLevel: 4}, {Name: "<b>", State: "starting", Problem: "partition 1 is 500 entries behind", Heard: 1500 * time.Millisecond, Drained: true}, {Name: "dead", State: "silent", Heard: 3 * time.Hour}},
		Partitions: []ClusterPartition{{Partition: 1, Compared: 7, Wanted: []string{"a"}, Copies: []ClusterCopy{
			{Node: "a", State: "serving", Sequence: 9, Applied: 510, Chain: "c0ffee", Digest: "d1"}, {Node: "<b>", State: "quarantined", Stuck: "it stays", Sequence: 9, Applied: 10, Chain: "c0ffee", Digest: "d2"},
		}}},
	}
	b := newBrowser(t, f)
	b.get("/?view=cluster", 200).lacks("c0ffee", "500 entries behind")
	b.signIn()
	b.link(b.get("/", 200), "view=cluster").has("500 entries behind", "quarantined", "c0ffee", "differs", "1.5"+space+"s ago", "<td>500</td>",
		"level 3 of the rules is in force", "<td>4</td>", "copies of each partition that are wanted: 2", "(drained)", "(not wanted here): it stays", "3"+space+"h ago", "Nothing leaves the log until <bdi>dead</bdi> is back", "in the place of <bdi>c</bdi>")
	f.cluster.Partitions[0].Copies[1].Digest = "d1"
	b.get("/?view=cluster", 200).lacks("differs")
	f.cluster = nil
	alone := newBrowser(t, f)
	alone.signIn()
	alone.get("/?view=cluster", 200).lacks("Copies of the state", "?view=cluster")
}
