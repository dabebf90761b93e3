package web

import (
	"bytes"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
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
	filter
	// wrong is what of the filter cannot be read; nil if all can.
	wrong *problem
	// format is what kind of file is asked for; empty asks for the view.
	format string
}

func (p *Page) request(r *http.Request) *request {
	rq := &request{Request: r, query: r.URL.Query(), signedIn: p.sessions.valid(r)}
	rq.app, rq.view = rq.query.Get("app"), rq.query.Get("view")
	if rq.view == "" {
		rq.view = appViews[0].Name
	}
	rq.filter, rq.wrong = newFilter(rq.query, p.cfg.Now())
	if format := rq.query.Get("format"); slices.Contains(formats, format) {
		rq.format = format
	}
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

var pages = parsePages("home", "cluster", "overview", "ranking", "group", "user", "message", "find", "problem")

// parsePages parses the template of each view together with those that all use.
func parsePages(names ...string) map[string]*template.Template {
	shared := template.Must(template.New("").Funcs(template.FuncMap{
		"count": func(n uint64) string { return count(n) }, "int": func(n int) string { return count(n) },
		"percent": percent, "machineTime": machineTime,
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
	// name is the template's, title what the view is called.
	name, title string
	data        any
	// every is how often the browser asks again; 0 is never.
	every time.Duration
}

// render writes a complete view, or an error: nothing is sent before all of it is rendered.
func (p *Page) render(w http.ResponseWriter, rq *request, v rendering) {
	var b bytes.Buffer
	f := &frame{request: rq, Title: v.title, View: rq.view, Every: v.every.Milliseconds(), Data: v.data, page: p}
	if err := pages[v.name].ExecuteTemplate(&b, "page", f); err != nil {
		p.cfg.Logger.LogAttrs(rq.Context(), slog.LevelError, "page could not be rendered", slog.String("view", v.name), slog.Any("error", err))
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(v.status)
	_, _ = w.Write(b.Bytes())
}

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
	case errors.Is(err, projections.ErrRatesUnavailable):
		known = &problem{http.StatusServiceUnavailable, "Not now", "ClickHouse does not answer. Messages and readers are counted by it alone; with --analytics-fallback none, everything is. Try again in a moment."}
	default:
		if rq.Context().Err() == nil {
			p.cfg.Logger.LogAttrs(rq.Context(), slog.LevelError, "page failed", slog.String("view", rq.view), slog.Any("error", err))
		}
		known = &problem{http.StatusInternalServerError, "This did not work", "The numbers could not be had. The server's log says why."}
	}
	p.render(w, rq, rendering{status: known.status, name: "problem", title: known.title, data: known})
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

// Views are those that the menu has.
func (f *frame) Views() (list []view) {
	for _, v := range appViews {
		if v.menu == menuAlways || v.menu == menuClickHouse && f.page.cfg.ClickHouse {
			list = append(list, v)
		}
	}
	return list
}

// Counts reports whether the view counts messages of a span of time.
func (f *frame) Counts() bool { return viewOf(f.view).counts }

// Presets are the spans of time to choose from.
func (f *frame) Presets() []preset { return presets }

// Zones are time zones to choose from.
func (f *frame) Zones() []string { return zones }

// Filtered reports whether something of the filter was chosen that its form hides at first.
func (f *frame) Filtered() bool {
	return f.Span.Custom() || f.Zone != "UTC" || f.Compare || f.Least > 0 || f.wrong != nil
}

// Kept are the parameters of the address that the form of the filter leaves as they are.
func (f *frame) Kept() map[string]string {
	kept := map[string]string{}
	for _, name := range []string{"span", "group", "sender", "label", "order"} {
		if value := f.query.Get(name); value != "" {
			kept[name] = value
		}
	}
	return kept
}

// Chosen are the parameters of the span, the zone and the comparison.
func (f *frame) Chosen() map[string]string {
	q := url.Values{}
	f.filter.address(q)
	chosen := map[string]string{}
	for name := range q {
		chosen[name] = q.Get(name)
	}
	return chosen
}

// Asked is a parameter of the address.
func (f *frame) Asked(name string) string { return f.query.Get(name) }

// Clock is a time of Unix milliseconds for people, in the zone of the view, which stands beside it
// unless it is said elsewhere.
func (f *frame) Clock(ms int64) string { return clock(ms, f.Span.zone) }

// Clustered reports whether there is a cluster to show.
func (f *frame) Clustered() bool { return f.signedIn && f.page.cfg.Cluster != nil }

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

// Link is the address of a view: that of this request's app, span of time and zone, with other
// parameters given by name and value. An empty value leaves one out. From one view that counts
// messages to another, what the numbers are narrowed to stays.
func (f *frame) Link(pairs ...string) string {
	q := url.Values{}
	if f.key != "" {
		q.Set("app", f.app)
		q.Set("view", f.view)
		f.filter.address(q)
		to := f.view
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] == "view" {
				to = pairs[i+1]
			}
		}
		if viewOf(f.view).counts && viewOf(to).counts {
			f.narrowing(q)
		}
	}
	return address(q, pairs)
}

// LinkOf is Link with a list.
func (f *frame) LinkOf(pairs []string) string { return f.Link(pairs...) }

// address is a view's with some parameters, of which pairs replace some.
func address(q url.Values, pairs []string) string {
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
	q := url.Values{}
	for name, values := range f.query {
		if values[0] != "" {
			q.Set(name, values[0])
		}
	}
	return address(q, pairs)
}

// offset reads a parameter that says where a list continues; anything malformed is the start.
func (rq *request) offset(name string) int {
	n, err := strconv.Atoi(rq.query.Get(name))
	if err != nil || n < 0 {
		return 0
	}
	return n
}
