package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/web"
	"github.com/receiptd/receiptd/projections"
)

func TestHealthAndReadiness(t *testing.T) {
	h := newHarness(t)
	h.want(request{method: "GET", path: "/healthz", token: "-"}, 200, "")
	h.want(request{method: "GET", path: "/readyz", token: "-"}, 200, "")
	h.state.notReady = errors.New("partition 1 is 500 entries behind")
	a := h.want(request{method: "GET", path: "/readyz", token: "-"}, 503, "not_ready")
	if !strings.Contains(string(a.body), "500 entries behind") {
		t.Errorf("got %s", a.body)
	}
	h.want(request{method: "GET", path: "/healthz", token: "-"}, 200, "")
	h.state.notReady = nil
	h.api.Drain()
	h.want(request{method: "GET", path: "/readyz", token: "-"}, 503, "not_ready")
	h.want(request{method: "GET", path: base}, 200, "") // still served
}

// TestReadinessTellsWritesFromReads: a server whose disk is full answers questions.
func TestReadinessTellsWritesFromReads(t *testing.T) {
	var full error
	h := newHarness(t, func(c *Config) { c.Writable = func() error { return full } })
	ready := func(query string, status int, reads, writes bool) {
		t.Helper()
		a := h.want(request{method: "GET", path: "/readyz" + query, token: "-"}, status, map[int]string{503: "not_ready"}[status])
		if a.field(t, "reads", "ready") != reads || a.field(t, "writes", "ready") != writes {
			t.Errorf("%s: %s", query, a.body)
		}
		if status == 503 && !strings.Contains(string(a.body), "message") {
			t.Errorf("%s: %s", query, a.body)
		}
	}
	for _, query := range []string{"", "?for=reads", "?for=writes"} {
		ready(query, 200, true, true)
	}
	full = errors.New("0 MiB are free")
	ready("", 503, true, false)
	ready("?for=reads", 200, true, false)
	ready("?for=writes", 503, true, false)
	a := h.want(request{method: "GET", path: "/readyz", token: "-"}, 503, "not_ready")
	if a.field(t, "writes", "problem") != "0 MiB are free" || a.field(t, "error", "message") != "0 MiB are free" {
		t.Errorf("%s", a.body)
	}
	h.state.notReady = errors.New("partition 1 is 500 entries behind")
	ready("?for=reads", 503, false, false)
	full, h.state.notReady = nil, fmt.Errorf("partition 1: %w", projector.ErrFoldingAgain)
	ready("?for=writes", 200, false, true)
	h.want(request{method: "GET", path: "/readyz?for=nothing", token: "-", wrong: true}, 400, "invalid_request")
}

func TestStatusAndPage(t *testing.T) {
	h := newHarness(t, func(c *Config) {
		c.PartitionStatus = func() []web.PartitionStatus {
			return []web.PartitionStatus{{Partition: 0, Stored: 12, Applied: 11, Appended: 90, Folded: 80, Queued: 10, Ack: 500 * time.Microsecond}}
		}
	})
	h.want(ndjson(readLine, readLine), 200, "")
	a := h.want(request{method: "GET", path: "/v1/status", token: "-"}, 200, "")
	if a.field(t, "events_accepted") != 2.0 || a.field(t, "ready") != true || !strings.Contains(string(a.body), `{"partition":0,"stored":12,"applied":11,"events_appended":90,"events_folded":80,"events_queued":10,"ack_ms":0.5}`) {
		t.Errorf("status %s", a.body)
	}
	h.state.notReady = errors.New("catching up")
	a = h.want(request{method: "GET", path: "/v1/status", token: "-"}, 200, "")
	if a.field(t, "ready") != false || a.field(t, "problem") != "catching up" {
		t.Errorf("status %s", a.body)
	}

	page := h.want(request{method: "GET", path: "/", token: "-"}, 200, "")
	if !strings.Contains(page.header.Get("Content-Security-Policy"), "default-src 'none'") || !strings.Contains(string(page.body), "catching up") {
		t.Errorf("page %v %s", page.header, page.body)
	}
	if a = h.want(request{method: "GET", path: "/v1/page/style.css", token: "-"}, 200, ""); a.header.Get("Content-Type") != "text/css; charset=utf-8" {
		t.Errorf("style %v", a.header)
	}
	h.want(request{method: "GET", path: "/v1/page/web.go", token: "-"}, 404, "not_found")
}

// pageSession signs in to the page, and returns the header that a browser then sends.
func (h *harness) pageSession() map[string]string {
	h.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.PostForm(h.server.URL+"/", url.Values{"do": {"sign-in"}, "key": {testAdminKey}})
	if err != nil {
		h.t.Fatal(err)
	}
	res.Body.Close()
	cookies := res.Cookies()
	if res.StatusCode != http.StatusSeeOther || len(cookies) != 1 {
		h.t.Fatalf("signed in with %d %v", res.StatusCode, cookies)
	}
	return map[string]string{"Cookie": cookies[0].Name + "=" + cookies[0].Value}
}

// TestPageSessionOpensThePageAndNothingElse: a browser sends its cookie wherever a page of another
// site tells it to.
func TestPageSessionOpensThePageAndNothingElse(t *testing.T) {
	h := newHarness(t)
	h.want(request{method: "GET", path: "/?app=acme/chat", token: "-"}, 401, "")
	session := h.pageSession()
	h.want(request{method: "GET", path: "/?app=acme/chat", token: "-", header: session}, 200, "")
	for _, path := range []string{"/v1/apps", base, base + "/rejections", base + "/users/alice/conversations"} {
		h.want(request{method: "GET", path: path, token: "-", header: session}, 401, "unauthorized")
	}
	h.want(request{method: "POST", path: base + "/events", token: "-", header: session, body: readLine}, 401, "unauthorized")
}

func TestAppsAreListed(t *testing.T) {
	h := newHarness(t)
	h.state.settings["acme#support"] = events.DefaultSettings()
	a := h.want(request{method: "GET", path: "/v1/apps"}, 200, "")
	if want := `{"apps":[{"org":"acme","app":"chat"},{"org":"acme","app":"support"}]}`; strings.TrimSpace(string(a.body)) != want {
		t.Errorf("got %s", a.body)
	}
	h.want(request{method: "GET", path: "/v1/apps", token: h.token("alice")}, 403, "forbidden")
	h.want(request{method: "GET", path: "/v1/apps", token: "-"}, 401, "unauthorized")
}

func TestMetricsCountByRouteNotByPath(t *testing.T) {
	h := newHarness(t)
	for _, path := range []string{"/messages/a", "/messages/b", "/messages/c"} {
		h.want(request{method: "GET", path: base + path}, 404, "")
	}
	h.want(request{method: "GET", path: "/nowhere", token: "-"}, 404, "")
	h.want(request{method: "GET", path: "//nowhere", token: "-"}, 404, "")
	h.want(ndjson(readLine), 200, "")
	text := string(h.want(request{method: "GET", path: "/metrics", token: "-"}, 200, "").body)
	for _, line := range []string{
		`receiptd_http_requests_total{route="/v1/apps/{org}/{app}/messages/{id}",status="404"} 3`,
		`receiptd_http_requests_total{route="/",status="404"} 2`,
		`receiptd_http_errors_total{code="message_not_found"} 3`,
		`receiptd_http_events_accepted_total 1`,
		`receiptd_http_request_seconds_count{route="/v1/apps/{org}/{app}/events"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no %s in\n%s", line, text)
		}
	}
}

func TestRequestIDs(t *testing.T) {
	h := newHarness(t)
	get := func(id string) string {
		return h.want(request{method: "GET", path: "/healthz", header: map[string]string{"X-Request-Id": id}}, 200, "").header.Get("X-Request-Id")
	}
	if got := get("trace-77"); got != "trace-77" {
		t.Errorf("the client's id became %q", got)
	}
	for _, bad := range []string{"", "a b", strings.Repeat("x", maxRequestID+1), "é"} {
		if got := get(bad); got == bad || got == "" {
			t.Errorf("%q became %q", bad, got)
		}
	}
	logged := h.logged.String()
	if !strings.Contains(logged, "path=/healthz status=200") || !strings.Contains(logged, "request_id=trace-77") {
		t.Errorf("logged %s", logged)
	}
}

// panicState panics in a query.
type panicState struct{ *fakeState }

func (panicState) Message(string, string) (projections.Message, error) { panic("out of cheese") }

func TestPanicIsAnAnswerAndALogLine(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.State = panicState{c.State.(*fakeState)} })
	a := h.want(request{method: "GET", path: base + "/messages/m1"}, 500, "internal")
	if strings.Contains(string(a.body), "cheese") {
		t.Errorf("the answer shows what is inside: %s", a.body)
	}
	if logged := h.logged.String(); !strings.Contains(logged, "out of cheese") || !strings.Contains(logged, "messages.go") {
		t.Errorf("logged %s", logged)
	}
	h.want(request{method: "GET", path: "/healthz"}, 200, "")
}

func TestPanicInTheMiddleOfAnAnswerCutsTheConnection(t *testing.T) {
	h := newHarness(t, func(c *Config) {
		c.Admin = []AdminCall{{"GET", "/v1/admin/x", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic("halfway")
		})}}
	})
	r := request{method: "GET", path: "/v1/admin/x"}.build(t, h.server.URL)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("half an answer looks like a whole one")
	}
}

func TestAdminCallsAreForTheAdminKey(t *testing.T) {
	called := ""
	h := newHarness(t, func(c *Config) {
		c.Admin = []AdminCall{{"POST", "/v1/admin/verify", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			called = r.Method + " " + r.URL.Path
			w.Header().Set("Content-Type", "application/x-ndjson")
			_, _ = io.WriteString(w, "{}\n")
		})}}
	})
	h.want(request{method: "POST", path: "/v1/admin/verify", token: h.token("alice")}, 403, "forbidden")
	h.want(request{method: "POST", path: "/v1/admin/verify", token: "-"}, 401, "unauthorized")
	if called != "" {
		t.Fatalf("called %s", called)
	}
	h.want(request{method: "POST", path: "/v1/admin/verify"}, 200, "")
	if called != "POST /v1/admin/verify" {
		t.Errorf("called %q", called)
	}
	newHarness(t).want(request{method: "POST", path: "/v1/admin/verify", undescribed: true}, 404, "not_found")
}

func TestNewRefusesWhatIsMissing(t *testing.T) {
	h := newHarness(t)
	for name, change := range map[string]func(*Config){
		"state": func(c *Config) { c.State = nil }, "analytics": func(c *Config) { c.Analytics = nil }, "log": func(c *Config) { c.Log = nil }, "admin key": func(c *Config) { c.AdminKey = "" },
		"tokens": func(c *Config) { c.Tokens = nil }, "partitions": func(c *Config) { c.Partitions = 0 },
		"registry": func(c *Config) { c.Registry = nil }, "logger": func(c *Config) { c.Logger = nil },
	} {
		cfg := h.api.cfg
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("made a gateway without %s", name)
		}
	}
	if _, err := gateway.NewTokens([]byte("short"), h.clock); err == nil {
		t.Error("made tokens with a short key")
	}
}

// stepped is a collector that takes until it is told to go on.
type stepped chan struct{}

func (s stepped) Describe(ch chan<- *prometheus.Desc) {
	ch <- prometheus.NewDesc("test_stepped", "", nil, nil)
}

func (s stepped) Collect(chan<- prometheus.Metric) { <-s }

// However many scrapes one address asks for, those of another one have their turns.
func TestScrapesAreSharedByAddresses(t *testing.T) {
	step := make(stepped)
	h := newHarness(t, func(c *Config) { c.Registry.MustRegister(step) })
	scrape := func(ctx context.Context, from string) chan int {
		done := make(chan int, 1)
		go func() {
			w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/metrics", nil)
			r.RemoteAddr = from + ":1"
			h.api.ServeHTTP(w, r)
			done <- w.Code
		}()
		return done
	}
	waiting := func(n int) {
		t.Helper()
		for end := time.Now().Add(patience); h.api.scrapes.Waiting() != n; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d scrapes wait, not %d", h.api.scrapes.Waiting(), n)
			}
		}
	}
	const flood = 20
	for range scrapesAtOnce + flood {
		scrape(t.Context(), "203.0.113.5")
	}
	waiting(flood)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answered := scrape(ctx, "203.0.113.6")
	waiting(flood + 1)
	for i := range 2 { // one of these turns is that of the other address
		step <- struct{}{}
		waiting(flood - i)
	}
	cancel() // of no consequence to a scrape that has its turn
	close(step)
	if code := <-answered; code != http.StatusOK {
		t.Errorf("%d: two scrapes of one address were before it", code)
	}
}

func TestHeadHasNoBody(t *testing.T) {
	h := newHarness(t)
	withMessages(h)
	for _, path := range []string{"/healthz", base + "/messages/m1", base + "/users/alice/stream"} {
		r := request{method: "HEAD", path: path}.build(t, h.server.URL)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 {
			t.Errorf("HEAD %s: %d", path, res.StatusCode)
		}
	}
}

func TestServesWithoutDeadlines(t *testing.T) {
	h := newHarness(t)
	h.state.settings[testApp] = events.DefaultSettings()
	w := httptest.NewRecorder() // knows no deadlines
	h.api.ServeHTTP(w, request{method: "GET", path: base}.build(t, "http://receiptd"))
	if w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
