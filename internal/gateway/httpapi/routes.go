package gateway

import (
	"context"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/receiptd/receiptd/events"
)

// access says who may call a route.
type access uint8

const (
	// accessOpen needs no token.
	accessOpen access = iota
	// accessAdmin is for the admin key.
	accessAdmin
	// accessSelf is for the admin key and for the {user} of the path.
	accessSelf
	// accessApp is for the admin key and every user of the app; the handler looks closer.
	accessApp
)

// route is one call of the API.
type route struct {
	method, path string
	access       access
	// creates: the app of the path need not exist.
	creates bool
	// endless: the answer has no end, and the handler sets its deadlines itself.
	endless bool
	// waits: what takes the handler's time is waiting, for what tells why it ended (context.Cause).
	waits  bool
	handle func(*call) error
}

const appPath = "/v1/apps/{org}/{app}"

// routes is the whole API. schema/openapi.yaml lists the same; a test holds them together.
func (g *Gateway) routes() []route {
	return []route{
		{method: "GET", path: "/v1/apps", access: accessAdmin, handle: g.getApps},
		{method: "PUT", path: appPath, access: accessAdmin, creates: true, handle: g.putApp},
		{method: "GET", path: appPath, access: accessAdmin, handle: g.getApp},
		{method: "POST", path: appPath + "/events", access: accessAdmin, waits: true, handle: g.postEvents},
		{method: "GET", path: appPath + "/messages/{id}", access: accessApp, handle: g.getMessage},
		{method: "GET", path: appPath + "/messages/{id}/readers", access: accessApp, handle: g.getReaders},
		{method: "GET", path: appPath + "/messages/{id}/nonreaders", access: accessApp, handle: g.getNonReaders},
		{method: "POST", path: appPath + "/messages:counts", access: accessApp, handle: g.postCounts},
		{method: "GET", path: appPath + "/users/{user}/conversations", access: accessSelf, handle: g.getConversations},
		{method: "GET", path: appPath + "/users/{user}/statistics", access: accessSelf, handle: g.getStatistics},
		{method: "POST", path: appPath + "/users/{user}/statistics:ack", access: accessSelf, handle: g.postStatisticsAck},
		{method: "GET", path: appPath + "/users/{user}/stream", access: accessSelf, endless: true, handle: g.getStream},
		{method: "POST", path: appPath + "/users/{user}/tokens", access: accessAdmin, handle: g.postToken},
		{method: "GET", path: appPath + "/analytics/read-rate", access: accessAdmin, handle: g.getReadRate},
		{method: "GET", path: appPath + "/rejections", access: accessAdmin, handle: g.getRejections},

		{method: "GET", path: "/v1/status", handle: g.getStatus},
		{method: "GET", path: "/healthz", handle: g.getHealth},
		{method: "GET", path: "/readyz", handle: g.getReady},
		{method: "GET", path: "/metrics", handle: g.getMetrics()},
		{method: "GET", path: "/openapi.yaml", handle: g.getOpenAPI},
		{method: "GET", path: "/{$}", handle: g.servePage},
		{method: "POST", path: "/{$}", handle: g.servePage},
		{method: "GET", path: "/v1/page/{file}", handle: g.getPageFile},
	}
}

func (g *Gateway) newMux() *http.ServeMux {
	mux := http.NewServeMux()
	methods := make(map[string][]string)
	for _, rt := range g.routes() {
		mux.Handle(rt.method+" "+rt.path, g.serve(rt))
		methods[rt.path] = append(methods[rt.path], rt.method)
		if rt.method == http.MethodGet {
			methods[rt.path] = append(methods[rt.path], http.MethodHead)
		}
	}
	// The mux answers a wrong method or path in plain text; these patterns do it in our form.
	for path, allowed := range methods {
		slices.Sort(allowed)
		mux.Handle(path, g.refuse(methodNotAllowed(strings.Join(allowed, ", "))))
	}
	mux.Handle("/v1/", g.refuse(errNoSuchPath))
	mux.Handle("/", g.elsewhere())
	if g.cfg.Sessions != nil {
		mux.Handle(WebSocketPath, g.serve(route{endless: true, handle: func(c *call) error {
			g.cfg.Sessions.ServeHTTP(c.w, c.r)
			return nil
		}}))
	}
	if g.cfg.Demo != nil {
		// Not all of /demo/: an org may have that name, and its paths are longer.
		for _, path := range []string{"/demo", "/demo/{file}"} {
			mux.Handle(path, g.serve(route{handle: func(c *call) error {
				g.cfg.Demo.ServeHTTP(c.w, c.r)
				return nil
			}}))
		}
	}
	if g.cfg.Admin != nil {
		mux.Handle("/v1/admin/", g.serve(route{access: accessAdmin, endless: true, handle: func(c *call) error {
			g.cfg.Admin.ServeHTTP(c.w, c.r)
			return nil
		}}))
	}
	return mux
}

// WebSocketPath is where the SDK connects to.
const WebSocketPath = "/websocket"

// elsewhere serves the paths that are none of the API's: the SDK's, if there are any.
func (g *Gateway) elsewhere() http.Handler {
	if g.cfg.REST == nil {
		return g.refuse(errNoSuchPath)
	}
	return g.serve(route{handle: func(c *call) error {
		g.cfg.REST.ServeHTTP(c.w, c.r)
		return nil
	}})
}

// call is one request to a route, after it was let in.
type call struct {
	w *response
	r *http.Request
	caller
	// What ends the call: the connection or, without one, cancel.
	deadline   time.Time
	connection *connection
	cancel     context.CancelFunc
	// app is the key of the app in the path, settings are those in force; both empty for routes of no app.
	app      string
	settings events.Settings
}

func (g *Gateway) refuse(e *apiError) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.fail(w, r, e) })
}

// serve wraps the handler of a route: deadlines, who may call, errors.
func (g *Gateway) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{w: w.(*response), r: r, deadline: time.Now().Add(g.cfg.Limits.Request)}
		// The sockets get a second more than the handler, so that it is the handler who says that time is up.
		c.w.setDeadlines(c.deadline.Add(time.Second))
		if !rt.endless {
			c.bound(rt)
			defer c.unbound()
		}
		err := g.admit(c, rt)
		if err == nil {
			if rt.endless {
				c.w.setDeadlines(time.Time{})
			}
			err = rt.handle(c)
		}
		if err == nil {
			return
		}
		if c.timeUp() {
			w.Header().Set("Connection", "close")
		}
		g.fail(w, r, err)
	})
}

// admit checks who calls before anything is told about what exists: first the token, then the app, then
// the right.
func (g *Gateway) admit(c *call, rt route) error {
	if rt.access == accessOpen {
		return nil
	}
	var err error
	if c.caller, err = g.authenticate(c.r, rt); err != nil {
		return err
	}
	if org := c.r.PathValue("org"); org != "" {
		if err := g.findApp(c, org, rt.creates); err != nil {
			return err
		}
	}
	user := c.r.PathValue("user")
	if !c.admin && (rt.access == accessAdmin || rt.access == accessSelf && c.user != user) {
		return errForbidden
	}
	for _, name := range []string{"id", "user"} {
		if id := c.r.PathValue(name); id != "" {
			if problem := events.IDProblem(id); problem != "" {
				return invalid(name, problem)
			}
		}
	}
	return nil
}

// findApp fills in the app of the path. Another app than the token's answers as one that does not exist.
func (g *Gateway) findApp(c *call, org string, creates bool) error {
	app := c.r.PathValue("app")
	if err := events.ValidateApp(org, app); err != nil {
		if creates {
			return invalid("app", err.Error())
		}
		return errNoApp
	}
	c.app = events.AppKey(org, app)
	if !c.admin && c.tokenApp != c.app {
		return errNoApp
	}
	settings, _, ok := g.cfg.State.Settings(c.app)
	if !ok && !creates {
		return errNoApp
	}
	c.settings = settings
	return nil
}

// ServeHTTP serves one request: request id, metrics, log line, and what is left of a panic.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	res := &response{ResponseWriter: w, requestID: requestID(r)}
	h := res.Header()
	h["X-Request-Id"] = []string{res.requestID}
	h["X-Content-Type-Options"] = noSniff
	g.metrics.inFlight.Inc()
	defer func() {
		g.metrics.inFlight.Dec()
		panicked := recover()
		aborted := panicked != nil && g.recovered(panicked, res, r)
		took := time.Since(began)
		g.metrics.observe(r.Pattern, res.status, took)
		g.logRequest(r, res, took)
		if aborted {
			panic(http.ErrAbortHandler)
		}
	}()
	// The mux redirects a path with empty or dot segments to another one, which for an id that
	// was left out is another call. Nobody means that.
	if p := r.URL.EscapedPath(); p != path.Clean(p) && !strings.HasPrefix(p, "/v1/admin/") {
		g.fail(res, r, errNoSuchPath)
		return
	}
	g.handler.ServeHTTP(res, r)
}
