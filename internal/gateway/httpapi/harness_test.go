package httpapi

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/lab/output"
	"github.com/receiptd/receiptd/schema"
)

const (
	testAdminKey   = "the-admin-key"
	testPartitions = 2
	base           = "/v1/apps/acme/chat"
)

// patience bounds what comes in a moment by itself; it is for a machine with much else to do.
const patience = time.Minute

// harness is a gateway on a real listener, over fakes, and a client that holds every request and
// answer against the OpenAPI description.
type harness struct {
	t         *testing.T
	state     *fakeState
	log       *fakeLog
	commands  *fakeCommands
	analytics *fakeAnalytics
	notify    *notify.Hub
	tokens    *gateway.Tokens
	api       *API
	server    *httptest.Server
	logged    *output.Buffer

	mu  sync.Mutex
	now time.Time // zero: the real one
}

func newHarness(t *testing.T, change ...func(*Config)) *harness {
	t.Helper()
	h := &harness{t: t, state: newFakeState(), log: &fakeLog{}, analytics: &fakeAnalytics{}, logged: new(output.Buffer)}
	h.commands = &fakeCommands{state: h.state}
	h.notify = notify.New(testPartitions, notify.Options{FlushInterval: 10 * time.Millisecond})
	var err error
	if h.tokens, err = gateway.NewTokens(bytes.Repeat([]byte("k"), gateway.MinTokenKeyBytes), h.clock); err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		State: h.state, Positions: &fakePositions{at: []uint64{0, 0}}, Log: h.log, Commands: h.commands, Notify: h.notify, Analytics: h.analytics, Notary: fakeNotary{}, Invitations: new(fakeInvitations), Partitions: testPartitions, Identity: testIdentity,
		AdminKey: testAdminKey, Tokens: h.tokens, Version: "test",
		Registry: prometheus.NewRegistry(),
		Logger:   slog.New(slog.NewTextHandler(h.logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&cfg)
	}
	if h.api, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	h.server = httptest.NewUnstartedServer(h.api)
	h.server.Config = h.api.Server()
	h.server.Start()
	t.Cleanup(func() {
		h.api.Drain() // so that no stream keeps the server from closing
		h.server.Close()
	})
	return h
}

func (h *harness) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now.IsZero() {
		return time.Now()
	}
	return h.now
}

func (h *harness) setClock(t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = t
}

// token makes a token for a user of the test's app.
func (h *harness) token(user string) string {
	h.t.Helper()
	token, _, err := h.tokens.Mint(testApp, user, time.Hour)
	if err != nil {
		h.t.Fatal(err)
	}
	return token
}

// request is what a test sends.
type request struct {
	method, path string
	token        string // empty: the admin key; "-": none
	contentType  string // empty: JSON if there is a body
	body         string
	header       map[string]string
	// wrong says that the request is meant to break the description.
	wrong bool
	// undescribed says that the path is none of the description's, whatever its router makes of it.
	undescribed bool
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// field digs a value out of the JSON body.
func (a answer) field(t *testing.T, path ...string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("body %q: %v", a.body, err)
	}
	for _, name := range path {
		object, _ := v.(map[string]any)
		v = object[name]
	}
	return v
}

func (a answer) code(t *testing.T) string {
	t.Helper()
	code, _ := a.field(t, "error", "code").(string)
	return code
}

func (rq request) build(t *testing.T, server string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), rq.method, server+rq.path, strings.NewReader(rq.body))
	if err != nil {
		t.Fatal(err)
	}
	switch rq.token {
	case "-":
	case "":
		r.Header.Set("Authorization", "Bearer "+testAdminKey)
	default:
		r.Header.Set("Authorization", "Bearer "+rq.token)
	}
	if rq.contentType == "" && rq.body != "" {
		rq.contentType = "application/json"
	}
	if rq.contentType != "" {
		r.Header.Set("Content-Type", rq.contentType)
	}
	for name, value := range rq.header {
		r.Header.Set(name, value)
	}
	return r
}

// asAnswered takes an answer as it is: a redirect is one.
var asAnswered = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// do sends a request, and fails the test if the request or its answer is not as described.
func (h *harness) do(rq request) answer {
	h.t.Helper()
	r := rq.build(h.t, h.server.URL)
	var route *routers.Route
	var params map[string]string
	if !rq.undescribed {
		route, params = h.describe(r)
	}
	input := &openapi3filter.RequestValidationInput{
		Request: rq.build(h.t, h.server.URL), PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	if route != nil && !rq.wrong {
		if err := openapi3filter.ValidateRequest(h.t.Context(), input); err != nil {
			h.t.Errorf("%s %s: the request is not as described: %v", rq.method, rq.path, err)
		}
	}
	res, err := asAnswered.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	a := answer{status: res.StatusCode, header: res.Header}
	if a.body, err = io.ReadAll(res.Body); err != nil {
		h.t.Fatal(err)
	}
	if route != nil {
		output := &openapi3filter.ResponseValidationInput{
			RequestValidationInput: input, Status: a.status, Header: a.header,
			Options: &openapi3filter.Options{IncludeResponseStatus: true},
		}
		output.SetBodyBytes(a.body)
		if err := openapi3filter.ValidateResponse(h.t.Context(), output); err != nil {
			h.t.Errorf("%s %s: the answer is not as described: %v\n%s", rq.method, rq.path, err, a.body)
		}
	}
	return a
}

// want sends a request and checks the status, and the code if it is not empty.
func (h *harness) want(rq request, status int, code string) answer {
	h.t.Helper()
	a := h.do(rq)
	if a.status != status || code != "" && a.code(h.t) != code {
		h.t.Fatalf("%s %s: %d %s, want %d %s", rq.method, rq.path, a.status, a.body, status, code)
	}
	return a
}

func (h *harness) describe(r *http.Request) (*routers.Route, map[string]string) {
	h.t.Helper()
	clean := r.Clone(r.Context())
	clean.URL.Scheme, clean.URL.Host, clean.Host = "", "", ""
	route, params, err := described().router.FindRoute(clean)
	if err != nil {
		return nil, nil
	}
	return route, params
}

// described is schema/openapi.yaml, loaded and checked once.
var described = sync.OnceValue(func() (d struct {
	doc    *openapi3.T
	router routers.Router
}) {
	for _, contentType := range []string{"application/x-ndjson", "text/html", "text/css", "application/x-protobuf"} {
		openapi3filter.RegisterBodyDecoder(contentType, openapi3filter.FileBodyDecoder)
	}
	doc, err := openapi3.NewLoader().LoadFromData(schema.OpenAPI)
	if err != nil {
		panic(err)
	}
	doc.Servers = nil // paths alone
	router, err := legacy.NewRouter(doc)
	if err != nil {
		panic(err)
	}
	d.doc, d.router = doc, router
	return d
})
