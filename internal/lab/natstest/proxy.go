package natstest

import (
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

// Cut breaks all connections; what is held back is lost, and new connections are not held back.
// Clients may connect again at once.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns, p.holding = nil, false
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

// pass waits while data for a connection is held back. It reports false if the connection was cut.
func (p *Proxy) pass(to net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.holding && slices.Contains(p.conns, to) {
		p.changed.Wait()
	}
	return slices.Contains(p.conns, to)
}
