package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"
)

// call makes a generated call and reads the answer, bytes or JSON. It is repeated where nothing can
// be done twice by that: if it only asks or sets, or if the server said that it did nothing.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, body, answer any) error {
	rq := request{method: method, path: path, query: query, asks: true}
	if body != nil {
		var err error
		if rq.body, err = json.Marshal(body); err != nil {
			return fmt.Errorf("client: %s %s: %w", method, path, err)
		}
		rq.contentType = "application/json"
	}
	return c.repeat(ctx, func(ctx context.Context) error {
		r, err := c.do(ctx, rq)
		if err == nil {
			defer r.Body.Close()
			err = read(r, answer)
		}
		if e, ok := errors.AsType[*Error](err); method == http.MethodPost && err != nil && (!ok || e.Status != 429 && e.Status != 503) {
			return once{err}
		}
		return err
	})
}

func read(r *http.Response, answer any) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("client: read the answer: %w", err)
	}
	if raw, ok := answer.(*[]byte); ok {
		*raw = body
		return nil
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return once{fmt.Errorf("client: read the answer: %w", err)}
	}
	return nil
}

// once is an error after which nothing is repeated.
type once struct{ error }

func (e once) Unwrap() error { return e.error }

// repeat tries until there is no error, one that will be there again, or no time.
func (c *Client) repeat(ctx context.Context, try func(context.Context) error) error {
	b := backoff{retry: c.retry}
	for {
		attempt, cancel := context.WithTimeout(ctx, c.retry.Attempt)
		err := try(attempt)
		cancel()
		if err == nil {
			return nil
		}
		if stop := b.wait(ctx, err); stop != nil {
			return stop
		}
	}
}

// backoff is the waits between tries.
type backoff struct {
	retry  Retry
	next   time.Duration
	failed time.Time // when the first try did; zero: none did
}

// wait waits until it is time to try again after an error, or returns what to give up with.
func (b *backoff) wait(ctx context.Context, err error) error {
	if final, ok := errors.AsType[once](err); ok {
		return final.error
	}
	e, refused := errors.AsType[*Error](err)
	if ctx.Err() != nil || refused && !e.Temporary() {
		return err
	}
	now := time.Now()
	if b.failed.IsZero() {
		b.failed, b.next = now, b.retry.First
	}
	pause := b.next/2 + rand.N(b.next/2+1)
	b.next = min(2*b.next, b.retry.Longest)
	if refused {
		pause = max(pause, e.RetryAfter)
	}
	if now.Add(pause).Sub(b.failed) > b.retry.For {
		return err
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return err
	}
}

// reset is for when something has succeeded.
func (b *backoff) reset() { b.failed = time.Time{} }

// request is one that can be made several times.
type request struct {
	method, path string
	query        url.Values
	header       http.Header
	contentType  string
	body         []byte
	stream       func() io.Reader // in place of body: makes one for each try
	asks         bool             // of the state, so that a position is sent
}

// do makes a request, a second time with another token or position if the server knows the first
// one no longer. Its error is an [*Error] if the server answers anything but success.
func (c *Client) do(ctx context.Context, rq request) (*http.Response, error) {
	refused := ""
	for {
		token, err := c.token.get(ctx, refused)
		if err != nil {
			return nil, err
		}
		r, err := c.send(ctx, rq, token)
		if err != nil {
			return nil, err
		}
		if r.StatusCode < 300 {
			c.position.note(r.Header)
			return r, nil
		}
		e := errorOf(r)
		r.Body.Close()
		switch {
		case r.StatusCode == http.StatusUnauthorized && token != refused:
			refused = token
		case rq.asks && e.Code == CodeForeignCursor && e.Field == positionHeader && c.position.forget():
		default:
			return nil, e
		}
	}
}

func (c *Client) send(ctx context.Context, rq request, token string) (*http.Response, error) {
	var body io.Reader
	switch {
	case rq.stream != nil:
		body = rq.stream()
	case rq.body != nil:
		body = bytes.NewReader(rq.body)
	}
	address := c.url + rq.path
	if len(rq.query) > 0 {
		address += "?" + rq.query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, rq.method, address, body)
	if err != nil {
		return nil, once{fmt.Errorf("client: %w", err)}
	}
	for name, values := range rq.header {
		r.Header[name] = values
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("User-Agent", "receiptd-go/"+Version)
	if rq.contentType != "" {
		r.Header.Set("Content-Type", rq.contentType)
	}
	if rq.asks {
		c.position.set(r.Header)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return answer, nil
}

// path puts ids where the format has %s.
func path(format string, ids ...any) string {
	var b strings.Builder
	for _, id := range ids {
		text := url.PathEscape(fmt.Sprint(id))
		if text == "." || text == ".." {
			text = strings.ReplaceAll(text, ".", "%2E")
		}
		before, after, _ := strings.Cut(format, "%s")
		b.WriteString(before + text)
		format = after
	}
	return b.String() + format
}

// set puts a parameter into a query, unless it is left out.
func set(query url.Values, name string, value any) {
	v := reflect.ValueOf(value)
	if v.IsZero() {
		return
	}
	if v.Kind() != reflect.Slice {
		query.Set(name, fmt.Sprint(value))
		return
	}
	for i := range v.Len() {
		query.Add(name, fmt.Sprint(v.Index(i)))
	}
}
