package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"
)

// StreamEvent is something that happened to a user's messages, or an alert.
type StreamEvent struct {
	// Name is the event's, such as "read".
	Name string
	// ID stands for all that came up to here; empty if this event has none. Whoever keeps it may
	// begin with it later.
	ID string
	// Data is a [Statistic], [StreamRead], [StreamDelivered], [StreamConversationRead],
	// [StreamOwnRead], [StreamOwnConversationRead], [StreamOwnMarkedUnread] or [StreamResync], of
	// alerts an [Alert] or [StreamResync]; for a name that this client does not know it is a
	// json.RawMessage.
	Data any
}

// StreamResync says that receipts were given up or that the log is another one: a [Statistic]
// follows, if there is anything in it. What the user did themselves is in none: ask for their
// conversations again.
type StreamResync struct{}

// followQuiet is after how long without a byte a connection is given up. The server sends a comment
// every 15 seconds.
const followQuiet = 50 * time.Second

// Follow yields what happens to a user's messages until ctx ends, or there is an error that
// repeating does not mend, which comes last. When the connection breaks it is opened again, with
// the ID of the last event that the loop has finished with: that acknowledges it and all before;
// what is left comes as a [Statistic], so nothing is lost and some may come twice. last is such an
// ID of before, or empty.
func (c *Client) Follow(ctx context.Context, user, last string) iter.Seq2[StreamEvent, error] {
	return c.follow(ctx, path("/v1/apps/%s/%s/users/%s/stream", c.org, c.app, user), last)
}

// FollowAlerts yields the alerts of the app's rules as Follow yields what happens to messages:
// first those that the server keeps, or those after last, and then each when it is decided. Some
// may come twice: rule, subject and SentFrom tell. It needs the admin key.
func (c *Client) FollowAlerts(ctx context.Context, last string) iter.Seq2[StreamEvent, error] {
	return c.follow(ctx, path("/v1/apps/%s/%s/alerts/stream", c.org, c.app), last)
}

func (c *Client) follow(ctx context.Context, path, last string) iter.Seq2[StreamEvent, error] {
	return func(yield func(StreamEvent, error) bool) {
		f := follower{c: c, path: path, last: last, yield: yield}
		endless := c.retry
		endless.For = 1<<63 - 1
		b := backoff{retry: endless}
		for {
			err := f.connect(ctx)
			if f.over {
				return
			}
			if f.came {
				b.reset()
			}
			if err := b.wait(ctx, err); err != nil {
				if ctx.Err() != nil {
					err = ctx.Err()
				}
				yield(StreamEvent{}, err)
				return
			}
		}
	}
}

type follower struct {
	c     *Client
	path  string
	last  string
	yield func(StreamEvent, error) bool
	over  bool // the loop wants no more
	came  bool // something, on this connection
}

// connect follows one connection to its end, which is an error in any case but over.
func (f *follower) connect(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	quiet := time.AfterFunc(followQuiet, cancel)
	defer quiet.Stop()
	f.came = false
	rq := request{method: http.MethodGet, path: f.path, header: http.Header{"Accept": {"text/event-stream"}}}
	if f.last != "" {
		rq.header.Set("Last-Event-ID", f.last)
	}
	r, err := f.c.do(ctx, rq)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	in := bufio.NewReader(r.Body)
	var name, id string
	var data []byte
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("client: stream of %s: %w", f.path, err)
		}
		quiet.Reset(followQuiet)
		field, value, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			name = string(value)
		case "id":
			id = string(value)
		case "data":
			data = append(data, value...)
		case "":
			if len(value) > 0 || name == "" { // a comment, or nothing to hand over
				continue
			}
			quiet.Stop() // the loop may take its time
			if err := f.event(name, id, data); err != nil || f.over {
				return err
			}
			quiet.Reset(followQuiet)
			name, id, data = "", "", nil
		}
	}
}

// event hands an event to the loop and, when that has finished with it, remembers its id.
func (f *follower) event(name, id string, data []byte) error {
	e := StreamEvent{Name: name, ID: id}
	switch name {
	case "statistic":
		e.Data = decode[Statistic](data)
	case "read":
		e.Data = decode[StreamRead](data)
	case "delivered":
		e.Data = decode[StreamDelivered](data)
	case "conversation_read":
		e.Data = decode[StreamConversationRead](data)
	case "own_read":
		e.Data = decode[StreamOwnRead](data)
	case "own_conversation_read":
		e.Data = decode[StreamOwnConversationRead](data)
	case "own_marked_unread":
		e.Data = decode[StreamOwnMarkedUnread](data)
	case "alert":
		e.Data = decode[Alert](data)
	case "resync":
		e.Data = StreamResync{}
		f.last = "" // the summary that follows has an id of this log
	case "closing":
		return fmt.Errorf("client: the server closed the stream: %s", decode[StreamClosing](data).Reason)
	default:
		e.Data = json.RawMessage(data)
	}
	f.came = true
	if !f.yield(e, nil) {
		f.over = true
		return nil
	}
	if id != "" {
		f.last = id
	}
	return nil
}

// decode reads data of a name that is known; what is missing in it is as if it were zero.
func decode[T any](data []byte) (v T) {
	_ = json.Unmarshal(data, &v)
	return v
}
