package doors

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// streamDoor sends a line for each receipt on a stream. What is written and not flushed goes out
// when nothing more may be sent.
type streamDoor struct {
	conn     net.Conn
	in       *bufio.Reader // lines of the answer
	out      *bufio.Writer
	accepted int
}

func openStream(_ context.Context, o Options, _ int) (door, error) {
	address := o.Server.URL("/").Host
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	// A length that is never reached saves the client the framing of chunks.
	_, err = fmt.Fprintf(conn, "POST /v1/apps/%s/events:stream HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-ndjson\r\nContent-Length: 1000000000000\r\n\r\n",
		strings.Replace(app, "#", "/", 1), address, o.Key)
	if err != nil {
		return nil, err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	if err != nil {
		return nil, err
	}
	return &streamDoor{conn: conn, in: bufio.NewReader(answer.Body), out: bufio.NewWriterSize(conn, 16<<10)}, nil
}

func (d *streamDoor) send(body []byte) error {
	_, _ = d.out.Write(body)
	return d.out.WriteByte('\n')
}

func (d *streamDoor) flush() error { return d.out.Flush() }
func (d *streamDoor) close()       { d.conn.Close() }

func (d *streamDoor) answers() (int, error) {
	line, err := d.in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	number, ok := bytes.CutPrefix(line, []byte(`{"accepted":`))
	end := bytes.IndexByte(number, ',')
	if !ok || end < 0 {
		return 0, fmt.Errorf("refused: %s", line)
	}
	accepted, err := strconv.Atoi(string(number[:end]))
	n := accepted - d.accepted
	d.accepted = accepted
	return n, err
}
