package overload

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// client is a connection that sends one request after the other. It is small, since there are many,
// and writes bodies piece by piece, so that those that the server does not take yet hold no memory
// of this process.
type client struct {
	address string
	headers string // of every request, each with its line end
	conn    net.Conn
	answer  *bufio.Reader
}

// answered is what came back.
type answered struct {
	status     int
	body       []byte
	retryAfter time.Duration
}

// patience bounds a request.
const patience = time.Minute

// ask sends a request whose body has size bytes, written by write, and returns the answer. An error
// means that there was none; the next request gets a new connection.
func (c *client) ask(ctx context.Context, method, path string, size int, write func(io.Writer) error) (a answered, err error) {
	if c.conn == nil {
		conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", c.address)
		if err != nil {
			return a, err
		}
		// What waits to be sent is not to be this machine's memory. With less than what a packet
		// holds on loopback the sender would wait for acknowledgements that the receiver delays
		// by 40 ms.
		_ = conn.(*net.TCPConn).SetWriteBuffer(64 << 10)
		c.conn = conn
		if c.answer == nil {
			c.answer = bufio.NewReaderSize(conn, 1<<10)
		} else {
			c.answer.Reset(conn)
		}
	}
	_ = c.conn.SetDeadline(time.Now().Add(patience))
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	keep := false
	defer func() {
		if !stop() || !keep || err != nil {
			c.close()
		}
	}()
	_, sent := fmt.Fprintf(c.conn, "%s %s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %d\r\n\r\n", method, path, c.address, c.headers, size)
	if sent == nil && write != nil {
		sent = write(c.conn)
	}
	// A server that refuses early answers before it has read everything.
	a, keep, err = c.read()
	keep = keep && sent == nil
	if err != nil {
		err = errors.Join(err, sent)
	}
	return a, err
}

func (c *client) read() (a answered, keep bool, err error) {
	resp, err := http.ReadResponse(c.answer, nil)
	if err != nil {
		return a, false, err
	}
	a.status = resp.StatusCode
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		a.retryAfter = time.Duration(seconds) * time.Second
	}
	a.body, err = io.ReadAll(resp.Body)
	return a, !resp.Close, err
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// code is the error code in an answer, or its status.
func (a answered) code() string {
	if _, rest, ok := strings.Cut(string(a.body), `"code":"`); ok {
		code, _, _ := strings.Cut(rest, `"`)
		return strconv.Itoa(a.status) + " " + code
	}
	return strconv.Itoa(a.status)
}
