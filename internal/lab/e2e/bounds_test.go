package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
)

// rss is the resident memory of the server in MiB.
func (s *server) rss() int {
	s.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		s.t.Fatal(err)
	}
	return kib >> 10
}

// TestAMillionReceiptsForUnknownMessages sends them as fast as they are taken. The server parks as
// many as its bound lets it and gives up the oldest; its memory stays what its cache and queues
// need, and other traffic goes on.
func TestAMillionReceiptsForUnknownMessages(t *testing.T) {
	const (
		receipts, perRequest, senders = 1_000_000, 5000, 4
		// Bound of the process in MiB, most of it what the collector lets pile up below its
		// limit of 1 GiB: its cache, the memory tables of the state, requests and batches
		// under way, and as much garbage. It stays below however many there are.
		bound = 800
	)
	s := startServer(t, "--cache-size=32MiB", "--partitions=2")
	const app = "flood#app"
	s.must("PUT", appPath(app), json.RawMessage(`{"group_receipts":{"enabled":true}}`), nil)
	l := newLoad(s, random(t).Uint64(), 2)
	l.start()
	eventually(t, "events are accepted", func() bool { return l.accepted() > 10_000 })
	before, legitimate := s.rss(), l.accepted()

	// A request is a copy of one body with other ids.
	evs := make([]events.Event, perRequest)
	for i := range evs {
		evs[i] = events.Event{Kind: events.MessageRead, Group: fmt.Sprint("g", i%1000), Message: fmt.Sprint("nowhere-", i), User: fmt.Sprint("u", i%777)}
	}
	body := lines(evs)
	var sending sync.WaitGroup
	most := before
	for k := range senders {
		sending.Go(func() {
			for n := range receipts / perRequest / senders {
				other := bytes.ReplaceAll(body, []byte("nowhere"), fmt.Append(nil, "nowhere-", k, "-", n))
				if err := persist(func() error { _, err := s.do("POST", appPath(app)+"/events", ndjson, other); return err }); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	sent := make(chan struct{})
	go func() { sending.Wait(); close(sent) }()
	for watching := true; watching; {
		select {
		case <-sent:
			watching = false
		case <-time.After(20 * time.Millisecond):
		}
		most = max(most, s.rss())
	}
	if most > bound {
		t.Errorf("%d MiB at most, the bound is %d", most, bound)
	}
	if l.accepted() == legitimate {
		t.Error("other traffic did not go on")
	}
	l.finish()
	l.exact()
	parked, limit := s.metric("receiptd_fold_parked_receipts"), float64(2*events.MaxParked)
	if parked > limit+1000 { // the load may have some of its own
		t.Errorf("%v receipts are parked, the bound is %v", parked, limit)
	}
	if n := len(s.rejections(app)); n != 2*events.MaxRejections {
		t.Errorf("%d rejections are kept", n)
	}
	t.Logf("%d MiB before, %d MiB at most, %v parked", before, most, parked)
}

// TestSlowReaderOfAStream has an author listen twice: one client reads, the other never does. The
// second does no harm: memory stays bounded, the first client soon hears of everything, and the
// server drops the second.
func TestSlowReaderOfAStream(t *testing.T) {
	t.Parallel()
	const (
		app                        = "o#a"
		readers, messages, batches = 40, 60, 100
		bound                      = 800 // MiB
	)
	s := startServer(t, "--cache-size=32MiB")
	s.must("PUT", appPath(app), json.RawMessage(`{"group_receipts":{"enabled":true}}`), nil)
	members := make([]string, readers)
	for i := range members {
		members[i] = fmt.Sprint("reader", i)
	}
	s.post(app, events.Event{Kind: events.GroupCreated, Group: "g", User: "author", Members: members})
	slow := s.neverRead(app, "author")
	defer slow.Close()
	quick := s.stream(app, "author")
	last := fmt.Sprintf("m%d-%d", batches-1, messages-1)
	done := make(chan error, 1)
	go func() { done <- quick.untilRead(last, readers) }()

	most := 0
	for b := range batches {
		var evs []events.Event
		for k := range messages {
			id := fmt.Sprintf("m%d-%d", b, k)
			evs = append(evs, events.Event{Kind: events.MessageSent, Group: "g", Message: id, User: "author", Receipt: true})
			for i, m := range members {
				e := events.Event{Kind: events.MessageRead, Group: "g", Message: id, User: m}
				if i == readers-1 {
					e.Content = strings.Repeat("c", 2000) // more than the sockets hold, in the end
				}
				evs = append(evs, e)
			}
		}
		s.apply(app, evs...)
		most = max(most, s.rss())
	}
	sent := time.Now()
	if err := <-done; err != nil {
		t.Errorf("the client that reads: %v", err)
	}
	// A moment, on a machine with nothing else to do.
	if took := time.Since(sent); took > time.Minute {
		t.Errorf("the client that reads was told of the last message after %s", took)
	}
	eventually(t, "the slow client is dropped", func() bool { return s.metric("receiptd_streams") == 1 })
	if most = max(most, s.rss()); most > bound {
		t.Errorf("%d MiB at most, the bound is %d", most, bound)
	}
	t.Logf("%d MiB at most", most)
}

// neverRead opens a stream on a connection with small buffers, and does not read from it.
func (s *server) neverRead(app, user string) net.Conn {
	s.t.Helper()
	base, key := s.address()
	small := func(_, _ string, c syscall.RawConn) (err error) {
		control := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
		return cmp.Or(err, control)
	}
	conn, err := (&net.Dialer{Control: small}).Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "GET %s/users/%s/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", appPath(app), user, key); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, "the stream is open", func() bool { return s.metric("receiptd_streams") == 1 })
	return conn
}

// untilRead reads a stream until a message is said to have so many readers: in a receipt or, for a
// client that fell behind for a moment, in the summary.
func (s *stream) untilRead(message string, readers int) error {
	for {
		name, data, err := s.next()
		if err != nil {
			return err
		}
		var told struct {
			Message  string
			Count    int
			GroupAck []summaryItem `json:"group_ack"`
		}
		if err := json.Unmarshal([]byte(data), &told); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		switch {
		case name == "closing":
			return fmt.Errorf("the server closes the stream: %s", data)
		case name == "read" && told.Message == message && told.Count == readers:
			return nil
		case slices.ContainsFunc(told.GroupAck, func(p summaryItem) bool { return p.MID == message && p.Count == readers }):
			return nil
		}
	}
}
