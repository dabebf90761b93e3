package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/bench/load"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

// answered is the ticket of an event that was sent through a door: the end of it, told once.
type answered chan error

// Wait implements [load.Ticket].
func (a answered) Wait(ctx context.Context) error {
	select {
	case err := <-a:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// streamsOfApp is how many streams carry the events of an app.
const streamsOfApp = 4

// streaming is receiptd as a process of its own, to which each event is a line of a stream. The
// events of a conversation are all in one.
type streaming struct {
	remote
	seed    maphash.Seed
	streams map[string][]*stream // by app
}

// Start opens the streams.
func (s *streaming) Start(ctx context.Context, dir string, traffic *sim.Traffic) error {
	if err := s.remote.Start(ctx, dir, traffic); err != nil {
		return err
	}
	s.seed, s.streams = maphash.MakeSeed(), map[string][]*stream{}
	for _, app := range traffic.Apps() {
		for range streamsOfApp {
			one, err := openStream(ctx, s.Receiptd, app)
			if err != nil {
				return err
			}
			s.streams[app] = append(s.streams[app], one)
		}
	}
	return nil
}

// Submit implements [load.Pipelined]. The events are one.
func (s *streaming) Submit(_ context.Context, evs []events.Event) (load.Ticket, error) {
	of := s.streams[evs[0].App]
	return of[maphash.String(s.seed, conversation(&evs[0]))%uint64(len(of))].send(&evs[0])
}

// Stop closes the streams, and then ends the server.
func (s *streaming) Stop() error {
	for _, of := range s.streams {
		for _, one := range of {
			one.conn.Close()
			<-one.ended
		}
	}
	s.streams = nil
	return s.remote.Stop()
}

// stream is a connection on which events go out, and the outcome of each comes back in their order.
type stream struct {
	conn  net.Conn
	ended chan struct{} // both goroutines have
	some  chan struct{} // there is something to flush

	mu      sync.Mutex
	out     *bufio.Writer
	line    []byte
	waiting []answered // oldest first
	broken  error
}

func openStream(ctx context.Context, server *child.Receiptd, app string) (*stream, error) {
	address := strings.TrimPrefix(server.URL(), "http://")
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	// A length that is never reached saves the framing of chunks.
	_, err = fmt.Fprintf(conn, "POST %s/events:stream?wait=applied HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/x-ndjson\r\nContent-Length: 1000000000000\r\n\r\n", child.App(app), address, server.Key())
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	in := bufio.NewReaderSize(conn, 64<<10)
	answer, err := http.ReadResponse(in, nil)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	s := &stream{conn: conn, out: bufio.NewWriterSize(conn, 64<<10), ended: make(chan struct{}), some: make(chan struct{}, 1)}
	stop := make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() {
		defer close(stop)
		s.fail(s.read(bufio.NewReaderSize(answer.Body, 64<<10)))
	})
	both.Go(func() { s.flush(stop) })
	go func() {
		both.Wait()
		close(s.ended)
	}()
	return s, nil
}

func (s *stream) send(e *events.Event) (answered, error) {
	done := make(answered, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return nil, s.broken
	}
	s.line = append(events.AppendJSON(s.line[:0], e), '\n')
	if _, err := s.out.Write(s.line); err != nil {
		return nil, err
	}
	s.waiting = append(s.waiting, done)
	select {
	case s.some <- struct{}{}:
	default:
	}
	return done, nil
}

// flush sends what was written; while it does, more is written.
func (s *stream) flush(stop <-chan struct{}) {
	for {
		select {
		case <-s.some:
		case <-stop:
			return
		}
		s.mu.Lock()
		_ = s.out.Flush() // an error stays in the writer, for the next send
		s.mu.Unlock()
	}
}

// read tells those who wait; each line has the outcomes of some events.
func (s *stream) read(in *bufio.Reader) error {
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		n := bytes.Count(line, []byte(`"outcome":`))
		if n == 0 {
			return fmt.Errorf("the stream is answered: %s", line)
		}
		s.mu.Lock()
		told := s.waiting[:n]
		s.waiting = s.waiting[n:]
		s.mu.Unlock()
		for _, done := range told {
			done <- nil
		}
	}
}

func (s *stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = err
	for _, done := range s.waiting {
		done <- err
	}
	s.waiting = nil
}
