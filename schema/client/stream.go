package client

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// StreamOptions are what a stream bounds and asks for.
type StreamOptions struct {
	// Applied has tickets wait for what was decided about their events, and tell it.
	Applied bool
	// Unanswered bounds the events that were handed over and are not answered; 0 = 10,000. 16 MiB
	// bound them too. The server takes fewer and then reads no further.
	Unanswered int
}

const (
	// streamQuiet is after how long without events an empty line is sent; a server ends streams
	// that are quiet for two minutes.
	streamQuiet = 45 * time.Second
	// streamBegin is how often until the answer has begun: net/http tells that a connection broke
	// before that only when it writes to it.
	streamBegin = time.Second / 2
	// streamLine bounds a line of the answers.
	streamLine = 64 << 20
)

// Stream sends each event as it comes, on a connection of its own that is opened with the first
// event and again whenever it breaks; what is not answered then is sent again, in its order. It may
// be used concurrently. Close it, or what was handed over last may not be sent.
type Stream struct {
	*queue

	// Of the connection: items written and answered, and since when an answer is awaited. They are
	// under the queue's lock.
	written, answered int
	since             time.Time
}

// Stream returns a stream. It is a backend's: users have none.
func (c *Client) Stream(o StreamOptions) *Stream {
	s := &Stream{}
	s.queue = c.start(o.Applied, cmp.Or(o.Unanswered, 10_000), s.run)
	return s
}

func (s *Stream) run(ctx context.Context, q *queue) {
	b := backoff{retry: q.client.retry}
	for q.some(ctx) {
		before := q.left()
		err := s.connect(ctx, q)
		if q.left() > before {
			b.reset()
		}
		if err == nil {
			continue
		}
		if err := b.wait(ctx, err); err != nil && ctx.Err() == nil {
			q.fail(err)
			b.reset()
		}
	}
}

// left is how many items were answered so far.
func (q *queue) left() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.first
}

// connect sends and answers items on one connection until that ends, or everything is answered and
// the stream closed.
func (s *Stream) connect(ctx context.Context, q *queue) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	rq := request{method: http.MethodPost, path: q.client.eventsPath(":stream"), contentType: "application/x-ndjson"}
	if q.applied {
		rq.query = url.Values{"wait": {"applied"}}
	}
	begun := make(chan struct{})
	stop := func() {}
	rq.stream = func() io.Reader { // again if the token was too old
		stop()
		r, w := io.Pipe()
		writing, end := context.WithCancel(ctx)
		ended := make(chan struct{})
		stop = func() {
			end()
			r.Close()
			<-ended
		}
		s.begin(q)
		go func() {
			defer close(ended)
			w.CloseWithError(s.write(writing, begun, q, w))
		}()
		return r
	}
	defer func() { stop() }()
	defer s.watch(q, cancel)()
	r, err := q.client.do(ctx, rq)
	if err == nil {
		close(begun)
		defer r.Body.Close()
		err = s.read(q, r.Body)
	}
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return cause
	}
	return err
}

// begin is for a connection on which nothing is written yet.
func (s *Stream) begin(q *queue) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.written, s.answered, s.since = q.first, q.first, time.Now()
}

// watch ends a connection on which an answer is awaited for too long.
func (s *Stream) watch(q *queue, cancel context.CancelCauseFunc) (stop func()) {
	limit := q.client.retry.Attempt
	ended := make(chan struct{})
	go func() {
		tick := time.NewTicker(max(limit/8, time.Millisecond))
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
			}
			q.mu.Lock()
			late := s.written > s.answered && time.Since(s.since) > limit
			q.mu.Unlock()
			if late {
				cancel(fmt.Errorf("client: no answer for %v", limit))
				return
			}
		}
	}()
	return func() { close(ended) }
}

// write writes items as they come, until the stream is closed or the connection ends.
func (s *Stream) write(ctx context.Context, begun <-chan struct{}, q *queue, w io.Writer) error {
	out := bufio.NewWriterSize(w, 32<<10)
	pause := streamBegin
	quiet := time.NewTimer(pause)
	defer quiet.Stop()
	for {
		q.mu.Lock()
		var list []*item
		if from := s.written - q.first; from < len(q.list) {
			list = append(list, q.list[max(from, 0):]...)
		}
		if s.written == s.answered {
			s.since = time.Now()
		}
		s.written += len(list)
		closed := q.closed
		q.mu.Unlock()
		for _, x := range list {
			if _, err := out.Write(x.line); err != nil {
				return err
			}
		}
		if err := out.Flush(); err != nil {
			return err
		}
		if len(list) > 0 {
			quiet.Reset(pause)
			continue
		}
		if closed {
			return nil
		}
		select {
		case <-q.wake:
		case <-begun:
			begun, pause = nil, streamQuiet
			quiet.Reset(pause)
		case <-quiet.C:
			_, _ = out.WriteString("\n") // flushed in the next round
			quiet.Reset(pause)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// streamAnswer is a line of the answers.
type streamAnswer struct {
	errorBody
	Outcomes []Outcome `json:"outcomes"`
}

// read settles items as they are answered.
func (s *Stream) read(q *queue, body io.Reader) error {
	in := bufio.NewScanner(body)
	in.Buffer(nil, streamLine)
	count := 0 // events of this connection whose items are settled
	var outcomes []Outcome
	for in.Scan() {
		var line streamAnswer
		if err := json.Unmarshal(in.Bytes(), &line); err != nil {
			return fmt.Errorf("client: answer of the stream: %w", err)
		}
		q.client.position.raise(line.Positions)
		outcomes = append(outcomes, line.Outcomes...)
		upto := line.Accepted
		if q.applied {
			upto = count + len(outcomes)
		}
		for x := s.front(q); x != nil && count+x.width <= upto; x = s.front(q) {
			n := min(x.width, len(outcomes))
			s.settle(q, x, outcomes[:n:n], nil)
			outcomes = outcomes[n:]
			count += x.width
		}
		if line.Error.Code == "" {
			continue
		}
		e := line.refusal()
		if x := s.front(q); x != nil && e.Code == CodeInvalidEvent && e.Index >= count && e.Index < count+x.width {
			s.settle(q, x, nil, e.at(e.Index-count))
			return nil
		}
		return e
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("client: answers of the stream: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) > 0 || !q.closed {
		return errors.New("client: the stream ended")
	}
	return nil
}

// front is the first item that was written and is not answered.
func (s *Stream) front(q *queue) *item {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) == 0 || s.written <= q.first {
		return nil
	}
	return q.list[0]
}

func (s *Stream) settle(q *queue, x *item, outcomes []Outcome, err error) {
	q.settle(x, outcomes, err)
	q.mu.Lock()
	defer q.mu.Unlock()
	s.answered, s.since = q.first, time.Now()
}
