package runtime

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/receiptd/receiptd/internal/gateway/httpapi"
)

// admin serves what receiptctl asks of a running server. The gateway only lets in those who have
// the admin key.
type admin struct {
	core    *Core
	backups sync.Mutex    // held while one is under way
	tails   chan struct{} // has one for each that is open
}

const (
	// tailsMost are open at a time: each reads the log by consumers of its own.
	tailsMost = 64
	// adminPatience is how long a client may leave its socket full, or keep its question to itself.
	// These calls have no deadline beside it. It is longer than that of streams, for a backup's
	// client writes to a disk.
	adminPatience = time.Minute
)

// adminCalls are what schema/openapi.yaml has below /v1/admin/. Rebuilds and tails, which may take
// for ever, end with the context.
func adminCalls(ctx context.Context, core *Core, scrub, repartition http.Handler) (calls []httpapi.AdminCall) {
	a := &admin{core: core, tails: make(chan struct{}, tailsMost)}
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
			next.ServeHTTP(&patientWriter{ResponseWriter: w, limit: adminPatience, http1: r.ProtoMajor == 1}, r.WithContext(either))
		})
		calls = append(calls, c)
	}
	return calls
}

// patientWriter writes an answer that may have no end: a write fails once the client has left its
// socket full for so long, so that whoever reads nothing is let go of.
type patientWriter struct {
	http.ResponseWriter
	limit time.Duration
	http1 bool
}

// Unwrap is for [http.ResponseController].
func (w *patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write writes a part of the answer.
func (w *patientWriter) Write(p []byte) (int, error) {
	defer w.hurry()()
	return w.ResponseWriter.Write(p)
}

// FlushError is for [http.ResponseController].
func (w *patientWriter) FlushError() error {
	defer w.hurry()()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// hurry bounds what is written until done is called. A writer without deadlines stays without.
func (w *patientWriter) hurry() (done func()) {
	control := http.NewResponseController(w.ResponseWriter)
	_ = control.SetWriteDeadline(time.Now().Add(w.limit))
	return func() {
		if !w.http1 { // there it would end the answer, even if nothing is written
			_ = control.SetWriteDeadline(time.Time{})
		}
	}
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
