package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/receiptd/receiptd/schema/client"
)

// group makes a group of n readers, r0 and so on, and a message m1 to them.
func group(t *testing.T, c *client.Client, n int) {
	t.Helper()
	var members []client.ID
	for i := range n {
		members = append(members, fmt.Sprintf("r%d", i))
	}
	outcomes, err := c.Apply(bound(t), client.GroupCreated{Group: "team", Owner: "ann", Members: members},
		client.MessageSent{ID: "m1", From: "ann", Group: "team", Receipt: true})
	if err != nil || len(outcomes) != 2 || outcomes[1].Outcome != client.DecisionApplied {
		t.Fatal(outcomes, err)
	}
}

func reads(t *testing.T, c *client.Client) int {
	t.Helper()
	return must(c.GetMessage(bound(t), "m1", client.GetMessageParams{Group: "team"}))(t).Read
}

// The proxy cuts two of three connections after the server has answered. An event that was known by
// its id answers what it was answered first: applied; without ids it would be a duplicate.
func TestLostAnswersCountOnce(t *testing.T) {
	s := start(t)
	group(t, s.client(t, client.Config{}), 60)
	var n, cut atomic.Int32
	url := proxy(t, s, func(_ *http.Request, forward func() *http.Response) *http.Response {
		a := forward()
		if n.Add(1)%3 != 0 {
			cut.Add(1)
			return nil
		}
		return a
	})
	c := s.client(t, client.Config{URL: url})
	b := c.Batch(client.BatchOptions{Applied: true, Events: 7})
	var tickets []*client.Ticket
	for i := range 60 {
		tickets = append(tickets, must(b.Add(bound(t), client.MessageRead{Message: "m1", User: fmt.Sprintf("r%d", i), Group: "team"}))(t))
	}
	if err := b.Close(bound(t)); err != nil {
		t.Fatal(err)
	}
	for i, x := range tickets {
		outcomes := must(x.Wait(bound(t)))(t)
		if len(outcomes) != 1 || outcomes[0].Outcome != client.DecisionApplied {
			t.Errorf("receipt %d: %+v", i, outcomes)
		}
	}
	if got := reads(t, c); got != 60 || cut.Load() < 10 {
		t.Errorf("%d reads, %d answers lost", got, cut.Load())
	}
}

// "not known" and a cut connection are the same to a client: both are sent again with the ids of
// before.
func TestUnknownOutcomeIsSentAgain(t *testing.T) {
	s := start(t)
	group(t, s.client(t, client.Config{}), 1)
	var n atomic.Int32
	url := proxy(t, s, func(r *http.Request, forward func() *http.Response) *http.Response {
		a := forward()
		if r.Method == http.MethodPost && n.Add(1) < 3 {
			return refusal(503, "0", `{"error":{"code":"unknown_outcome","message":"it is not known"}}`)
		}
		return a
	})
	outcomes, err := s.client(t, client.Config{URL: url}).Apply(bound(t), client.MessageRead{Message: "m1", User: "r0", Group: "team"})
	if err != nil || n.Load() != 3 || outcomes[0].Outcome != client.DecisionApplied {
		t.Errorf("%+v %v, %d requests", outcomes, err, n.Load())
	}
}

func TestRetryAfterIsWaitedFor(t *testing.T) {
	s := start(t)
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		var first time.Time
		var waited time.Duration
		url := proxy(t, s, func(_ *http.Request, forward func() *http.Response) *http.Response {
			if first.IsZero() {
				first = time.Now()
				return refusal(status, "1", `{"error":{"code":"overloaded","message":"too much"}}`)
			}
			waited = time.Since(first)
			return forward()
		})
		c := s.client(t, client.Config{URL: url})
		if _, err := c.Send(bound(t), client.MessageSent{ID: "x", From: "ann", Peer: "ben"}); err != nil {
			t.Fatal(err)
		}
		if waited < time.Second {
			t.Errorf("%d: came back after %v", status, waited)
		}
	}
}

func TestRefusalsAreTyped(t *testing.T) {
	s := start(t)
	c := s.client(t, client.Config{})
	_, err := c.Send(bound(t), client.MessageSent{ID: "m", From: "ann", Peer: "ben"}, client.MessageRead{Message: "m", Peer: "ann"})
	e, ok := errors.AsType[*client.Error](err)
	if !ok || e.Status != 400 || e.Code != client.CodeInvalidEvent || e.Index != 1 || e.Field != "user" || e.Temporary() {
		t.Errorf("%#v", err)
	}
	_, err = c.GetMessage(bound(t), "m", client.GetMessageParams{})
	if e, ok := errors.AsType[*client.Error](err); !ok || e.Code != client.CodeMessageNotFound || e.Index != -1 || e.RequestID == "" {
		t.Errorf("%#v", err)
	}
	tired := s.client(t, client.Config{URL: "http://127.0.0.1:1", Retry: client.Retry{For: -1}})
	if _, err := tired.GetApp(bound(t)); err == nil {
		t.Error("an answer from nowhere")
	}
}

func TestMalformedEventFailsAlone(t *testing.T) {
	s := start(t)
	c := s.client(t, client.Config{})
	group(t, c, 3)
	for name, open := range map[string]func() sender{
		"batch":  func() sender { return c.Batch(client.BatchOptions{Applied: true, Delay: time.Hour}) },
		"stream": func() sender { return c.Stream(client.StreamOptions{Applied: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			b := open()
			good := must(b.Add(bound(t), client.MessageRead{Messages: []client.ID{"m1", "never"}, User: "r0", Group: "team", Strict: true}))(t)
			bad := must(b.Add(bound(t), client.MessageRead{Message: "m1", Group: "team"}))(t)
			also := must(b.Add(bound(t), client.MessageRead{Message: "m1", User: "r1", Group: "team"}))(t)
			flushed := b.Flush(bound(t))
			_, err := bad.Wait(bound(t))
			if e, ok := errors.AsType[*client.Error](err); !ok || e.Field != "user" || e.Index != 0 {
				t.Errorf("malformed: %v", err)
			}
			// A stream may have the answer before Flush begins to wait for answers.
			if told := errors.Is(flushed, err); !told && (name == "batch" || flushed != nil) {
				t.Errorf("malformed: %v, flush: %v", err, flushed)
			}
			if o, err := good.Wait(bound(t)); err != nil || len(o) != 2 || o[1].Index != 1 || o[1].Outcome != client.DecisionRejected {
				t.Errorf("before: %+v %v", o, err)
			}
			if o, err := also.Wait(bound(t)); err != nil || len(o) != 1 || o[0].Index != 0 {
				t.Errorf("after: %+v %v", o, err)
			}
			if err := b.Close(bound(t)); err != nil {
				t.Error(err)
			}
			if _, err := b.Add(bound(t), client.GroupLeft{Group: "team", User: "r2"}); !errors.Is(err, client.ErrClosed) {
				t.Error(err)
			}
		})
	}
	if got := reads(t, c); got != 2 {
		t.Errorf("%d reads", got)
	}
}

// sender is what a batch and a stream have in common.
type sender interface {
	Add(context.Context, client.Event) (*client.Ticket, error)
	Flush(context.Context) error
	Close(context.Context) error
}

// A server that answers nothing holds up those who hand events over, and Close gives up when told.
func TestUnansweredEventsAreBounded(t *testing.T) {
	s := start(t)
	for name, open := range map[string]func(c *client.Client) sender{
		"batch":  func(c *client.Client) sender { return c.Batch(client.BatchOptions{Events: 2, Unanswered: 4}) },
		"stream": func(c *client.Client) sender { return c.Stream(client.StreamOptions{Unanswered: 4}) },
	} {
		t.Run(name, func(t *testing.T) {
			silent := make(chan struct{})
			var once sync.Once
			answer := func() { once.Do(func() { close(silent) }) }
			t.Cleanup(answer)
			url := proxy(t, s, func(*http.Request, func() *http.Response) *http.Response {
				<-silent
				return nil
			})
			b := open(s.client(t, client.Config{URL: url}))
			var last *client.Ticket
			for range 4 {
				last = must(b.Add(bound(t), client.GroupLeft{Group: "g", User: "u"}))(t)
			}
			// Long enough that an event that fits would have been taken.
			soon, cancel := context.WithTimeout(bound(t), 50*time.Millisecond)
			defer cancel()
			if _, err := b.Add(soon, client.GroupLeft{Group: "g", User: "u"}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a fifth event: %v", err)
			}
			if err := b.Close(soon); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("close: %v", err)
			}
			if _, err := last.Wait(bound(t)); !errors.Is(err, client.ErrUnanswered) {
				t.Errorf("not answered: %v", err)
			}
		})
	}
}

// A try that takes too long is one that failed.
func TestSlowServerIsAskedAgain(t *testing.T) {
	s := start(t)
	group(t, s.client(t, client.Config{}), 1)
	var n atomic.Int32
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	url := proxy(t, s, func(_ *http.Request, forward func() *http.Response) *http.Response {
		a := forward()
		if n.Add(1) == 1 {
			<-release
		}
		return a
	})
	c := s.client(t, client.Config{URL: url, Retry: client.Retry{First: time.Millisecond, Attempt: time.Second}})
	outcomes, err := c.Apply(bound(t), client.MessageRead{Message: "m1", User: "r0", Group: "team"})
	if err != nil || outcomes[0].Outcome != client.DecisionApplied || n.Load() < 2 {
		t.Errorf("%+v %v, %d requests", outcomes, err, n.Load())
	}
}

func TestTokenIsAskedForAgain(t *testing.T) {
	s := start(t)
	backend := s.client(t, client.Config{})
	group(t, backend, 2)
	var refused []string
	c := s.client(t, client.Config{User: "r0", Token: func(ctx context.Context, old string) (string, error) {
		refused = append(refused, old)
		if old == "" {
			return "no token at all", nil
		}
		a, err := backend.PostToken(ctx, "r0", client.PostTokenJSONBody{TTL: "1h"})
		return a.Token, err
	}})
	// A user's events are receipts, and need not name the user.
	b := c.Batch(client.BatchOptions{Applied: true})
	x := must(b.Add(bound(t), client.MessageRead{Message: "m1", Group: "team"}))(t)
	if err := b.Close(bound(t)); err != nil {
		t.Fatal(err)
	}
	if o := must(x.Wait(bound(t)))(t); o[0].Outcome != client.DecisionApplied {
		t.Errorf("%+v", o)
	}
	if len(refused) != 2 || refused[1] != "no token at all" {
		t.Errorf("asked for tokens after %q", refused)
	}
	wrong := s.client(t, client.Config{Token: client.Key("wrong")})
	if _, err := wrong.GetApp(bound(t)); err == nil {
		t.Error("a wrong key is right")
	} else if e, ok := errors.AsType[*client.Error](err); !ok || e.Code != client.CodeUnauthorized {
		t.Error(err)
	}
}

// TestImport: what is imported happened when it says.
func TestImport(t *testing.T) {
	s := start(t)
	c := s.client(t, client.Config{})
	at := func(minute int) time.Time { return time.Date(2021, 5, 1, 8, minute, 0, 0, time.UTC) }
	outcomes, err := c.Import(bound(t),
		client.GroupCreated{Group: "team", Owner: "ann", Members: []client.ID{"ben"}, Time: at(0)},
		client.MessageSent{ID: "m1", From: "ann", Group: "team", Receipt: true, Time: at(1)},
		client.MessageRead{Message: "m1", User: "ben", Group: "team", Time: at(2)},
		client.MessageSent{ID: "m2", From: "ann", Group: "team", Receipt: true, Time: at(1)})
	if err != nil || len(outcomes) != 4 || outcomes[2].Outcome != client.DecisionApplied || outcomes[3].Code != 409 {
		t.Fatal(outcomes, err)
	}
	m := must(c.GetMessage(bound(t), "m1", client.GetMessageParams{Group: "team"}))(t)
	if !m.SentAt.Equal(at(1)) || !m.FirstReadAt.Equal(at(2)) {
		t.Errorf("%+v", m)
	}
	if _, err := c.Import(bound(t), client.MessageSent{ID: "m3", From: "ann", Group: "team"}); err == nil {
		t.Error("an event without a time is imported")
	}
}
