package runtime

import (
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/internal/gateway"
)

const (
	// filesOfPartition is what a partition may need: blocks of the log, tables of the state, and as
	// much again while it is folded anew. filesBesides is for everything else but connections.
	filesOfPartition = 1024
	filesBesides     = 2048
	// unknownConnections is how many connections may be open where nobody knows how many files may.
	unknownConnections = 16 << 10
	// idlersLook is how often it is looked for connections that give way.
	idlersLook = 10 * time.Millisecond
)

// connectionsFor is how many connections may be open in a process that may have so many files open.
// Without files the log stores nothing any more, so most of them are kept for it.
func connectionsFor(files uint64, partitions int) int {
	kept := min(files/2, filesBesides+filesOfPartition*uint64(partitions))
	return int(min(files-kept, 1<<30))
}

// connections is a listener that bounds the connections that are open, whatever they are used for.
// When all are taken, those connections of the address that holds most of them give way on which
// nothing is asked; if there are none, the new one does. No address holds more than three quarters.
type connections struct {
	net.Listener
	most int

	mu      sync.Mutex
	open    map[*connection]struct{}
	held    map[string]int // by address, of those that hold any
	looked  time.Time
	refused prometheus.Counter
	dropped prometheus.Counter
}

// connection is one connection that is open.
type connection struct {
	net.Conn
	of      *connections
	address string
	idle    bool // nothing was asked yet, or all that was is answered; of.mu is held
	left    bool
}

func limitConnections(l net.Listener, most int, registry prometheus.Registerer) *connections {
	p := &connections{
		Listener: l, most: most, open: map[*connection]struct{}{}, held: map[string]int{},
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "receiptd_connections_refused_total", Help: "Connections that were closed at once, since there were too many.",
		}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "receiptd_connections_dropped_total", Help: "Idle connections that gave way to others.",
		}),
	}
	registry.MustRegister(p.refused, p.dropped, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "receiptd_connections", Help: "Open connections to the API, the page and the SDK's door.",
	}, func() float64 {
		p.mu.Lock()
		defer p.mu.Unlock()
		return float64(len(p.open))
	}))
	return p
}

// Accept waits for a connection that may stay open.
func (p *connections) Accept() (net.Conn, error) {
	for {
		conn, err := p.Listener.Accept()
		if err != nil {
			return nil, err
		}
		k := &connection{Conn: conn, of: p, address: gateway.Address(conn.RemoteAddr().String()), idle: true}
		if p.enter(k) {
			return k, nil
		}
		p.refused.Inc()
		_ = conn.Close()
	}
}

// enter lets a connection stay open, if there may be one more.
func (p *connections) enter(k *connection) bool {
	p.mu.Lock()
	full := p.full(k.address)
	var leave []*connection
	if now := time.Now(); full && now.Sub(p.looked) > idlersLook {
		p.looked = now
		leave = p.idlers(k.address)
	}
	p.mu.Unlock()
	for _, x := range leave {
		p.dropped.Inc()
		_ = x.Close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if full && p.full(k.address) {
		return false
	}
	p.open[k] = struct{}{}
	p.held[k.address]++
	return true
}

// full reports whether there may be none more from an address. p.mu is held.
func (p *connections) full(address string) bool {
	return len(p.open) >= p.most || p.held[address] >= max(p.most/4*3, 1)
}

// idlers are the connections that give way to one from an address, for now half of those that are
// idle: they are found by looking at all. p.mu is held.
func (p *connections) idlers(address string) (list []*connection) {
	if len(p.open) >= p.most {
		for other, n := range p.held {
			if n > p.held[address] {
				address = other
			}
		}
	}
	for k := range p.open {
		if k.idle && k.address == address {
			list = append(list, k)
		}
	}
	return list[:(len(list)+1)/2]
}

// changed is for [http.Server.ConnState].
func (p *connections) changed(conn net.Conn, state http.ConnState) {
	k, ok := conn.(*connection)
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	k.idle = state == http.StateNew || state == http.StateIdle
}

// Close implements [net.Conn].
func (k *connection) Close() error {
	p := k.of
	p.mu.Lock()
	if !k.left {
		k.left = true
		delete(p.open, k)
		if p.held[k.address]--; p.held[k.address] == 0 {
			delete(p.held, k.address)
		}
	}
	p.mu.Unlock()
	return k.Conn.Close()
}
