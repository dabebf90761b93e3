package web

import (
	"cmp"
	"context"
	"embed"
	"errors"
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
	"github.com/receiptd/receiptd/internal/fair"
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
	// Alerts lists the app's alerts that are kept, oldest first, and the hour until whose beginning
	// all are decided.
	Alerts(app string) (list []projections.Alert, upto int64, err error)
	// Members and GroupMessages return [projections.ErrNotFound] for a group that is unknown or
	// dissolved.
	Members(app, group string, after, limit int) (projections.MemberPage, error)
	GroupMessages(app, group string, before uint64, limit int) (projections.MessagePage, error)
	// Knows reports whether a user is, or ever was, in a conversation.
	Knows(app, user string) (bool, error)
	Conversations(app, user string) ([]projections.ConversationView, error)
	// UserMessages returns [projections.ErrNotFound] if the user is not in such a conversation.
	UserMessages(app, group, peer, user string, q projections.RelatedQuery) (projections.UserMessagePage, error)
}

// Config is what a [Page] is made of. Everything is required but Now.
type Config struct {
	State State
	Rates gateway.RateSource
	// ClickHouse says that there is one, so that questions can be asked that only it answers.
	ClickHouse bool
	// Cluster is the nodes on the log, as this one sees them; nil for a server that is alone.
	Cluster func() Cluster
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
	downloads   *fair.Semaphore

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
		downloads:   fair.New(fair.Options{Capacity: downloadsAtOnce}),
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
	// template is the name of its template, if that is another one.
	template string
	// build makes what its template shows.
	build func(*Page, *request) (any, error)
	// table makes what it lists as a file; nil if it lists nothing.
	table func(*Page, *request) (gateway.Table, error)
	// every is how often a browser asks again.
	every time.Duration
	// menu says when the menu has it.
	menu menu
	// counts says that it counts the messages of a span of time.
	counts bool
}

// menu says when the menu has a view.
type menu uint8

const (
	menuNever menu = iota
	menuAlways
	menuClickHouse // if there is one
)

// appViews are the views of an app, in the order of the menu.
var appViews []view

func init() {
	appViews = []view{
		{Name: "overview", Title: "Overview", build: (*Page).overview, table: (*Page).overviewTable, every: 15 * time.Second, menu: menuAlways, counts: true},
	}
	for _, name := range []string{"groups", "senders", "labels", "messages", "readers"} {
		v := view{
			Name: name, Title: rankings[name].Title, template: "ranking", build: (*Page).ranking, table: (*Page).rankingTable,
			every: 15 * time.Second, menu: menuAlways, counts: true,
		}
		if name == "messages" || name == "readers" {
			v.menu = menuClickHouse
		}
		appViews = append(appViews, v)
	}
	appViews = append(
		appViews,
		view{Name: "group", Title: "Group", build: (*Page).group, table: (*Page).groupTable, every: 15 * time.Second},
		view{Name: "user", Title: "User", build: (*Page).user, table: (*Page).userTable, every: 15 * time.Second},
		view{Name: "message", Title: "Message", build: (*Page).message, table: (*Page).messageTable, every: 5 * time.Second},
		view{Name: "find", Title: "Find", build: (*Page).find},
	)
}

// viewOf finds a view by its name; one without a name if there is none.
func viewOf(name string) view {
	for _, v := range appViews {
		if v.Name == name {
			return v
		}
	}
	return view{}
}

func (p *Page) get(w http.ResponseWriter, r *http.Request) {
	rq := p.request(r)
	if rq.app == "" {
		if rq.signedIn && rq.view == "cluster" && p.cfg.Cluster != nil {
			p.cluster(w, rq)
			return
		}
		p.home(w, rq, http.StatusOK, "")
		return
	}
	if !rq.signedIn {
		p.home(w, rq, http.StatusUnauthorized, "")
		return
	}
	key := strings.Replace(rq.app, "/", "#", 1)
	if !slices.Contains(p.cfg.State.Apps(), key) {
		p.fail(w, rq, &problem{http.StatusNotFound, "No such app", "There is no app of this name on this server."})
		return
	}
	rq.key = key
	v := viewOf(rq.view)
	switch {
	case v.Name == "":
		p.fail(w, rq, &problem{http.StatusNotFound, "No such view", "The page has no view of this name."})
	case rq.wrong != nil:
		p.fail(w, rq, rq.wrong)
	case rq.format != "" && v.table != nil:
		p.download(w, rq, v)
	default:
		p.show(w, rq, v)
	}
}

func (p *Page) show(w http.ResponseWriter, rq *request, v view) {
	data, err := v.build(p, rq)
	if to, ok := errors.AsType[moved](err); ok {
		f := &frame{request: rq, page: p}
		w.Header().Set("Location", f.Link(to...))
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	if err != nil {
		p.fail(w, rq, err)
		return
	}
	every := v.every
	if d, ok := data.(interface{ nothing() bool }); ok && d.nothing() {
		every = sampleEvery // somebody is about to change that, and waits for it
	}
	p.render(w, rq, rendering{http.StatusOK, cmp.Or(v.template, v.Name), v.Title, data, every})
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
	p.render(w, rq, rendering{status, "home", "Live", data, every})
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
