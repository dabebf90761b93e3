package client

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
)

// Send stores events, in their order and with one request, and returns when they are durable. An
// [*Error] with an Index says which event is malformed: then none is stored.
func (c *Client) Send(ctx context.Context, list ...Event) (Accepted, error) {
	return c.sendAll(ctx, list, false)
}

// Apply is Send that waits for what the rules make of the events. There is one outcome for each
// event, and of a [MessageRead] with Messages one for each of those.
func (c *Client) Apply(ctx context.Context, list ...Event) ([]Outcome, error) {
	a, err := c.sendAll(ctx, list, true)
	return a.Outcomes, err
}

// Import is Apply for history of another system: each event has the Time at which it happened, is
// decided by that, and nobody is told of it. Of a conversation, send what happened earlier first.
// It needs the admin key.
func (c *Client) Import(ctx context.Context, list ...Event) ([]Outcome, error) {
	a, err := c.sendTo(ctx, path("/v1/apps/%s/%s/import", c.org, c.app), list, true)
	return a.Outcomes, err
}

func (c *Client) sendAll(ctx context.Context, list []Event, applied bool) (Accepted, error) {
	return c.sendTo(ctx, c.eventsPath(""), list, applied)
}

func (c *Client) sendTo(ctx context.Context, path string, list []Event, applied bool) (Accepted, error) {
	var body bytes.Buffer
	for i, e := range list {
		line, _, err := c.encode(e)
		if refused, ok := errors.AsType[*Error](err); ok {
			return Accepted{}, refused.at(i)
		}
		if err != nil {
			return Accepted{}, err
		}
		body.Write(line)
	}
	if body.Len() == 0 {
		return Accepted{}, nil
	}
	return c.post(ctx, path, body.Bytes(), applied)
}

// post sends lines until they are known to be stored or refused.
func (c *Client) post(ctx context.Context, path string, lines []byte, applied bool) (a Accepted, err error) {
	rq := request{method: http.MethodPost, path: path, contentType: "application/x-ndjson", body: lines}
	if applied {
		rq.query = url.Values{"wait": {"applied"}}
	}
	err = c.repeat(ctx, func(ctx context.Context) error {
		r, err := c.do(ctx, rq)
		if err != nil {
			return err
		}
		defer r.Body.Close()
		return read(r, &a)
	})
	return a, err
}

// eventsPath is where events are sent to: a user's go where receipts do.
func (c *Client) eventsPath(door string) string {
	if c.user != "" {
		return path("/v1/apps/%s/%s/users/%s/receipts", c.org, c.app, c.user)
	}
	return path("/v1/apps/%s/%s/events", c.org, c.app) + door
}
