package web

import (
	"bytes"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/receiptd/receiptd/projections"
)

// request is a request for a view.
type request struct {
	*http.Request
	query    url.Values
	signedIn bool
	// app is the app as in the address, org/app; key is its key, once it is known to exist.
	app, key string
	view     string
	span     span
}

func (p *Page) request(r *http.Request) *request {
	rq := &request{Request: r, query: r.URL.Query(), signedIn: p.sessions.valid(r)}
	rq.app, rq.view = rq.query.Get("app"), rq.query.Get("view")
	if rq.view == "" {
		rq.view = appViews[0].Name
	}
	rq.span = spanOf(rq.query.Get("span"))
	return rq
}

// frame is what every template gets: what surrounds a view, and the view's own data.
type frame struct {
	*request
	Title string
	View  string
	// Every is how often the script asks again, in milliseconds; 0 is never.
	Every int64
	Data  any
	page  *Page
}

var pages = parsePages("home", "overview", "groups", "senders", "message", "problem")

// parsePages parses the template of each view together with those that all use.
func parsePages(names ...string) map[string]*template.Template {
	shared := template.Must(template.New("").Funcs(template.FuncMap{
		"count": func(n uint64) string { return count(n) }, "int": func(n int) string { return count(n) },
		"percent": percent, "clock": clock, "shortClock": shortClock, "machineTime": machineTime,
	}).ParseFS(embedded, "templates/shared/*.html"))
	all := map[string]*template.Template{}
	for _, name := range names {
		all[name] = template.Must(template.Must(shared.Clone()).ParseFS(embedded, "templates/"+name+".html"))
	}
	return all
}

// rendering is a view on its way to a browser.
type rendering struct {
	status int
	name   string
	data   any
	// every is how often the browser asks again; 0 is never.
	every time.Duration
}

// render writes a complete view, or an error: nothing is sent before all of it is rendered.
func (p *Page) render(w http.ResponseWriter, rq *request, v rendering) {
	var b bytes.Buffer
	f := &frame{request: rq, Title: titles[v.name], View: v.name, Every: v.every.Milliseconds(), Data: v.data, page: p}
	if err := pages[v.name].ExecuteTemplate(&b, "page", f); err != nil {
		p.cfg.Logger.LogAttrs(rq.Context(), slog.LevelError, "page could not be rendered", slog.String("view", v.name), slog.Any("error", err))
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(v.status)
	_, _ = w.Write(b.Bytes())
}

var titles = map[string]string{"home": "Live", "overview": "Overview", "groups": "Groups", "senders": "Senders", "message": "Message", "problem": "Not shown"}

// problem is an error that is shown to people.
type problem struct {
	status          int
	title, sentence string
}

func (e *problem) Error() string { return e.sentence }

// Title and Sentence are for the template.
func (e *problem) Title() string { return e.title }

// Sentence says what is wrong.
func (e *problem) Sentence() string { return e.sentence }

// fail shows an error.
func (p *Page) fail(w http.ResponseWriter, rq *request, err error) {
	known, ok := errors.AsType[*problem](err)
	switch {
	case ok:
	case errors.Is(err, projections.ErrTooManyCohorts):
		known = &problem{http.StatusUnprocessableEntity, "Too much at once", "This span of time holds more groups and senders than one answer looks at. Choose a shorter one."}
	default:
		if rq.Context().Err() == nil {
			p.cfg.Logger.LogAttrs(rq.Context(), slog.LevelError, "page failed", slog.String("view", rq.view), slog.Any("error", err))
		}
		known = &problem{http.StatusInternalServerError, "This did not work", "The numbers could not be had. The server's log says why."}
	}
	p.render(w, rq, rendering{status: known.status, name: "problem", data: known})
}

// SignedIn reports whether the numbers of apps may be shown.
func (f *frame) SignedIn() bool { return f.signedIn }

// App is the chosen app as org/app; empty on the start page.
func (f *frame) App() string {
	if f.key == "" {
		return ""
	}
	return f.app
}

// Apps are all apps as org/app.
func (f *frame) Apps() []string {
	if !f.signedIn {
		return nil
	}
	keys := f.page.cfg.State.Apps()
	for i, key := range keys {
		keys[i] = strings.Replace(key, "#", "/", 1)
	}
	return keys
}

// Views are those of the app.
func (f *frame) Views() []view { return appViews }

// Spans are the spans of time to choose from.
func (f *frame) Spans() []span { return spans }

// Span is the chosen one.
func (f *frame) Span() span { return f.span }

// Version is the server's.
func (f *frame) Version() string { return f.page.cfg.Status().Version }

// Address is where the API is, as the browser reached the page.
func (f *frame) Address() string {
	scheme := "http://"
	if encrypted(f.Request) {
		scheme = "https://"
	}
	return scheme + f.Host
}

// Link is the address of a view: that of this request's app and span of time, with other parameters
// given by name and value. An empty value leaves one out.
func (f *frame) Link(pairs ...string) string {
	q := url.Values{}
	if f.key != "" {
		q.Set("app", f.app)
		q.Set("view", f.view)
		if f.span.Name != spans[0].Name {
			q.Set("span", f.span.Name)
		}
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			q.Del(pairs[i])
		} else {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if q.Get("view") == appViews[0].Name {
		q.Del("view")
	}
	if len(q) == 0 {
		return "./"
	}
	return "./?" + q.Encode()
}

// Here is the address of this view with all its parameters but those given, which are replaced as
// in Link.
func (f *frame) Here(pairs ...string) string {
	var all []string
	for name := range f.query {
		all = append(all, name, f.query.Get(name))
	}
	return f.Link(append(all, pairs...)...)
}

// offset reads a parameter that says where a list continues; anything malformed is the start.
func (rq *request) offset(name string) int {
	n, err := strconv.Atoi(rq.query.Get(name))
	if err != nil || n < 0 {
		return 0
	}
	return n
}
