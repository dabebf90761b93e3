package ctl

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/consumers/projector"
)

// answers is a server, or what somebody put in its place: it says the same to everything.
type answers struct {
	status int
	body   []byte
}

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(a.body)), Request: r}, nil
}

func clientOf(t testing.TB, status int, body []byte) *Client {
	c, err := NewClient(defaultServer, "k")
	if err != nil {
		t.Fatal(err)
	}
	c.http.Transport = answers{status, body}
	return c
}

// FuzzAnswer: whatever is answered, each way to read it ends, with an error that a terminal may be
// given or with what was said; a tail writes whole lines with a partition, no more of them than it
// was to, and goes on after the last one.
func FuzzAnswer(f *testing.F) {
	for _, text := range []string{
		`{"apps":[{"org":"acme","app":"chat"}]}`, `{"error":{"code":"busy","message":"later\u001b[2J"}}`, ``, `null`, `[[[[`, "<html>",
		`{"progress":{"events":1}}` + "\n" + `{"result":{"equal":true,"partitions":[{"partition":0}]}}` + "\n", `{"error":{"message":"\u009b"}}` + "\n", `{}{}{}`,
		`{"cursor":"a"}` + "\n" + `{"partition":0,"sequence":1,"cursor":"b"}` + "\n" + `{"partition":0,"cursor":"c"`,
		`{"partition":null,"cursor":"b"}` + "\n", `{"cursor":7}` + "\n", "\n\n", `{"partition":1e400,"cursor":"x"}` + "\n",
	} {
		f.Add(200, []byte(text))
		f.Add(503, []byte(text))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		c := clientOf(t, status, body)
		check := func(err error) {
			if err == nil {
				return
			}
			if said := err.Error(); TerminalSafe(said) != said {
				t.Errorf("%d %q: the error %q", status, body, said)
			}
		}
		apps, err := c.Apps(t.Context())
		if check(err); err != nil && len(apps) > 0 {
			t.Errorf("%q: apps %q and %v", body, apps, err)
		}
		text, err := c.Text(t.Context(), "/", nil)
		if check(err); err == nil && !bytes.Equal(text, body) {
			t.Errorf("%q is read as %q", body, text)
		}
		_, err = c.Rebuild(t.Context(), "verify", nil, func(projector.Progress) {})
		if check(err); err == nil && !bytes.Contains(bytes.ToLower(body), []byte(`"result"`)) && !bytes.Contains(body, []byte(`\u`)) {
			t.Errorf("%q: a result", body)
		}
		check(c.PostEvents(t.Context(), "/", nil, "k", nil, new(any)))
		tailed(t, c, body)
	})
}

// tailed follows one connection.
func tailed(t *testing.T, c *Client, body []byte) {
	var out bytes.Buffer
	x := newTail(c, &out, TailOptions{From: FromStart, Count: 3})
	err := x.follow(t.Context())
	_ = x.out.Flush()
	switch {
	case err == nil:
		t.Fatalf("%q: the end of a connection is no error", body)
	case x.written > 3 || errors.Is(err, errCounted) != (x.written == 3):
		t.Errorf("%q: %d lines, %v", body, x.written, err)
	case strings.Count(out.String(), "\n") != x.written || !bytes.HasSuffix(append([]byte("\n"), out.Bytes()...), []byte("\n")):
		t.Errorf("%q: %d lines are %q", body, x.written, out.String())
	case x.written > 0 && x.cursor == "":
		t.Errorf("%q: there is nowhere to go on", body)
	}
}

// endless is an answer that goes on for ever.
type endless struct{ text string }

func (e endless) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(repeated(e)), Request: r}, nil
}

type repeated endless

func (r repeated) Read(p []byte) (int, error) {
	for n := 0; n < len(p); {
		n += copy(p[n:], r.text)
	}
	return len(p), nil
}

// An answer, or a line of one, that does not end takes a bounded part of the memory.
func TestAnswerWithoutEnd(t *testing.T) {
	t.Parallel()
	c := clientOf(t, 200, nil)
	c.http.Transport = endless{` `}
	c.http.Timeout = time.Minute
	if err := c.Call(t.Context(), "GET", "/", nil, nil, new(any)); !errors.Is(err, errTooLong) {
		t.Errorf("an answer: %v", err)
	}
	if _, err := c.Text(t.Context(), "/", nil); !errors.Is(err, errTooLong) {
		t.Errorf("a text: %v", err)
	}
	if _, err := c.Rebuild(t.Context(), "verify", nil, nil); !errors.Is(err, errTooLong) {
		t.Errorf("a rebuild: %v", err)
	}
	err := c.Tail(t.Context(), io.Discard, TailOptions{From: FromNow})
	if !errors.Is(err, errTooLong) {
		t.Errorf("a tail: %v", err)
	}
}
