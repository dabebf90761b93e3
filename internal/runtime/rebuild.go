package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events/eventlog"
)

// The rebuilds that receiptctl asks for, and nodes of each other.
const (
	callVerify = "verify"
	callReplay = "replay"
)

const progressEvery = 200 * time.Millisecond

// rebuilder serves rebuilds and proofs of this node's state, for the API and for other nodes.
type rebuilder struct{ core *Core }

// options are what a request asks of a rebuild.
func (b rebuilder) options(ctx context.Context, name string, query url.Values) (o projector.RebuildOptions, err error) {
	switch name {
	case callVerify:
	case callReplay:
		o.Switch, o.Projection = true, query.Get("projection")
	default:
		return o, errors.New("neither verify nor replay")
	}
	return o, errors.Join(b.from(ctx, query.Get("from"), &o), o.Validate())
}

// from sets where a rebuild reads events: log, archive or snapshot.
func (b rebuilder) from(ctx context.Context, from string, o *projector.RebuildOptions) error {
	switch {
	case from == "" || from == "log":
	case from == "snapshot":
		r, err := b.core.Snapshots(ctx)
		if err != nil {
			return err
		}
		o.Snapshots = r
	case from != "archive":
		return errors.New("from is neither log nor archive nor snapshot")
	case b.core.Archive == nil:
		return errors.New("the server has no archive: it was started without --clickhouse")
	default:
		o.Archive = b.core.Archive
	}
	return nil
}

// run rebuilds. It tells lines of JSON, {"progress":{…}}, now and then, and returns the last one,
// {"result":{…}} or {"error":{…}}.
func (b rebuilder) run(ctx context.Context, o projector.RebuildOptions, tell func(line any)) (last any) {
	var told time.Time
	o.Heads = b.core.KnownHeads
	o.Progress = func(p projector.Progress) {
		if time.Since(told) >= progressEvery {
			told = time.Now()
			tell(map[string]any{"progress": p})
		}
	}
	result, err := b.core.Projector.Rebuild(ctx, o)
	if err == nil && !o.Switch {
		result.Log, err = b.core.ProveLog(ctx)
	}
	if err != nil {
		code := "internal"
		if errors.Is(err, projector.ErrRebuilding) {
			code = "busy"
		}
		return failed(code, err)
	}
	if b.core.jobs != nil {
		result.Node = b.core.jobs.Node
	}
	return map[string]any{"result": result}
}

// job does for another node what run does for a request: it is the request's call with its query.
func (b rebuilder) job(ctx context.Context, call string, tell func(line any)) (last any) {
	name, text, _ := strings.Cut(call, "?")
	query, err := url.ParseQuery(text)
	var o projector.RebuildOptions
	if err == nil {
		o, err = b.options(ctx, name, query)
	}
	if err != nil {
		return failed("bad_request", err)
	}
	return b.run(ctx, o, tell)
}

func failed(code string, err error) any {
	return map[string]any{"error": map[string]string{"code": code, "message": err.Error()}}
}

// rebuild answers requests for a rebuild with its lines. A request that names another node is
// passed on to that one.
func (a *admin) rebuild(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		query, jobs, here := r.URL.Query(), a.core.jobs, rebuilder{a.core}
		node := query.Get("node")
		query.Del("node")
		if node != "" && jobs == nil {
			refuse(w, http.StatusBadRequest, "bad_request", "the server is no node of a cluster: it was started without --node")
			return
		}
		lines := &lineWriter{w: w}
		if node != "" && node != jobs.Node {
			w.Header().Set("Content-Type", "application/x-ndjson")
			last, err := jobs.RunOn(r.Context(), node, name+"?"+query.Encode(), func(line json.RawMessage) { lines.write(line) })
			if err != nil {
				lines.write(failed("node_away", err))
				return
			}
			lines.write(last)
			return
		}
		o, err := here.options(r.Context(), name, query)
		if err != nil {
			refuse(w, http.StatusBadRequest, "bad_request", err.Error())
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		lines.write(here.run(r.Context(), o, lines.write))
	}
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
