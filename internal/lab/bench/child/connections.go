package child

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// connections keeps HTTP connections alive between requests, as many as there were requests at the
// same time.
//
// http.Client hands every request to two goroutines of the connection's and back, for half of what
// the server takes for the answer. A load generator that shares the server's processors does
// without them: the caller itself writes the request and reads the answer.
type connections struct {
	address string

	mu     sync.Mutex
	idle   []*connection
	closed int // how often they were: what was in use then is not kept either
}

// connection is for one request at a time.
type connection struct {
	net.Conn
	request []byte
	answer  *bufio.Reader
	used    time.Time
	closed  int // of the connections, when this one was made
}

// idleFor is how long a connection may have been idle and still be used again: less than the time
// after which the server closes it.
const idleFor = time.Minute

// ask sends a request with lines of headers, each with its line end, and returns status and body of
// the answer. The end of the context breaks the connection.
func (c *connections) ask(ctx context.Context, method, path, headers string, body []byte) (status int, answer []byte, err error) {
	k, err := c.take(ctx)
	if err != nil {
		return 0, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = k.SetDeadline(time.Unix(1, 0)) })
	k.request = fmt.Appendf(k.request[:0], "%s %s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %d\r\n\r\n", method, path, c.address, headers, len(body))
	k.request = append(k.request, body...)
	status, answer, keep, err := k.roundTrip()
	if !stop() { // too late: the deadline may come any time
		keep = false
		if err != nil {
			err = context.Cause(ctx)
		}
	}
	if err != nil || !keep {
		_ = k.Close()
		return status, answer, err
	}
	c.put(k)
	return status, answer, nil
}

func (k *connection) roundTrip() (status int, answer []byte, keep bool, err error) {
	if _, err := k.Write(k.request); err != nil {
		return 0, nil, false, err
	}
	resp, err := http.ReadResponse(k.answer, nil)
	if err != nil {
		return 0, nil, false, err
	}
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, !resp.Close, err
}

// take returns an idle connection, or a new one.
func (c *connections) take(ctx context.Context) (*connection, error) {
	c.mu.Lock()
	var k *connection
	if n := len(c.idle); n > 0 {
		k, c.idle = c.idle[n-1], c.idle[:n-1]
	}
	c.mu.Unlock()
	if k != nil && time.Since(k.used) < idleFor {
		return k, nil
	}
	if k != nil {
		_ = k.Close()
	}
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.address)
	if err != nil {
		return nil, err
	}
	return &connection{Conn: conn, answer: bufio.NewReader(conn), closed: closed}, nil
}

func (c *connections) put(k *connection) {
	k.used = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.closed != c.closed {
		_ = k.Close()
		return
	}
	c.idle = append(c.idle, k)
}

// close closes the connections: idle ones now, those in use when they are idle.
func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.idle {
		_ = k.Close()
	}
	c.idle = nil
	c.closed++
}
