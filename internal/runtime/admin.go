package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/gateway/httpapi"
)

// admin serves what receiptctl asks of a running server. The gateway only lets in those who have
// the admin key.
type admin struct {
	core    *Core
	backups sync.Mutex // held while one is under way
}

// adminCalls are what schema/openapi.yaml has below /v1/admin/. Rebuilds and tails, which may take
// for ever, end with the context.
func adminCalls(ctx context.Context, core *Core, scrub, repartition http.Handler) (calls []httpapi.AdminCall) {
	a := &admin{core: core}
	for _, c := range []httpapi.AdminCall{
		{Method: "POST", Path: "/v1/admin/verify", Handler: http.HandlerFunc(a.verify)},
		{Method: "POST", Path: "/v1/admin/replay", Handler: http.HandlerFunc(a.replay)},
		{Method: "GET", Path: "/v1/admin/tail", Handler: http.HandlerFunc(a.tail)},
		{Method: "GET", Path: "/v1/admin/poison", Handler: http.HandlerFunc(a.poison)},
		{Method: "POST", Path: "/v1/admin/backup", Handler: http.HandlerFunc(a.backup)},
		{Method: "POST", Path: "/v1/admin/repartition", Handler: repartition},
		{Method: "GET", Path: "/v1/admin/scrub", Handler: scrub},
		{Method: "POST", Path: "/v1/admin/scrub", Handler: scrub},
	} {
		next := c.Handler
		c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			either, cancel := context.WithCancel(r.Context())
			defer cancel()
			defer context.AfterFunc(ctx, cancel)()
			next.ServeHTTP(w, r.WithContext(either))
		})
		calls = append(calls, c)
	}
	return calls
}

func (a *admin) verify(w http.ResponseWriter, r *http.Request) {
	a.rebuild(w, r, projector.RebuildOptions{})
}

func (a *admin) replay(w http.ResponseWriter, r *http.Request) {
	a.rebuild(w, r, projector.RebuildOptions{Switch: true, Projection: r.URL.Query().Get("projection")})
}

// from sets where a rebuild reads events, as the request says: log, archive or snapshot.
func (a *admin) from(r *http.Request, o *projector.RebuildOptions) error {
	switch from := r.URL.Query().Get("from"); {
	case from == "" || from == "log":
	case from == "snapshot":
		r, err := a.core.Snapshots(r.Context())
		if err != nil {
			return err
		}
		o.Snapshots = r
	case from != "archive":
		return errors.New("from is neither log nor archive nor snapshot")
	case a.core.Archive == nil:
		return errors.New("the server has no archive: it was started without --clickhouse")
	default:
		o.Archive = a.core.Archive
	}
	return nil
}

// rebuild answers with lines of JSON: {"progress":{…}} now and then, and last {"result":{…}} or
// {"error":{…}}.
func (a *admin) rebuild(w http.ResponseWriter, r *http.Request, o projector.RebuildOptions) {
	if err := errors.Join(a.from(r, &o), o.Validate()); err != nil {
		refuse(w, http.StatusBadRequest, "bad_request", err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	lines := &lineWriter{w: w}
	var last time.Time
	o.Heads = a.core.KnownHeads
	o.Progress = func(p projector.Progress) {
		if time.Since(last) >= progressEvery {
			last = time.Now()
			lines.write(map[string]any{"progress": p})
		}
	}
	result, err := a.core.Projector.Rebuild(r.Context(), o)
	if err == nil && !o.Switch {
		result.Log, err = a.core.ProveLog(r.Context())
	}
	if err != nil {
		code := "internal"
		if errors.Is(err, projector.ErrRebuilding) {
			code = "busy"
		}
		lines.write(map[string]any{"error": map[string]string{"code": code, "message": err.Error()}})
		return
	}
	lines.write(map[string]any{"result": result})
}

// ProveLog reads the log's files, and what lies beside it, against their checksums and compares
// them with what was acknowledged. The inspection has no streams if the log is in an
// outside cluster.
func (c *Core) ProveLog(ctx context.Context) (*eventlog.Inspection, error) {
	i, err := c.Log.Scrub(ctx, func(int) error { return ctx.Err() })
	if err != nil {
		return nil, err
	}
	return &i, nil
}

const progressEvery = 200 * time.Millisecond

// lineWriter writes JSON lines that reach the client at once.
type lineWriter struct {
	mu sync.Mutex
	w  http.ResponseWriter
}

// write does not report errors: a client that is gone ends the request's context.
func (l *lineWriter) write(v any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = json.NewEncoder(l.w).Encode(v)
	_ = http.NewResponseController(l.w).Flush()
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"code": code, "message": message}})
}
