package dst

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
)

// link is the broker's end of a client's connection.
type link struct {
	b    *broker
	conn net.Conn

	mu     sync.Mutex
	out    bytes.Buffer
	ready  chan struct{} // has a token when there is something to write
	closed bool

	subs  map[string]string // subject to sid; under b.mu
	reads bool              // it is the connection that entries are read by
}

// dialer is a [nats.CustomDialer] whose connections end at the broker.
type dialer struct{ b *broker }

// Dial implements [nats.CustomDialer].
func (d dialer) Dial(string, string) (net.Conn, error) {
	client, server := net.Pipe()
	l := &link{b: d.b, conn: server, ready: make(chan struct{}, 1), subs: map[string]string{}}
	if err := d.b.connect(l); err != nil {
		return nil, err
	}
	l.write(`INFO {"server_id":"SIM","server_name":"sim","version":"2.15.2","proto":1,"headers":true,"max_payload":1048576,"jetstream":true}` + "\r\n")
	go l.writeLoop()
	go l.readLoop()
	return client, nil
}

// write queues bytes: whoever answers a client never waits for it.
func (l *link) write(text string, data ...[]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out.WriteString(text)
	for _, d := range data {
		l.out.Write(d)
	}
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

func (l *link) writeLoop() {
	for range l.ready {
		l.mu.Lock()
		text := bytes.Clone(l.out.Bytes())
		l.out.Reset()
		closed := l.closed
		l.mu.Unlock()
		if closed {
			return
		}
		if _, err := l.conn.Write(text); err != nil {
			l.close()
			return
		}
	}
}

// close breaks the connection. What is queued is lost.
func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		_ = l.conn.Close()
		select {
		case l.ready <- struct{}{}:
		default:
		}
	}
}

// readLoop takes what the client sends until the connection ends.
func (l *link) readLoop() {
	defer l.b.disconnect(l)
	r := bufio.NewReader(l.conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if err := l.handle(strings.Fields(line), r); err != nil {
			l.close()
			return
		}
	}
}

func (l *link) handle(words []string, r *bufio.Reader) error {
	if len(words) == 0 {
		return nil
	}
	switch strings.ToUpper(words[0]) {
	case "PING":
		l.write("PONG\r\n")
	case "SUB": // SUB <subject> <sid>
		l.b.subscribe(l, words[1], words[len(words)-1])
	case "UNSUB":
		l.b.unsubscribe(l, words[1])
	case "PUB", "HPUB":
		m, err := readMessage(words, r)
		if err != nil {
			return err
		}
		l.b.published(l, m)
	case "CONNECT":
		l.b.mu.Lock()
		defer l.b.mu.Unlock()
		l.reads = strings.Contains(strings.Join(words, " "), "reader")
	case "PONG":
	default:
		return fmt.Errorf("unknown command %q", words[0])
	}
	return nil
}

// message is what a client published.
type message struct {
	subject, reply string
	header         []byte
	data           []byte
}

// readMessage reads the body of PUB <subject> [reply] <size> or HPUB <subject> [reply] <header>
// <size>.
func readMessage(words []string, r io.Reader) (m message, err error) {
	m.subject = words[1]
	sizes := words[len(words)-1:]
	if strings.EqualFold(words[0], "HPUB") {
		sizes = words[len(words)-2:]
	}
	if len(words) == 3+len(sizes) {
		m.reply = words[2]
	}
	total, err := strconv.Atoi(sizes[len(sizes)-1])
	if err != nil {
		return m, err
	}
	body := make([]byte, total+2)
	if _, err := io.ReadFull(r, body); err != nil {
		return m, err
	}
	header := 0
	if len(sizes) == 2 {
		if header, err = strconv.Atoi(sizes[0]); err != nil {
			return m, err
		}
	}
	if header > total {
		return m, errors.New("header is longer than the message")
	}
	m.header, m.data = body[:header:header], body[header:total:total]
	return m, nil
}

// headerOf returns a field of a message's header.
func headerOf(header []byte, name string) string {
	for line := range strings.SplitSeq(string(header), "\r\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(key, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// send delivers a message to whoever subscribed to its subject on the connection. origin is the
// subject that the client sees. b.mu is held.
func (l *link) send(to, origin, reply string, header, data []byte) {
	sid, ok := l.subs[to]
	if !ok {
		// A subscription ends with a wildcard, as inboxes do.
		for s, id := range l.subs {
			if prefix, wild := strings.CutSuffix(s, "*"); wild && strings.HasPrefix(to, prefix) {
				sid, ok = id, true
				break
			}
		}
	}
	if !ok {
		return
	}
	if reply != "" {
		reply += " "
	}
	kind, sizes := "MSG ", strconv.Itoa(len(data))
	if len(header) > 0 {
		kind, sizes = "HMSG ", strconv.Itoa(len(header))+" "+strconv.Itoa(len(header)+len(data))
	}
	l.write(kind+origin+" "+sid+" "+reply+sizes+"\r\n", header, data, []byte("\r\n"))
}
