package easemob

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
)

// Config is what a [REST] is made of. All fields are required.
type Config struct {
	State    State
	Log      gateway.Log
	Accounts Accounts
	Sessions Sessions
	IDs      gateway.IDs
	Tokens   *gateway.Tokens
	// AdminKey opens registration and all groups.
	AdminKey string
	Logger   *slog.Logger
}

// REST is the handler of the SDK's calls.
type REST struct {
	cfg     Config
	mux     *http.ServeMux
	callers *gateway.Authenticator
}

const (
	// maxBody bounds a request's body: a new group with the most members there may be.
	maxBody = 1 << 20
	// requestTime bounds a request.
	requestTime = 20 * time.Second
)

// New makes the handler.
func New(cfg Config) *REST {
	h := &REST{cfg: cfg, mux: http.NewServeMux(), callers: gateway.NewAuthenticator(cfg.AdminKey, cfg.Tokens)}
	const app = "/{org}/{app}"
	const group = app + "/chatgroups/{group}"
	for _, rt := range []struct {
		pattern string
		open    bool // no token needed
		handle  func(*call) (any, error)
	}{
		{"POST " + app + "/token", true, h.postToken},
		{"POST " + app + "/users", true, h.postUsers},
		{"GET " + app + "/sdk/users/{user}/token/expires", false, h.getTokenExpires},
		{"GET " + app + "/users/{user}/joined_chatgroups", false, h.getJoinedGroups},

		{"POST " + app + "/chatgroups", false, h.postGroup},
		{"GET " + group, false, h.getGroup},
		{"DELETE " + group, false, h.deleteGroup},
		{"GET " + group + "/users", false, h.getMembers},
		{"DELETE " + group + "/users/{users}", false, h.deleteMembers},
		{"POST " + group + "/invite", false, h.postInvite},
		{"POST " + group + "/apply", false, h.postApply},
		{"DELETE " + group + "/quit", false, h.deleteQuit},
		{"GET " + group + "/admin", false, h.getAdmins},
		{"POST " + group + "/admin", false, h.postAdmin},
		{"DELETE " + group + "/admin/{user}", false, h.deleteAdmin},
		{"GET " + group + "/acks/{message}", false, h.getReaders},
	} {
		h.mux.Handle(rt.pattern, h.serve(rt.open, rt.handle))
	}
	return h
}

// Serves reports whether a request is one of the SDK's calls, or a browser's question before one.
func (h *REST) Serves(r *http.Request) bool {
	_, pattern := h.mux.Handler(r)
	return pattern != "" || r.Method == http.MethodOptions
}

// ServeHTTP answers a call that it [REST.Serves].
func (h *REST) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	if r.Method == http.MethodOptions {
		w.Header().Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE")
		w.Header().Set("Access-Control-Allow-Headers", "authorization, content-type")
		w.Header().Set("Access-Control-Max-Age", "7200")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// call is one request that was admitted.
type call struct {
	r   *http.Request
	ctx context.Context
	// app is that of the path, settings are those in force.
	app      string
	settings events.Settings
	// Caller is who calls; on open calls it is the admin or nobody.
	gateway.Caller
}

func (h *REST) serve(open bool, handle func(*call) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTime)
		defer cancel()
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		c := &call{r: r, ctx: ctx}
		err := h.admit(c, open)
		var answer any
		if err == nil {
			answer, err = handle(c)
		}
		if err != nil {
			h.refuse(w, r, err)
			return
		}
		gateway.WriteJSON(w, http.StatusOK, answer)
	})
}

// admit finds out who calls, and whether there is such an app.
func (h *REST) admit(c *call, open bool) error {
	org, app := c.r.PathValue("org"), c.r.PathValue("app")
	if events.ValidateApp(org, app) != nil {
		return errNoApp
	}
	c.app = events.AppKey(org, app)
	token, _ := gateway.Bearer(c.r)
	caller, err := h.callers.Authenticate(token)
	switch {
	case caller.Admin, !open && err == nil && caller.MayUse(c.app):
		c.Caller = caller
	case !open:
		return errUnauthorized
	}
	var known bool
	if c.settings, _, known = h.cfg.State.Settings(c.app); !known {
		return errNoApp
	}
	return nil
}

// read reads a JSON body. Unknown fields are ignored: the SDK sends more than is needed here.
func (c *call) read(v any) error {
	body, err := io.ReadAll(c.r.Body)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return errTooLarge
	}
	if err != nil || json.Unmarshal(body, v) != nil {
		return invalid("the body is not the JSON object it should be")
	}
	return nil
}

// decide appends events of one group, and returns what was decided about each.
func (h *REST) decide(c *call, list ...events.Event) ([]events.Outcome, error) {
	for i := range list {
		list[i].App, list[i].Time = c.app, time.Now().UnixMilli()
		if err := list[i].Validate(); err != nil {
			return nil, invalid(err.Error())
		}
	}
	ticket, err := h.cfg.Log.Submit(c.ctx, list)
	if err != nil {
		return nil, err
	}
	return gateway.AwaitOutcomes(c.ctx, ticket, h.cfg.State)
}

// must is decide for events that may not be rejected.
func (h *REST) must(c *call, list ...events.Event) error {
	outcomes, err := h.decide(c, list...)
	for _, o := range outcomes {
		if o.Rejected() {
			return rejected(o)
		}
	}
	return err
}
