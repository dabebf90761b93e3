package httpapi

import (
	"context"
	"errors"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/receiptd/receiptd/consumers/projector"
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
	waits bool
	// writes: what a user asks for ends up in the log, and counts as what they report.
	writes bool
	// ownQuery: the handler sees to the query itself. Otherwise parameters that the description
	// does not have are refused.
	ownQuery bool
	handle   func(*call) error
}

const appPath = "/v1/apps/{org}/{app}"

// routes is the whole API. schema/openapi.yaml lists the same; a test holds them together.
func (a *API) routes() []route {
	return append(a.adminRoutes(),
		route{method: "GET", path: "/v1/apps", access: accessAdmin, handle: a.getApps},
		route{method: "PUT", path: appPath, access: accessAdmin, creates: true, handle: a.putApp},
		route{method: "GET", path: appPath, access: accessAdmin, handle: a.getApp},
		route{method: "POST", path: appPath + "/events", access: accessAdmin, waits: true, handle: a.postEvents},
		route{method: "POST", path: appPath + "/events:stream", access: accessAdmin, endless: true, handle: a.postEventStream},
		route{method: "POST", path: appPath + "/import", access: accessAdmin, waits: true, handle: a.postImport},
		route{method: "GET", path: appPath + "/messages/{id}", access: accessApp, asks: true, handle: a.getMessage},
		route{method: "GET", path: appPath + "/messages/{id}/readers", access: accessApp, asks: true, handle: a.getReaders},
		route{method: "GET", path: appPath + "/messages/{id}/nonreaders", access: accessApp, asks: true, handle: a.getNonReaders},
		route{method: "POST", path: appPath + "/messages:counts", access: accessApp, asks: true, handle: a.postCounts},
		route{method: "POST", path: appPath + "/messages:nonreaders", access: accessApp, asks: true, handle: a.postNonReaders},
		route{method: "GET", path: appPath + "/groups/{group}/messages", access: accessAdmin, asks: true, handle: a.getGroupMessages},
		route{method: "GET", path: appPath + "/groups/{group}/members", access: accessApp, asks: true, handle: a.getMembers},
		route{method: "GET", path: appPath + "/groups/{group}/positions", access: accessApp, asks: true, handle: a.getPositions},
		route{method: "GET", path: appPath + "/groups/{group}/invitations", access: accessApp, handle: a.getGroupInvitations},
		route{method: "DELETE", path: appPath + "/groups/{group}/invitations/{user}", access: accessApp, handle: a.deleteInvitation},
		route{method: "GET", path: appPath + "/users/{user}/invitations", access: accessSelf, handle: a.getInvitations},
		route{method: "POST", path: appPath + "/users/{user}/invitations/{group}", access: accessSelf, handle: a.postInvitation},
		route{method: "POST", path: appPath + "/users/{user}/receipts", access: accessSelf, waits: true, handle: a.postReceipts},
		route{method: "GET", path: appPath + "/users/{user}/reads", access: accessSelf, asks: true, handle: a.getReads},
		route{method: "GET", path: appPath + "/users/{user}/conversations", access: accessSelf, asks: true, handle: a.getConversations},
		route{method: "GET", path: appPath + "/users/{user}/conversations/{conversation}/unread", access: accessSelf, asks: true, handle: a.getUnread},
		route{method: "GET", path: appPath + "/users/{user}/conversations/{conversation}/settings", access: accessSelf, asks: true, handle: a.getConversationSettings},
		route{method: "PUT", path: appPath + "/users/{user}/conversations/{conversation}/settings", access: accessSelf, writes: true, handle: a.putConversationSettings},
		route{method: "GET", path: appPath + "/users/{user}/settings", access: accessSelf, asks: true, handle: a.getUserSettings},
		route{method: "PUT", path: appPath + "/users/{user}/settings", access: accessSelf, writes: true, handle: a.putUserSettings},
		route{method: "GET", path: appPath + "/users/{user}/statistics", access: accessSelf, asks: true, handle: a.getSummary},
		route{method: "POST", path: appPath + "/users/{user}/statistics:ack", access: accessSelf, writes: true, handle: a.postSummaryAck},
		route{method: "GET", path: appPath + "/users/{user}/stream", access: accessSelf, endless: true, handle: a.getStream},
		route{method: "POST", path: appPath + "/users/{user}/tokens", access: accessAdmin, handle: a.postToken},
		route{method: "GET", path: appPath + "/analytics/read-rate", access: accessAdmin, handle: a.getReadRate},
		route{method: "GET", path: "/v1/analytics/read-rate", access: accessAdmin, handle: a.getReadRate},
		route{method: "GET", path: appPath + "/alerts", access: accessAdmin, asks: true, handle: a.getAlerts},
		route{method: "GET", path: appPath + "/alerts/stream", access: accessAdmin, endless: true, handle: a.getAlertStream},
		route{method: "GET", path: appPath + "/rejections", access: accessAdmin, asks: true, handle: a.getRejections},
		route{method: "GET", path: appPath + "/messages/{id}/readers/{user}/proof", access: accessAdmin, handle: a.getEvidence},

		// A head tells nothing about what is in the log. A proof does, to one who can guess: it has
		// the hashes of other entries, whose data may be short.
		route{method: "GET", path: "/v1/log/key", handle: a.getLogKey},
		route{method: "GET", path: "/v1/log/{partition}/checkpoint", handle: a.getCheckpoint},
		route{method: "GET", path: "/v1/log/{partition}/checkpoint/{size}", access: accessAdmin, handle: a.getCheckpoint},
		route{method: "GET", path: "/v1/log/{partition}/consistency", access: accessAdmin, handle: a.getConsistency},
		route{method: "GET", path: "/v1/log/{partition}/inclusion/{sequence}", access: accessAdmin, handle: a.getInclusion},

		route{method: "GET", path: "/v1/cluster", access: accessAdmin, handle: a.getCluster},
		route{method: "DELETE", path: "/v1/cluster/nodes/{node}", access: accessAdmin, handle: a.deleteNode},
		route{method: "PUT", path: "/v1/cluster/nodes/{node}/drain", access: accessAdmin, handle: a.putDrain},
		route{method: "DELETE", path: "/v1/cluster/nodes/{node}/drain", access: accessAdmin, handle: a.deleteDrain},
		route{method: "PUT", path: "/v1/cluster/copies", access: accessAdmin, handle: a.putCopies},
		route{method: "PUT", path: "/v1/cluster/partitions/{partition}/move", access: accessAdmin, handle: a.putMove},
		route{method: "DELETE", path: "/v1/cluster/partitions/{partition}/move", access: accessAdmin, handle: a.deleteMove},

		route{method: "GET", path: "/v1/status", handle: a.getStatus},
		route{method: "GET", path: "/healthz", handle: a.getHealth},
		route{method: "GET", path: "/readyz", handle: a.getReady},
		route{method: "GET", path: "/metrics", handle: a.getMetrics()},
		route{method: "GET", path: "/openapi.yaml", handle: a.getOpenAPI},
		route{method: "GET", path: "/{$}", ownQuery: true, handle: a.servePage},
		route{method: "POST", path: "/{$}", ownQuery: true, handle: a.servePage},
		route{method: "GET", path: "/v1/page/{file}", handle: a.getPageFile},
	)
}

// adminRoutes are the calls that the runtime serves. A rebuild takes as long as it takes, and a
// tail has no end.
func (a *API) adminRoutes() (list []route) {
	for _, c := range a.cfg.Admin {
		list = append(list, route{method: c.Method, path: c.Path, access: accessAdmin, endless: true, handle: func(to *call) error {
			c.Handler.ServeHTTP(to.w, to.r)
			return nil
		}})
	}
	return list
}

func (a *API) newMux() *http.ServeMux {
	mux := http.NewServeMux()
	methods := make(map[string][]string)
	for _, rt := range a.routes() {
		mux.Handle(rt.method+" "+rt.path, a.serve(rt))
		a.metrics.expect(rt.method + " " + rt.path)
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
	mux.Handle("/v1", a.refuse(errNoSuchPath)) // which it would redirect to the one above, in HTML
	mux.Handle("/", a.elsewhere())
	if a.cfg.Sessions != nil {
		mux.Handle(WebSocketPath, a.serve(route{endless: true, ownQuery: true, handle: func(c *call) error {
			a.cfg.Sessions.ServeHTTP(c.w, c.r)
			return nil
		}}))
	}
	if a.cfg.Demo != nil {
		// Not all of /demo/: an org may have that name, but its paths are longer.
		for _, path := range []string{"/demo", "/demo/{file}"} {
			mux.Handle(path, a.serve(route{ownQuery: true, handle: func(c *call) error {
				a.cfg.Demo.ServeHTTP(c.w, c.r)
				return nil
			}}))
		}
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
	return a.serve(route{ownQuery: true, handle: func(c *call) error {
		if !a.cfg.REST.Serves(c.r) {
			c.w.Header().Set("Access-Control-Allow-Origin", "*") // as all that the SDK may ask for
			return errNoSuchPath
		}
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
	// imports: the events are history, and state their own time.
	imports bool
	// groups are where the events happened that a user reported of themselves, in their order.
	groups []string
}

func (a *API) refuse(e *apiError) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.fail(w, r, e) })
}

// serve wraps the handler of a route: deadlines, who may call, errors.
func (a *API) serve(rt route) http.Handler {
	parameters := parametersOf(rt)
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
		if err == nil && !rt.ownQuery {
			err = parameters.check(r.URL.RawQuery)
		}
		if err == nil && rt.writes {
			err = a.mayWrite(c)
		}
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
	if err := a.awaitPosition(c); err != nil {
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
	for _, name := range []string{"id", "user", "conversation", "group"} {
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
	var err error
	if c.settings, _, err = a.cfg.State.FindApp(c.app); creates && errors.Is(err, projector.ErrNoApp) {
		return nil
	}
	return err
}

// ServeHTTP serves one request, with its request id, metrics and log line, and recovers panics.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	res := &response{ResponseWriter: w, requestID: requestID(r)}
	if a.cfg.Cluster != nil {
		res.node = a
	}
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
	if a.cors != nil && strings.HasPrefix(r.URL.Path, "/v1/") {
		a.cors.ServeHTTP(res, r, a.route)
	} else {
		a.route(res, r)
	}
	if res.status >= http.StatusBadRequest {
		DrainBody(res, r, drainBodies*a.cfg.Limits.BodyBytes)
	}
}

// drainBodies is how many times the largest body is still read of one that was refused.
const drainBodies = 2

// route finds the call that is asked for.
func (a *API) route(w http.ResponseWriter, r *http.Request) {
	// The mux redirects a path with empty or dot segments to another path, which, for an id that
	// was left out, is another call. Nobody means that.
	if p := r.URL.EscapedPath(); p != path.Clean(p) {
		a.fail(w, r, errNoSuchPath)
		return
	}
	a.mux.ServeHTTP(w, r)
}
