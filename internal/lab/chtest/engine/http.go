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
// body, inserts in the parameter query with blocks in the body, settings in further parameters. No
// compression, no authorization.
//
// Concurrent statements wait for each other.
type Handler struct {
	Engine *Engine

	rowsRead atomic.Uint64
}

// rowsReadPath is where the handler reports how many rows of tables all statements have read.
const rowsReadPath = "/rows-read"

// hello is what clickhouse-go asks first, and the only answer it reads with a protocol version of
// its own. From then on it reads with the revision that it was told: the library's, 0.
const hello = "SELECT displayName(), version(), revision(), timezone()"

// paramRevision is the parameter with the protocol version that the answer to hello is to be in.
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
	_, _ = w.Write(result.Data) // a client that is gone needs no answer
}

// format is the end of an insert as clickhouse-go sends it.
var format = regexp.MustCompile(`(?i)\s+FORMAT\s+Native\s*$`)

func withoutFormat(sql string) string { return format.ReplaceAllString(sql, "") }

// transport are the parameters that are not settings.
var transport = []string{
	"query", "query_id", "quota_key", "default_format", "user", "password", "session_id", paramRevision,
	"compress", "decompress", "network_compression_method", "wait_end_of_query", "buffer_size", "database",
}

// settings returns the statements that put the parameters into effect, and those that undo it.
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

// exception finds the number in an error text of ClickHouse.
var exception = regexp.MustCompile(`Code: (\d+)\.`)

func fail(w http.ResponseWriter, err error) {
	if m := exception.FindStringSubmatch(err.Error()); m != nil {
		w.Header().Set("X-ClickHouse-Exception-Code", m[1])
	}
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

// hello answers with the engine's own values, except for the revision.
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
