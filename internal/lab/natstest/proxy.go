package natstest

import (
	"bytes"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
)

// Proxy is a network between clients and a server that can be cut, and that can hold back what the
// server sends: an acknowledgement that is held back and then cut off was given, but never arrives.
type Proxy struct {
	listener net.Listener
	target   string
	wait     sync.WaitGroup

	mu      sync.Mutex
	holding bool
	changed sync.Cond // signalled when holding or conns change
	conns   []net.Conn
	down    bool
	snare   []byte        // what is caught when a client sends it; nil for nothing
	deafens bool          // it reaches the server, whose answers are held back from then on
	snared  chan struct{} // closed once it was caught
}

// StartProxy starts a proxy on loopback in front of the server at an address. It ends with the
// test.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("natstest: %v", err)
	}
	p := &Proxy{listener: listener, target: target}
	p.changed.L = &p.mu
	p.wait.Go(p.accept)
	t.Cleanup(p.stop)
	return p
}

// URL is what a client connects to.
func (p *Proxy) URL() string { return "nats://" + p.listener.Addr().String() }

// Hold holds back everything the server sends from now on. What clients send goes through.
func (p *Proxy) Hold() { p.setHolding(true) }

// Release lets through what the server sent, late, and what it sends from now on.
func (p *Proxy) Release() { p.setHolding(false) }

// Snare has what a client publishes on a subject or below it, from now on, not reach the server,
// nor what it sends afterwards. The channel is closed once that has happened: there a client can be
// killed between two of its steps. [Proxy.Cut] ends it. Only what a client sends in one piece is
// recognised, as it does unless it has very much to send.
func (p *Proxy) Snare(subject string) <-chan struct{} { return p.watch(subject, false) }

// Deafen has what a client publishes on a subject or below it reach the server, and none of what
// the server sends from then on reach a client: the step is done, and the client does not know.
// Otherwise it is as [Proxy.Snare].
func (p *Proxy) Deafen(subject string) <-chan struct{} { return p.watch(subject, true) }

func (p *Proxy) watch(subject string, deafens bool) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.snare, p.deafens, p.snared = []byte("PUB "+subject), deafens, make(chan struct{})
	return p.snared
}

// Cut breaks all connections; what is held back is lost, and new connections are not held back.
// Clients may connect again at once.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns, p.holding, p.snare = nil, false, nil
	p.changed.Broadcast()
}

func (p *Proxy) setHolding(holding bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.holding = holding
	p.changed.Broadcast()
}

func (p *Proxy) stop() {
	p.listener.Close()
	p.mu.Lock()
	p.down = true
	p.mu.Unlock()
	p.Cut()
	p.wait.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil || !p.add(client, server) {
			client.Close()
			if server != nil {
				server.Close()
			}
			continue
		}
		p.wait.Go(func() { p.forward(server, client, false) })
		p.wait.Go(func() { p.forward(client, server, true) })
	}
}

func (p *Proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return false
	}
	p.conns = append(p.conns, conns...)
	return true
}

// forward copies until one side is closed, and closes both then.
func (p *Proxy) forward(to, from net.Conn, holdable bool) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if !holdable {
			if upto, last := p.caught(buf[:n]); last {
				if _, err := to.Write(buf[:upto]); err == nil {
					p.signal()
				}
				if upto < n {
					_, _ = io.Copy(io.Discard, from)
					return
				}
				continue
			}
		}
		if n > 0 && (!holdable || p.pass(to)) {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// caught reports whether what a client sends is in the snare, and how much of it the server gets.
func (p *Proxy) caught(sent []byte) (upto int, is bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.snare == nil {
		return 0, false
	}
	at := bytes.Index(sent, p.snare)
	switch next := at + len(p.snare); {
	case at < 0 || next == len(sent) || sent[next] != '.' && sent[next] != ' ':
		return 0, false
	case p.deafens:
		p.holding = true
		return len(sent), true
	}
	return bytes.LastIndexByte(sent[:at], '\n') + 1, true
}

// signal says that something was caught, once the server has what it gets.
func (p *Proxy) signal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.snared:
	default:
		close(p.snared)
	}
}

// pass waits while data for a connection is held back. It reports false if the connection was cut.
func (p *Proxy) pass(to net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.holding && slices.Contains(p.conns, to) {
		p.changed.Wait()
	}
	return slices.Contains(p.conns, to)
}
