package ctl

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// The tail of the log, as server and client agree on it.
//
// GET /v1/admin/tail?app=ORG/APP&from=now|start&cursor=CURSOR answers with lines of JSON, for as
// long as the client listens. A line with "partition" is an event:
// {"partition","sequence","index","stored","app", ...the event as JSON,"cursor"}. A line
// with only "cursor" is a heartbeat: the server sends one first, and again whenever nothing else
// was sent for 15 seconds. The cursor of a line stands for every event, of all partitions, up to
// and including that line; a request with it continues after them, and from is then ignored. A
// cursor whose events have left the log is answered with 410.
const tailPath = "/v1/admin/tail"

// silence is how long a server may send nothing before the connection counts as lost: three
// heartbeats.
const silence = 45 * time.Second

// Values of TailOptions.From.
const (
	FromNow   = "now"
	FromStart = "start"
)

// TailOptions say which events Tail follows.
type TailOptions struct {
	// App is "ORG/APP", or empty for all apps.
	App string
	// From is FromNow or FromStart.
	From string
	// Cursor, if not empty, continues after the line that had it.
	Cursor string
	// Count ends the tail after that many events; 0 = never.
	Count int
	// Lost, if set, is told of each lost connection and the wait before the next attempt.
	Lost func(err error, wait time.Duration)
}

// errCounted ends a tail that has written its count.
var errCounted = errors.New("ctl: tail: count reached")

// Tail writes events to w, one JSON line each, until ctx ends or the count is reached: both are
// nil. A lost connection is made again, with growing waits, and continues after the last line that
// was written, so that no event is missed or written twice. What cannot be mended is returned: a
// server that cannot be reached at the start, a refusal, an error of w.
func (c *Client) Tail(ctx context.Context, w io.Writer, options TailOptions) error {
	return newTail(c, w, options).run(ctx)
}

// tail is the state of one Tail call across its connections.
type tail struct {
	client    *Client
	options   TailOptions
	out       *bufio.Writer
	wait      *backoff.ExponentialBackOff
	silence   time.Duration
	connected bool // once
	cursor    string
	written   int
}

func newTail(c *Client, w io.Writer, options TailOptions) *tail {
	return &tail{
		client: c, options: options, out: bufio.NewWriterSize(w, 64<<10), cursor: options.Cursor, silence: silence,
		wait: backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(200*time.Millisecond),
			backoff.WithMaxInterval(15*time.Second),
			backoff.WithMaxElapsedTime(0), // for ever
		),
	}
}

func (t *tail) run(ctx context.Context) error {
	connect := func() error {
		err := t.follow(ctx)
		if permanent(err) || err != nil && !t.connected {
			return backoff.Permanent(err)
		}
		return err
	}
	err := backoff.RetryNotify(connect, backoff.WithContext(t.wait, ctx), func(err error, wait time.Duration) {
		if t.options.Lost != nil {
			t.options.Lost(err, wait)
		}
	})
	if ctx.Err() != nil || errors.Is(err, errCounted) {
		err = nil
	}
	if failed := t.out.Flush(); err == nil && failed != nil {
		err = fmt.Errorf("write: %w", failed)
	}
	return err
}

// finalError is an error that no new connection mends: of the writer, or of the lines' format.
type finalError struct{ error }

// Unwrap returns the error itself.
func (e finalError) Unwrap() error { return e.error }

// permanent reports whether a new connection would end the same way.
func permanent(err error) bool {
	var refused *Error
	if errors.As(err, &refused) {
		return !refused.Temporary()
	}
	var final finalError
	return errors.Is(err, errCounted) || errors.As(err, &final)
}

// follow reads one connection until it ends, which is always an error.
func (t *tail) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	query := url.Values{"from": {t.options.From}}
	if t.options.App != "" {
		query.Set("app", t.options.App)
	}
	if t.cursor != "" {
		query.Set("cursor", t.cursor)
	}
	body, err := t.client.Stream(ctx, http.MethodGet, tailPath, query, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	t.connected = true

	watch := time.AfterFunc(t.silence, func() { cancel(fmt.Errorf("nothing received for %s", t.silence)) })
	defer watch.Stop()
	lines := bufio.NewReaderSize(body, 64<<10)
	for {
		line, err := readLine(lines)
		if errors.Is(err, errTooLong) {
			return finalError{fmt.Errorf("a line: %w", err)}
		}
		if err != nil {
			return fmt.Errorf("connection lost: %w", lost(ctx, err)) // a cut line is read again
		}
		watch.Reset(t.silence)
		if err := t.take(line); err != nil {
			return err
		}
		if buffered, _ := lines.Peek(lines.Buffered()); bytes.IndexByte(buffered, '\n') >= 0 {
			continue
		}
		if err := t.out.Flush(); err != nil {
			return finalError{fmt.Errorf("write: %w", err)}
		}
	}
}

// readLine reads a line up to its end. The error is [errTooLong] for one beyond [maxLine], and that
// of the connection for one that is cut off.
func readLine(r *bufio.Reader) (line []byte, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if line = append(line, part...); len(line) > maxLine {
			return nil, errTooLong
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// lost is why a read failed: the reason the connection was given up, if it was.
func lost(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// take writes a line, if it is an event, and moves the cursor past it.
func (t *tail) take(line []byte) error {
	var head struct {
		Partition *int   `json:"partition"`
		Cursor    string `json:"cursor"`
	}
	if err := json.Unmarshal(line, &head); err != nil {
		return finalError{fmt.Errorf("decode a line: %w", err)}
	}
	if head.Cursor == "" {
		return finalError{fmt.Errorf("a line has no cursor: %.100q", line)}
	}
	if head.Partition != nil {
		if _, err := t.out.Write(line); err != nil {
			return finalError{fmt.Errorf("write: %w", err)}
		}
		t.written++
	}
	t.cursor = head.Cursor
	t.wait.Reset() // this connection works
	if t.options.Count > 0 && t.written == t.options.Count {
		return errCounted
	}
	return nil
}
