package web

import (
	"context"
	"embed"
	"io/fs"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// State answers about apps and messages. Methods with an error return [projections.ErrNotFound] for
// a message that the app does not have.
type State interface {
	// Apps are the keys of the apps, in order.
	Apps() []string
	gateway.Messages
	Readers(c events.Conversation, id string, offset, limit int) (projections.ReaderPage, error)
	NonReaders(c events.Conversation, id string, after, limit int) (projections.NonReaderPage, error)
}

// Rates answers about read rates.
type Rates interface {
	ReadRates(ctx context.Context, q projections.RateQuery) ([]projections.RateRow, error)
}

// Config is what a [Page] is made of. Everything is required but Now.
type Config struct {
	State State
	Rates Rates
	// Status says how the server is.
	Status func() Status
	// AdminKey opens the numbers of apps.
	AdminKey string
	// Private hides the totals over all apps from those who have not signed in.
	Private bool
	// Registry gets the page's metrics.
	Registry prometheus.Registerer
	Logger   *slog.Logger
	// Sessions, if set, keeps the sessions that several servers share.
	Sessions SessionStore
	// Now is the clock, time.Now if nil.
	Now func() time.Time
}

// Page serves / and the files it needs. It is safe for concurrent use.
type Page struct {
	cfg         Config
	key         gateway.KeyHash
	sessions    *sessions
	attempts    *attempts
	samples     *sampler
	crossOrigin *http.CrossOriginProtection
	signIns     *prometheus.CounterVec // by result

	drawing sync.Mutex
	drawn   recent
}

//go:embed templates static
var embedded embed.FS

// policy lets the page load nothing but its own files, run no code written into it, and be framed
// by nobody.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// New makes a page.
func New(cfg Config) *Page {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	signIns := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "receiptd_page_sign_ins_total", Help: "Attempts to sign in to the page, by result: ok, wrong or limited.",
	}, []string{"result"})
	cfg.Registry.MustRegister(signIns)
	for _, result := range []string{"ok", "wrong", "limited"} {
		signIns.WithLabelValues(result)
	}
	return &Page{
		signIns: signIns, cfg: cfg, key: gateway.HashKey(cfg.AdminKey),
		sessions: newSessions(cfg.Now, cfg.Sessions), attempts: newAttempts(cfg.Now),
		samples:     &sampler{status: cfg.Status, now: cfg.Now},
		crossOrigin: http.NewCrossOriginProtection(),
	}
}

// Run keeps the history that the page shows, until the context ends.
func (p *Page) Run(ctx context.Context) { p.samples.run(ctx) }

// File serves a file that the page needs, by its name.
func (p *Page) File(w http.ResponseWriter, name string) bool {
	content, err := fs.ReadFile(embedded, "static/"+name)
	types := map[string]string{
		"style.css": "text/css; charset=utf-8", "live.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml",
	}
	if err != nil || types[name] == "" {
		return false
	}
	w.Header().Set("Content-Type", types[name])
	// The name does not change with the content, so a browser has to ask again each time.
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Content-Security-Policy", policy)
	_, _ = w.Write(content)
	return true
}

// ServeHTTP serves /: a view for GET, signing in and out for POST.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "no-referrer") // ids of messages stand in the address
	h.Set("Cache-Control", "no-store")
	if r.Method == http.MethodPost {
		p.post(w, r)
		return
	}
	p.get(w, r)
}

// view is one of an app's.
type view struct {
	Name, Title string
	// build makes what its template shows.
	build func(*Page, *request) (any, error)
	// every is how often a browser asks again.
	every time.Duration
}

// appViews are the views of an app, in the order of the menu.
var appViews = []view{
	{"overview", "Overview", (*Page).overview, 15 * time.Second},
	{"groups", "Groups", (*Page).groups, 15 * time.Second},
	{"senders", "Senders", (*Page).senders, 15 * time.Second},
	{"message", "Message", (*Page).message, 5 * time.Second},
}

func (p *Page) get(w http.ResponseWriter, r *http.Request) {
	rq := p.request(r)
	if rq.app == "" {
		p.home(w, rq, http.StatusOK, "")
		return
	}
	if !rq.signedIn {
		p.home(w, rq, http.StatusUnauthorized, "")
		return
	}
	key := strings.Replace(rq.app, "/", "#", 1)
	if !slices.Contains(p.cfg.State.Apps(), key) {
		p.fail(w, rq, &problem{http.StatusNotFound, "No such app", "There is no app " + rq.app + " on this server."})
		return
	}
	rq.key = key
	for _, v := range appViews {
		if v.Name == rq.view {
			p.show(w, rq, v)
			return
		}
	}
	p.fail(w, rq, &problem{http.StatusNotFound, "No such view", "The page has no view of this name."})
}

func (p *Page) show(w http.ResponseWriter, rq *request, v view) {
	data, err := v.build(p, rq)
	if err != nil {
		p.fail(w, rq, err)
		return
	}
	every := v.every
	if d, ok := data.(interface{ nothing() bool }); ok && d.nothing() {
		every = sampleEvery // somebody is about to change that, and waits for it
	}
	p.render(w, rq, rendering{http.StatusOK, v.Name, data, every})
}

// home is the start page.
func (p *Page) home(w http.ResponseWriter, rq *request, status int, refused string) {
	live, err := p.live()
	if err != nil {
		p.fail(w, rq, err)
		return
	}
	every := sampleEvery
	hidden := p.cfg.Private && !rq.signedIn
	if rq.app != "" || hidden {
		every = 0 // asking again would be refused until the form is sent
	}
	data := map[string]any{"Live": live, "Refused": refused, "Wanted": rq.app}
	if hidden {
		data["Live"] = nil
	}
	p.render(w, rq, rendering{status, "home", data, every})
}

// post signs in or out. The answer leads back to the view that the form was on.
func (p *Page) post(w http.ResponseWriter, r *http.Request) {
	rq := p.request(r)
	if err := p.crossOrigin.Check(r); err != nil {
		p.fail(w, rq, &problem{http.StatusForbidden, "Refused", "The form was sent from another site."})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 8<<10)
	if err := r.ParseForm(); err != nil {
		p.fail(w, rq, &problem{http.StatusBadRequest, "Refused", "The form could not be read."})
		return
	}
	back := "./"
	if r.URL.RawQuery != "" {
		back += "?" + r.URL.RawQuery
	}
	switch r.PostForm.Get("do") {
	case "sign-in":
		if wait, ok := p.attempts.allow(r.RemoteAddr); !ok {
			p.signIns.WithLabelValues("limited").Inc()
			w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
			p.home(w, rq, http.StatusTooManyRequests, "Too many attempts. Wait a little, then try again.")
			return
		}
		if !p.key.Matches(r.PostForm.Get("key")) {
			p.signIns.WithLabelValues("wrong").Inc()
			p.cfg.Logger.Warn("sign-in with a wrong key", "address", r.RemoteAddr)
			p.home(w, rq, http.StatusForbidden, "This is not the admin key of the server.")
			return
		}
		p.signIns.WithLabelValues("ok").Inc()
		p.attempts.forgive(r.RemoteAddr)
		if err := p.sessions.start(w, r); err != nil {
			p.cfg.Logger.Error("a session of the page was not kept", "error", err)
			p.fail(w, rq, &problem{http.StatusServiceUnavailable, "Not now", "The session could not be kept. Try again in a moment."})
			return
		}
	case "sign-out":
		p.sessions.end(w, r)
		back = "./"
	default:
		p.fail(w, rq, &problem{http.StatusBadRequest, "Refused", "The form asks for nothing that the page does."})
		return
	}
	w.Header().Set("Location", back)
	w.WriteHeader(http.StatusSeeOther)
}
