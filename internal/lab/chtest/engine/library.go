package engine

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// library has the functions of libchdb that are called. Handles and results are pointers which are
// opaque to us.
type library struct {
	signals       func(enabled int32)
	connect       func(argc int32, argv **byte) *uintptr
	closeConn     func(conn *uintptr)
	query         func(conn uintptr, sql *byte, n uintptr, format *byte, formatLen uintptr) uintptr
	buffer        func(result uintptr) *byte
	length        func(result uintptr) uintptr
	failure       func(result uintptr) string
	rowsRead      func(result uintptr) uint64
	destroy       func(result uintptr)
	insert        func(conn uintptr, sql *byte, n uintptr, format *byte, formatLen uintptr) uintptr
	insertAppend  func(stream uintptr, data *byte, n uintptr) int32
	insertDone    func(stream uintptr) uintptr
	insertFailure func(stream uintptr) string
	insertDestroy func(stream uintptr)
}

func load(path string) (*library, error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", path, err)
	}
	l := &library{}
	for name, f := range map[string]any{
		"chdb_set_signal_handlers_enabled": &l.signals,
		"chdb_connect":                     &l.connect,
		"chdb_close_conn":                  &l.closeConn,
		"chdb_query_n":                     &l.query,
		"chdb_result_buffer":               &l.buffer,
		"chdb_result_length":               &l.length,
		"chdb_result_error":                &l.failure,
		"chdb_result_storage_rows_read":    &l.rowsRead,
		"chdb_destroy_query_result":        &l.destroy,
		"chdb_stream_insert_n":             &l.insert,
		"chdb_stream_append":               &l.insertAppend,
		"chdb_stream_done":                 &l.insertDone,
		"chdb_stream_insert_error":         &l.insertFailure,
		"chdb_destroy_insert_stream":       &l.insertDestroy,
	} {
		symbol, err := purego.Dlsym(handle, name)
		if err != nil {
			return nil, fmt.Errorf("look up %s: %w", name, err)
		}
		purego.RegisterFunc(f, symbol)
	}
	return l, nil
}

// Engine is an open data directory, of which a process can have one. It runs one statement at a
// time.
type Engine struct {
	mu   sync.Mutex
	lib  *library
	conn *uintptr
}

// Open loads the library and opens the data directory, which it makes if it is missing.
func Open(library, dir string) (*Engine, error) {
	l, err := load(library)
	if err != nil {
		return nil, err
	}
	l.signals(0) // its handlers would take signals away from Go
	args := [][]byte{[]byte("clickhouse\x00"), []byte("--path=" + dir + "\x00")}
	argv := make([]*byte, len(args))
	var pinned runtime.Pinner
	defer pinned.Unpin()
	for i, a := range args {
		argv[i] = &a[0]
		pinned.Pin(argv[i])
	}
	conn := l.connect(int32(len(argv)), &argv[0])
	if conn == nil || *conn == 0 {
		return nil, fmt.Errorf("open %s: the library failed and gave no reason", dir)
	}
	return &Engine{lib: l, conn: conn}, nil
}

// Close closes the data directory.
func (e *Engine) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lib.closeConn(e.conn)
}

// Result is the result of a statement.
type Result struct {
	// Data is in the format that was asked for.
	Data []byte
	// RowsRead is the number of rows of tables that were read for it.
	RowsRead uint64
}

const native = "Native"

// Query runs a statement. Its result is in ClickHouse's Native format, revision 0. The statements
// before are run first, with those of no other caller in between.
func (e *Engine) Query(sql string, before ...string) (Result, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.prepare(before); err != nil {
		return Result{}, err
	}
	return e.query(sql)
}

// Insert runs an INSERT statement, given without its FORMAT, with blocks in Native format, revision
// 0. For before see Query.
func (e *Engine) Insert(sql string, data []byte, before ...string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.prepare(before); err != nil {
		return err
	}
	stream := e.lib.insert(*e.conn, start(sql), uintptr(len(sql)), start(native), uintptr(len(native)))
	defer e.lib.insertDestroy(stream)
	if text := e.lib.insertFailure(stream); text != "" {
		return errors.New(text)
	}
	if len(data) > 0 && e.lib.insertAppend(stream, &data[0], uintptr(len(data))) != 0 {
		return fmt.Errorf("insert: %s", e.lib.insertFailure(stream))
	}
	result := e.lib.insertDone(stream)
	defer e.lib.destroy(result)
	return e.failed(result)
}

func (e *Engine) prepare(before []string) error {
	for _, sql := range before {
		if _, err := e.query(sql); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) query(sql string) (Result, error) {
	result := e.lib.query(*e.conn, start(sql), uintptr(len(sql)), start(native), uintptr(len(native)))
	if result == 0 {
		return Result{}, errors.New("no result")
	}
	defer e.lib.destroy(result)
	if err := e.failed(result); err != nil {
		return Result{}, err
	}
	r := Result{RowsRead: e.lib.rowsRead(result)}
	if n := e.lib.length(result); n > 0 {
		r.Data = append(r.Data, unsafe.Slice(e.lib.buffer(result), n)...)
	}
	return r, nil
}

func (e *Engine) failed(result uintptr) error {
	if text := e.lib.failure(result); text != "" {
		return errors.New(text)
	}
	return nil
}

// start points to the first byte of a string, which must not be empty.
func start(s string) *byte { return unsafe.StringData(s) }
