// Package ctl is receiptctl's side of a running server: its HTTP client, the choice of the server
// or the data to work on, and the following of the log.
//
// What programs ask of an app is in schema/client, whose types receiptctl reads answers into. Its
// calls are made here, since they are others: paths of the operator, of no app or of all of them;
// answers that are printed to the letter, or are lines or bytes without an end; events as somebody
// wrote them; one attempt, whose error a person reads.
package ctl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// dialTimeout bounds connecting. Answers have no bound of their own: a replay or a stream takes
// what it takes, and the caller's context ends it.
const dialTimeout = 5 * time.Second

// What is read of a server that may be another one than it should be, or broken, has bounds.
const (
	// maxErrorBody is how much of a failed answer is read.
	maxErrorBody = 64 << 10
	// maxAnswer is the most of an answer that is read as a whole; the largest answer imports, with
	// an outcome for each event.
	maxAnswer = 64 << 20
	// maxLine is the most of a line in an answer without an end: an event with all its members.
	maxLine = 16 << 20
)

// errTooLong is the error for an answer or a line beyond its bound.
var errTooLong = errors.New("it is longer than any of receiptd's: is this the server that was meant?")

// Client talks to one server with the admin key. It is safe for concurrent use.
type Client struct {
	base *url.URL
	key  string
	http *http.Client
}

// NewClient returns a client of the server at a URL like http://127.0.0.1:8080.
func NewClient(server, key string) (*Client, error) {
	base, err := url.Parse(server)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, fmt.Errorf("%q is not a URL like %s", server, defaultServer)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = (&net.Dialer{Timeout: dialTimeout}).DialContext
	return &Client{base: base, key: key, http: &http.Client{Transport: transport}}, nil
}

// URL is the address of a path on the server.
func (c *Client) URL(path string) *url.URL { return c.base.JoinPath(path) }

// Key is the admin key.
func (c *Client) Key() string { return c.key }

// Error is an answer of the server other than a success.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Code and Message are from the answer's body; without one, Message is the status in
	// words.
	Code, Message string
}

// Error is the message with status and code.
func (e *Error) Error() string {
	return "server: " + TerminalSafe(e.Message) + " (" + TerminalSafe(strings.TrimSpace(strconv.Itoa(e.Status)+" "+e.Code)) + ")"
}

// Temporary reports whether the same request may succeed later: the server is overloaded, starting
// or draining.
func (e *Error) Temporary() bool {
	return e.Status == http.StatusTooManyRequests || e.Status >= 500 && e.Status != http.StatusNotImplemented
}

// Call sends in as JSON (nothing if nil) to a path like "/v1/admin/verify" and decodes the answer
// into out (ignored if nil). An answer other than a success is an [*Error].
func (c *Client) Call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	answer, err := c.Stream(ctx, method, path, query, in)
	if err != nil {
		return err
	}
	defer answer.Close()
	if out == nil {
		return nil
	}
	return decode(path, answer, out)
}

// decode reads an answer as a whole.
func decode(path string, answer io.Reader, out any) error {
	text, err := readAll(answer)
	if err == nil {
		err = json.Unmarshal(text, out)
	}
	if err != nil {
		return fmt.Errorf("decode the answer of %s: %w", path, err)
	}
	return nil
}

func readAll(answer io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(answer, maxAnswer+1))
	if err == nil && len(text) > maxAnswer {
		err = errTooLong
	}
	return text, err
}

// Text asks for an answer that is no JSON, or is passed on to the letter, and returns all of it. An
// answer other than a success is an [*Error].
func (c *Client) Text(ctx context.Context, path string, query url.Values) ([]byte, error) {
	answer, err := c.Stream(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	text, err := readAll(answer)
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", path, err)
	}
	return text, nil
}

// Stream sends in as JSON (nothing if nil) and returns the body of the answer, to be read as it
// comes and closed by the caller. Cancelling ctx ends it. An answer other than a success is an
// [*Error].
func (c *Client) Stream(ctx context.Context, method, path string, query url.Values, in any) (io.ReadCloser, error) {
	var body io.Reader
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode the request of %s: %w", path, err)
		}
		body = bytes.NewReader(encoded)
	}
	return c.send(ctx, method, path, query, http.Header{"Content-Type": {"application/json"}}, body)
}

// Lines asks for lines of a media type, which it writes, and returns the header of the answer. An
// answer other than a success is an [*Error].
func (c *Client) Lines(ctx context.Context, path string, query url.Values, mediaType string, w io.Writer) (http.Header, error) {
	answer, err := c.do(ctx, http.MethodGet, path, query, http.Header{"Accept": {mediaType}}, nil)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(w, answer.Body); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", path, err)
	}
	return answer.Header, nil
}

// PostEvents sends lines of events to a path, with a key that names the request, so that it may be
// sent again, and decodes the answer into out. An answer other than a success is an [*Error].
func (c *Client) PostEvents(ctx context.Context, path string, query url.Values, key string, lines []byte, out any) error {
	headers := http.Header{"Content-Type": {"application/x-ndjson"}, "Idempotency-Key": {key}}
	answer, err := c.send(ctx, http.MethodPost, path, query, headers, bytes.NewReader(lines))
	if err != nil {
		return err
	}
	defer answer.Close()
	return decode(path, answer, out)
}

func (c *Client) send(ctx context.Context, method, path string, query url.Values, headers http.Header, body io.Reader) (io.ReadCloser, error) {
	answer, err := c.do(ctx, method, path, query, headers, body)
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

// do sends a request, and returns an answer that is a success.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, headers http.Header, body io.Reader) (*http.Response, error) {
	target := c.base.JoinPath(path)
	target.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return nil, fmt.Errorf("make the request of %s: %w", path, err)
	}
	if body == nil {
		headers.Del("Content-Type")
	}
	request.Header = headers
	request.Header.Set("Authorization", "Bearer "+c.key)
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if answer.StatusCode/100 == 2 {
		return answer, nil
	}
	defer answer.Body.Close()
	return nil, decodeError(answer)
}

// unreachable says which server did not answer and how to name another one, without the method and
// path that url.Error adds.
func (c *Client) unreachable(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return fmt.Errorf("no answer from %s (--server): %w", c.base.Redacted(), err)
}

// errorBody is the body of every failed answer.
type errorBody struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

func decodeError(answer *http.Response) error {
	var body errorBody
	text, _ := io.ReadAll(io.LimitReader(answer.Body, maxErrorBody))
	if json.Unmarshal(text, &body) != nil || body.Error.Message == "" {
		body.Error.Message = http.StatusText(answer.StatusCode)
	}
	return &Error{Status: answer.StatusCode, Code: body.Error.Code, Message: body.Error.Message}
}
