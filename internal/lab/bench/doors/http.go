package doors

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/receiptd/receiptd/internal/ctl"
)

const answerWithin = 30 * time.Second

// httpDoor sends a request for each receipt on one connection, written and read by hand, so that
// the client costs as little as it can. More than one in flight is pipelining.
type httpDoor struct {
	conn   net.Conn
	header []byte
	in     *bufio.Reader
	out    *bufio.Writer
}

func openHTTP(_ context.Context, o Options, _ int) (door, error) {
	address := o.Server.URL("/").Host
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return &httpDoor{
		conn: conn, in: bufio.NewReader(conn), out: bufio.NewWriter(conn),
		header: fmt.Appendf(nil, "POST /v1/apps/%s/events HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: ",
			strings.Replace(app, "#", "/", 1), address, o.Key),
	}, nil
}

func (d *httpDoor) send(body []byte) error {
	_, _ = d.out.Write(d.header)
	_, _ = d.out.Write(strconv.AppendInt(nil, int64(len(body)), 10))
	_, _ = d.out.WriteString("\r\n\r\n")
	_, err := d.out.Write(body)
	return err
}

func (d *httpDoor) flush() error { return d.out.Flush() }
func (d *httpDoor) close()       { d.conn.Close() }

func (d *httpDoor) answers() (int, error) {
	status, err := d.in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	ok := bytes.HasPrefix(status, []byte("HTTP/1.1 200"))
	length := -1
	for {
		line, err := d.in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			break
		}
		if value, found := bytes.CutPrefix(line, []byte("Content-Length: ")); found {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, err
			}
		}
	}
	if length < 0 {
		return 0, errors.New("an answer without a length")
	}
	if !ok {
		body := make([]byte, length)
		_, _ = io.ReadFull(d.in, body)
		return 0, fmt.Errorf("refused: %s", body)
	}
	_, err = d.in.Discard(length)
	return 1, err
}

// floor puts a server in the place of receiptd that reads the body and answers, and nothing else.
func floor(o *Options) (end func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	answer := []byte(`{"accepted":1,"positions":[{"partition":0,"sequence":123456}]}` + "\n")
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header()["Content-Type"] = []string{"application/json"}
		_, _ = w.Write(answer)
	})}
	go func() { _ = server.Serve(listener) }()
	o.Server, err = ctl.NewClient("http://"+listener.Addr().String(), o.Key)
	return func() { server.Close() }, err
}
