package engine

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"
)

// Handler speaks ClickHouse's HTTP protocol as far as clickhouse-go needs it: statements in the
// body; inserts in the parameter query, with blocks in the body; settings in further parameters.
// There is no compression and no authorization. One statement runs at a time.
type Handler struct {
	Engine *Engine

	rowsRead atomic.Uint64
}

// rowsReadPath answers with the number of rows of tables that all statements have read so far.
const rowsReadPath = "/rows-read"

// hello is the first query of clickhouse-go, and the only one whose answer it reads in the protocol
// revision that it asks for. It reads all others in the revision that this answer names, which is
// the library's: 0.
const hello = "SELECT displayName(), version(), revision(), timezone()"

// paramRevision is the parameter with the protocol revision for the answer to hello.
const paramRevision = "client_protocol_version"

// ServeHTTP runs one statement.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == rowsReadPath {
		fmt.Fprintln(w, h.rowsRead.Load())
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		fail(w, fmt.Errorf("read body: %w", err))
		return
	}
	params := r.URL.Query()
	before, after := settings(params)
	defer func() {
		for _, sql := range after {
			_, _ = h.Engine.Query(sql)
		}
	}()
	if sql := params.Get("query"); sql != "" && len(body) > 0 {
		if err := h.Engine.Insert(withoutFormat(sql), body, before...); err != nil {
			fail(w, err)
		}
		return
	}
	sql := params.Get("query") + string(body)
	if sql == hello {
		h.hello(w, params.Get(paramRevision))
		return
	}
	result, err := h.Engine.Query(sql, before...)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("X-ClickHouse-Format", native)
	h.rowsRead.Add(result.RowsRead)
	_, _ = w.Write(result.Data) // if the client is gone, it needs no answer
}

// format is how inserts of clickhouse-go end.
var format = regexp.MustCompile(`(?i)\s+FORMAT\s+Native\s*$`)

func withoutFormat(sql string) string { return format.ReplaceAllString(sql, "") }

// transport has the parameters that are not settings.
var transport = []string{
	"query", "query_id", "quota_key", "default_format", "user", "password", "session_id", paramRevision,
	"compress", "decompress", "network_compression_method", "wait_end_of_query", "buffer_size", "database",
}

// settings returns the statements that set what the parameters say, and those that undo it.
func settings(params url.Values) (before, after []string) {
	if db := params.Get("database"); db != "" {
		before = append(before, "USE "+quoteName(db))
		after = append(after, "USE default")
	}
	for name := range params {
		if slices.Contains(transport, name) {
			continue
		}
		before = append(before, fmt.Sprintf("SET %s = %s", name, quote(params.Get(name))))
		if !strings.HasPrefix(name, "param_") {
			after = append(after, fmt.Sprintf("SET %s = DEFAULT", name))
		}
	}
	return before, after
}

func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

func quoteName(s string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(s) + "`"
}

// exception finds the code in an error of ClickHouse.
var exception = regexp.MustCompile(`Code: (\d+)\.`)

func fail(w http.ResponseWriter, err error) {
	if m := exception.FindStringSubmatch(err.Error()); m != nil {
		w.Header().Set("X-ClickHouse-Exception-Code", m[1])
	}
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

// hello answers hello with what the engine says, except for the revision.
func (h *Handler) hello(w http.ResponseWriter, revision string) {
	result, err := h.Engine.Query("SELECT displayName(), version(), 0::UInt32, timezone()")
	if err != nil {
		fail(w, err)
		return
	}
	block := proto.Block{ServerContext: &column.ServerContext{}}
	if err := block.Decode(chproto.NewReader(bytes.NewReader(result.Data)), 0); err != nil {
		fail(w, fmt.Errorf("decode hello: %w", err))
		return
	}
	var asked uint64
	if _, err := fmt.Sscan(revision, &asked); err != nil {
		fail(w, fmt.Errorf("%s: %w", paramRevision, err))
		return
	}
	var buf chproto.Buffer
	if err := block.Encode(&buf, asked); err != nil {
		fail(w, fmt.Errorf("encode hello: %w", err))
		return
	}
	_, _ = w.Write(buf.Buf)
}
