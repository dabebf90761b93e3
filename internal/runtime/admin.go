package runtime

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"

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
		{Method: "POST", Path: "/v1/admin/" + callVerify, Handler: a.rebuild(callVerify)},
		{Method: "POST", Path: "/v1/admin/" + callReplay, Handler: a.rebuild(callReplay)},
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
