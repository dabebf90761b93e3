package easemob

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
)

// Limits bound what users, and those who are none, can make grow or take from others. The admin key
// is not bound by them. All are required.
type Limits struct {
	// RequestsPerUser and RequestsPerAddress are calls a second, after a burst of ten times as
	// many.
	RequestsPerUser, RequestsPerAddress int
	// InvitesPerUser and InvitesPerApp are users put into groups in an hour, and at once.
	InvitesPerUser, InvitesPerApp int
	// GroupMembers bounds the members of a group.
	GroupMembers int
}

// Config is what a [REST] is made of. All fields are required.
type Config struct {
	State    State
	Log      gateway.Log
	Accounts Accounts
	Sessions Sessions
	IDs      gateway.IDs
	Tokens   *gateway.Tokens
	// Fresh has answers be as new as calls ask for.
	Fresh *gateway.Freshness
	// AdminKey opens registration and all groups.
	AdminKey string
	Limits   Limits
	Logger   *slog.Logger
	// Registerer gets the metrics.
	Registerer prometheus.Registerer
}

// REST is the handler of the SDK's calls.
type REST struct {
	cfg     Config
	mux     *http.ServeMux
	callers *gateway.Authenticator

	perUser, perAddress       *gateway.Throttle // calls
	invitesOfUser, invitesFor *gateway.Throttle // users put into groups, by user and by app
	changing                  keyLock           // groups whose members change
	logins                    *logins
}

const (
	// maxBody bounds a request's body: a new group with the most members there may be.
	maxBody = 1 << 20
	// requestTime bounds a request.
	requestTime = 20 * time.Second
)

// Call is a REST call of the SDK.
type Call struct {
	// Pattern is its pattern for [http.ServeMux].
	Pattern string
	// Open calls need no token.
	Open   bool
	handle func(*REST, *call) (any, error)
}

const (
	appPath   = "/{org}/{app}"
	groupPath = appPath + "/chatgroups/{group}"
)

var calls = []Call{
	{"POST " + appPath + "/token", true, (*REST).postToken},
	{"POST " + appPath + "/users", true, (*REST).postUsers},
	{"GET " + appPath + "/sdk/users/{user}/token/expires", false, (*REST).getTokenExpires},
	{"GET " + appPath + "/users/{user}/joined_chatgroups", false, (*REST).getJoinedGroups},

	{"POST " + appPath + "/chatgroups", false, (*REST).postGroup},
	{"GET " + groupPath, false, (*REST).getGroup},
	{"DELETE " + groupPath, false, (*REST).deleteGroup},
	{"GET " + groupPath + "/users", false, (*REST).getMembers},
	{"DELETE " + groupPath + "/users/{users}", false, (*REST).deleteMembers},
	{"POST " + groupPath + "/invite", false, (*REST).postInvite},
	{"POST " + groupPath + "/invite_verify", false, (*REST).postInviteVerify},
	{"POST " + groupPath + "/apply", false, (*REST).postApply},
	{"DELETE " + groupPath + "/quit", false, (*REST).deleteQuit},
	{"GET " + groupPath + "/admin", false, (*REST).getAdmins},
	{"POST " + groupPath + "/admin", false, (*REST).postAdmin},
	{"DELETE " + groupPath + "/admin/{user}", false, (*REST).deleteAdmin},
	{"GET " + groupPath + "/acks/{message}", false, (*REST).getReaders},
}

// Calls are all that the handler serves.
func Calls() []Call { return slices.Clone(calls) }

// New makes the handler.
func New(cfg Config) *REST {
	h := &REST{cfg: cfg, mux: http.NewServeMux(), callers: gateway.NewAuthenticator(cfg.AdminKey, cfg.Tokens)}
	h.logins = newLogins(cfg.Logger, cfg.Registerer)
	perHour := func(n int) *gateway.Throttle { return gateway.NewThrottle(float64(n)/3600, n) }
	perSecond := func(n int) *gateway.Throttle { return gateway.NewThrottle(float64(n), 10*n) }
	h.perUser, h.perAddress = perSecond(cfg.Limits.RequestsPerUser), perSecond(cfg.Limits.RequestsPerAddress)
	h.invitesOfUser, h.invitesFor = perHour(cfg.Limits.InvitesPerUser), perHour(cfg.Limits.InvitesPerApp)
	for _, c := range calls {
		h.mux.Handle(c.Pattern, h.serve(c.Open, func(x *call) (any, error) { return c.handle(h, x) }))
	}
	return h
}

// Serves reports whether a request is one of the SDK's calls, or a browser's question before one.
func (h *REST) Serves(r *http.Request) bool {
	_, pattern := h.mux.Handler(r)
	return pattern != "" || r.Method == http.MethodOptions
}

// What a page of another origin may send and read, beside what it always may.
const (
	allowedHeaders = "authorization, content-type, " + gateway.LogHeader + ", " + gateway.PositionHeader
	exposedHeaders = gateway.LogHeader + ", " + gateway.NodeHeader + ", " + gateway.PositionHeader + ", Retry-After"
)

// ServeHTTP answers a call that it [REST.Serves].
func (h *REST) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Access-Control-Expose-Headers", exposedHeaders)
	if r.Method == http.MethodOptions {
		w.Header().Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE")
		w.Header().Set("Access-Control-Allow-Headers", allowedHeaders)
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
	// app is in the path, settings are in force there.
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
		if err == nil && !c.Admin {
			err = h.ration(c)
		}
		if err == nil {
			err = h.findApp(c, open)
		}
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

// admit finds out who calls, and that it is about an app that there may be.
func (h *REST) admit(c *call, open bool) error {
	org, app := c.r.PathValue("org"), c.r.PathValue("app")
	if events.ValidateApp(org, app) != nil {
		return errNoApp
	}
	c.app = events.AppKey(org, app)
	token, _ := gateway.Bearer(c.r)
	var caller gateway.Caller
	var err error
	if token != "" || !open {
		caller, err = h.callers.Authenticate(token, c.r.RemoteAddr)
	}
	switch {
	case errors.Is(err, gateway.ErrGuessing):
		return errTooOften
	case caller.Admin, !open && err == nil && caller.MayUse(c.app):
		c.Caller = caller
	case !open:
		return errUnauthorized
	}
	return nil
}

// findApp finds the settings of the app, in a state that is as new as the call asks for. Strangers
// cannot have one waited for.
func (h *REST) findApp(c *call, open bool) error {
	if c.Admin || !open {
		if err := h.cfg.Fresh.Await(c.ctx, c.r, gateway.CatchUpTime); err != nil {
			return err
		}
	}
	var err error
	if c.settings, _, err = h.cfg.State.FindApp(c.app); errors.Is(err, projector.ErrNoApp) && !c.Admin && open {
		return nil // to strangers an app that is not there looks like one that lets nobody in
	}
	return err
}

// ration refuses the calls of a user, or from an address, that come too often.
func (h *REST) ration(c *call) error {
	if _, ok := h.perAddress.Take(gateway.Address(c.r.RemoteAddr), 1); !ok {
		return errTooOften
	}
	if c.User == "" {
		return nil
	}
	return h.rationUser(c.Caller, c.app)
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

// data puts an answer where the SDK looks for it.
func data(v any) map[string]any { return map[string]any{"data": v} }

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
