package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// oneAnswer is a server that has one thing to say.
type oneAnswer struct {
	status int
	header http.Header
	body   []byte
}

func (a oneAnswer) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Header: a.header, Body: io.NopCloser(bytes.NewReader(a.body)), Request: r}, nil
}

// FuzzClientAnswer: whatever a server answers to a call, the call ends with the answer or an error,
// which says the status and no wish to come back in less than no time; what it tells of positions
// is told as such to the next call, or not at all; a stream hands over whole events, in order, and
// goes on after the last of them.
func FuzzClientAnswer(f *testing.F) {
	for _, text := range []string{
		`{"apps":[{"org":"a","app":"b"}]}`, `null`, ``, `[[`, `{"error":{"code":"busy","message":"m","index":-7}}`, `{"error":{"code":"ambiguous","conversations":[null]}}`, `<html>`,
		"event: read\nid: 7\ndata: {\"message\":\"m\"}\n\nevent: closing\ndata: {\"reason\":\"x\"}\n\n", ": quiet\n\nevent: resync\n\nevent: statistic\nid: a\ndata: 7\ndata: 8\n\n", "event:\n\n", "id\ndata\n\n",
	} {
		for _, status := range []int{200, 204, 302, 400, 401, 429, 503} {
			f.Add(status, "0:7,1:9", "1122334455667788", "3", []byte(text))
			f.Add(status, "x", "@", "9223372036854775807", []byte(text))
			f.Add(status, "2147483647:1,0:-1", "", "Wed, 21 Oct 2015 07:28:00 GMT", []byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, status int, at, log, after string, body []byte) {
		header := http.Header{}
		header.Set(positionHeader, at)
		header.Set(logHeader, log)
		header.Set("Retry-After", after)
		c, err := New(Config{App: "a/b", Token: Key("k"), HTTP: &http.Client{Transport: oneAnswer{status, header, body}}, Retry: Retry{For: -1}})
		if err != nil {
			t.Fatal(err)
		}
		check := func(err error) {
			e, refused := errors.AsType[*Error](err)
			if refused && (e.Status != status && e.Status != 0 || e.RetryAfter < 0 || e.Error() == "") {
				t.Errorf("%d %q, come back after %q: %+v", status, body, after, e)
			}
		}
		_, err = c.GetApps(t.Context())
		check(err)
		if told := c.position.text(); told != "" {
			var again position
			if err := again.add(told); err != nil || again.text() != told {
				t.Errorf("%q of log %q is told as %q, %v", at, log, told, err)
			}
		}
		var answer struct{ Positions []Position }
		if json.Unmarshal(body, &answer) == nil {
			c.position.raise(answer.Positions)
			if told := c.position.text(); told != "" && new(position).add(told) != nil {
				t.Errorf("after %q positions are told as %q", body, told)
			}
		}
		followed(t, c, status, body, check)
	})
}

// followed follows one connection, after which nothing is repeated.
func followed(t *testing.T, c *Client, status int, body []byte, check func(error)) {
	events, last := 0, ""
	fl := follower{c: c, path: "/", yield: func(e StreamEvent, err error) bool {
		events++
		if e.Name == "" || e.Data == nil || err != nil {
			t.Errorf("%q: the event %+v, %v", body, e, err)
		}
		if e.Name == "resync" {
			last = ""
		}
		if e.ID != "" {
			last = e.ID
		}
		return events < 3
	}}
	err := fl.connect(context.Background())
	if check(err); err == nil && !fl.over {
		t.Errorf("%d %q: the end of a stream is no error", status, body)
	}
	if fl.over && events != 3 || events > strings.Count(string(body), "event") || !fl.over && fl.last != last {
		t.Errorf("%d %q: %d events, goes on after %q, want %q", status, body, events, fl.last, last)
	}
}
