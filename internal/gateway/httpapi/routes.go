package httpapi

import (
	"context"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
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

// allows reports whether the caller may call the route. That the app is theirs was checked before.
func (a access) allows(c *call) bool {
	switch a {
	case accessAdmin:
		return c.Admin
	case accessSelf:
		return c.MayActFor(c.r.PathValue("user"))
	}
	return true
}

// route is one call of the API.
type route struct {
	method, path string
	access       access
	// creates: the app of the path need not exist.
	creates bool
	// endless: the answer has no end, and the handler sets its deadlines itself.
	endless bool
	// asks: the handler asks the state, at once, and waits for nothing else.
	asks bool
	// waits: the handler spends its time waiting, for something that tells why a wait ended
	// (context.Cause).
	waits  bool
	handle func(*call) error
}

const appPath = "/v1/apps/{org}/{app}"

// routes is the whole API. schema/openapi.yaml lists the same; a test holds them together.
func (a *API) routes() []route {
	return []route{
		{method: "GET", path: "/v1/apps", access: accessAdmin, handle: a.getApps},
		{method: "PUT", path: appPath, access: accessAdmin, creates: true, handle: a.putApp},
		{method: "GET", path: appPath, access: accessAdmin, handle: a.getApp},
		{method: "POST", path: appPath + "/events", access: accessAdmin, waits: true, handle: a.postEvents},
		{method: "GET", path: appPath + "/messages/{id}", access: accessApp, asks: true, handle: a.getMessage},
		{method: "GET", path: appPath + "/messages/{id}/readers", access: accessApp, asks: true, handle: a.getReaders},
		{method: "GET", path: appPath + "/messages/{id}/nonreaders", access: accessApp, asks: true, handle: a.getNonReaders},
		{method: "POST", path: appPath + "/messages:counts", access: accessApp, asks: true, handle: a.postCounts},
		{method: "GET", path: appPath + "/groups/{group}/members", access: accessApp, asks: true, handle: a.getMembers},
		{method: "POST", path: appPath + "/users/{user}/receipts", access: accessSelf, waits: true, handle: a.postReceipts},
		{method: "GET", path: appPath + "/users/{user}/conversations", access: accessSelf, asks: true, handle: a.getConversations},
		{method: "GET", path: appPath + "/users/{user}/statistics", access: accessSelf, asks: true, handle: a.getSummary},
		{method: "POST", path: appPath + "/users/{user}/statistics:ack", access: accessSelf, handle: a.postSummaryAck},
		{method: "GET", path: appPath + "/users/{user}/stream", access: accessSelf, endless: true, handle: a.getStream},
		{method: "POST", path: appPath + "/users/{user}/tokens", access: accessAdmin, handle: a.postToken},
		{method: "GET", path: appPath + "/analytics/read-rate", access: accessAdmin, handle: a.getReadRate},
		{method: "GET", path: appPath + "/rejections", access: accessAdmin, asks: true, handle: a.getRejections},
		{method: "GET", path: appPath + "/messages/{id}/readers/{user}/proof", access: accessAdmin, handle: a.getEvidence},

		// A head tells nothing about what is in the log. A proof does, to one who can guess: it has
		// the hashes of other entries, whose data may be short.
		{method: "GET", path: "/v1/log/key", handle: a.getLogKey},
		{method: "GET", path: "/v1/log/{partition}/checkpoint", handle: a.getCheckpoint},
		{method: "GET", path: "/v1/log/{partition}/checkpoint/{size}", access: accessAdmin, handle: a.getCheckpoint},
		{method: "GET", path: "/v1/log/{partition}/consistency", access: accessAdmin, handle: a.getConsistency},
		{method: "GET", path: "/v1/log/{partition}/inclusion/{sequence}", access: accessAdmin, handle: a.getInclusion},

		{method: "GET", path: "/v1/status", handle: a.getStatus},
		{method: "GET", path: "/healthz", handle: a.getHealth},
		{method: "GET", path: "/readyz", handle: a.getReady},
		{method: "GET", path: "/metrics", handle: a.getMetrics()},
		{method: "GET", path: "/openapi.yaml", handle: a.getOpenAPI},
		{method: "GET", path: "/{$}", handle: a.servePage},
		{method: "POST", path: "/{$}", handle: a.servePage},
		{method: "GET", path: "/v1/page/{file}", handle: a.getPageFile},
	}
}

func (a *API) newMux() *http.ServeMux {
	mux := http.NewServeMux()
	methods := make(map[string][]string)
	for _, rt := range a.routes() {
		mux.Handle(rt.method+" "+rt.path, a.serve(rt))
		methods[rt.path] = append(methods[rt.path], rt.method)
		if rt.method == http.MethodGet {
			methods[rt.path] = append(methods[rt.path], http.MethodHead)
		}
	}
	// The mux answers a wrong method or path in plain text; these patterns answer as the API does.
	for path, allowed := range methods {
		slices.Sort(allowed)
		mux.Handle(path, a.refuse(methodNotAllowed(strings.Join(allowed, ", "))))
	}
	mux.Handle("/v1/", a.refuse(errNoSuchPath))
	mux.Handle("/", a.elsewhere())
	if a.cfg.Sessions != nil {
		mux.Handle(WebSocketPath, a.serve(route{endless: true, handle: func(c *call) error {
			a.cfg.Sessions.ServeHTTP(c.w, c.r)
			return nil
		}}))
	}
	if a.cfg.Demo != nil {
		// Not all of /demo/: an org may have that name, but its paths are longer.
		for _, path := range []string{"/demo", "/demo/{file}"} {
			mux.Handle(path, a.serve(route{handle: func(c *call) error {
				a.cfg.Demo.ServeHTTP(c.w, c.r)
				return nil
			}}))
		}
	}
	if a.cfg.Admin != nil {
		mux.Handle("/v1/admin/", a.serve(route{access: accessAdmin, endless: true, handle: func(c *call) error {
			a.cfg.Admin.ServeHTTP(c.w, c.r)
			return nil
		}}))
	}
	return mux
}

// WebSocketPath is where the SDK connects to.
const WebSocketPath = "/websocket"

// elsewhere serves the paths that are none of the API's: the SDK's, if there are any.
func (a *API) elsewhere() http.Handler {
	if a.cfg.REST == nil {
		return a.refuse(errNoSuchPath)
	}
	return a.serve(route{handle: func(c *call) error {
		a.cfg.REST.ServeHTTP(c.w, c.r)
		return nil
	}})
}

// call is one request to a route, once it is admitted.
type call struct {
	w *response
	r *http.Request
	gateway.Caller
	// What ends the call: the connection or, without one, cancel.
	deadline   time.Time
	connection *connection
	cancel     context.CancelFunc
	// app is the key of the app in the path, settings are those in force; both empty for routes of
	// no app.
	app      string
	settings events.Settings
	// reporter is the user whose receipts the request reports; empty for events of anybody.
	reporter string
}

func (a *API) refuse(e *apiError) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.fail(w, r, e) })
}

// serve wraps the handler of a route: deadlines, who may call, errors.
func (a *API) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{w: w.(*response), r: r, deadline: time.Now().Add(a.cfg.Limits.Request)}
		// The sockets get a second more than the handler, so that it is the handler that says that
		// time is up.
		c.w.setDeadlines(c.deadline.Add(time.Second))
		if !rt.endless {
			c.bound(rt)
			defer c.unbound()
		}
		if b := c.watch(); b != nil {
			defer b.handled()
		}
		err := a.admit(c, rt)
		if err == nil {
			if rt.endless {
				c.w.setDeadlines(time.Time{})
			}
			if rt.asks {
				err = a.ask(c, rt.handle)
			} else {
				err = rt.handle(c)
			}
		}
		if err == nil {
			return
		}
		if c.timeUp() {
			w.Header().Set("Connection", "close")
		}
		a.fail(w, r, err)
	})
}

// admit checks who calls before it tells anything about what exists: first the token, then the app,
// then the right.
func (a *API) admit(c *call, rt route) error {
	if rt.access == accessOpen {
		return nil
	}
	var err error
	if c.Caller, err = a.authenticate(c.r, rt); err != nil {
		return err
	}
	if org := c.r.PathValue("org"); org != "" {
		if err := a.findApp(c, org, rt.creates); err != nil {
			return err
		}
	}
	if !rt.access.allows(c) {
		return errForbidden
	}
	for _, name := range []string{"id", "user", "group"} {
		if id := c.r.PathValue(name); id != "" {
			if problem := events.IDProblem(id); problem != "" {
				return invalid(name, problem)
			}
		}
	}
	return nil
}

// findApp fills in the app of the path. An app other than the token's is answered like one that
// does not exist.
func (a *API) findApp(c *call, org string, creates bool) error {
	app := c.r.PathValue("app")
	if err := events.ValidateApp(org, app); err != nil {
		if creates {
			return invalid("app", err.Error())
		}
		return errNoApp
	}
	c.app = events.AppKey(org, app)
	if !c.MayUse(c.app) {
		return errNoApp
	}
	settings, _, ok := a.cfg.State.Settings(c.app)
	if !ok && !creates {
		return errNoApp
	}
	c.settings = settings
	return nil
}

// ServeHTTP serves one request, with its request id, metrics and log line, and recovers panics.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	res := &response{ResponseWriter: w, requestID: requestID(r)}
	h := res.Header()
	h["X-Request-Id"] = []string{res.requestID}
	h["X-Content-Type-Options"] = noSniff
	a.metrics.inFlight.Inc()
	defer func() {
		a.metrics.inFlight.Dec()
		panicked := recover()
		aborted := panicked != nil && a.recovered(panicked, res, r)
		took := time.Since(began)
		a.metrics.observe(r.Pattern, res.status, took)
		a.logRequest(r, res, took)
		if aborted {
			panic(http.ErrAbortHandler)
		}
	}()
	// The mux redirects a path with empty or dot segments to another path, which, for an id that
	// was left out, is another call. Nobody means that.
	if p := r.URL.EscapedPath(); p != path.Clean(p) && !strings.HasPrefix(p, "/v1/admin/") {
		a.fail(res, r, errNoSuchPath)
		return
	}
	a.handler.ServeHTTP(res, r)
}
