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

func (c *Client) sendAll(ctx context.Context, list []Event, applied bool) (Accepted, error) {
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
	return c.post(ctx, body.Bytes(), applied)
}

// post sends lines until they are known to be stored or refused.
func (c *Client) post(ctx context.Context, lines []byte, applied bool) (a Accepted, err error) {
	rq := request{method: http.MethodPost, path: c.eventsPath(""), contentType: "application/x-ndjson", body: lines}
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
