package httpapi

import (
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// stalledAfter is how long a body may come to nothing while the server stops. Until then, and as
// long as something of it comes, it is waited for.
const stalledAfter = 2 * time.Second

// connections are those that are open, so that a stop finds the ones that keep it waiting.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]*connection
}

func (s *connections) add(k *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[net.Conn]*connection{}
	}
	s.open[k.conn] = k
}

// changed is for [http.Server.ConnState].
func (s *connections) changed(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateIdle:
		// A connection whose next request is there already would go on until its processor is
		// taken from it, after 10 ms: a hundred of them make all others wait for half a second.
		runtime.Gosched()
	case http.StateClosed, http.StateHijacked:
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, conn)
	}
}

// cutStalled ends the reading of bodies of which nothing has come for a while, until no connection
// is open any more.
func (s *connections) cutStalled(after time.Duration) {
	type seen struct {
		read int64
		at   time.Time
	}
	last := map[*connection]seen{}
	tick := time.NewTicker(after / 10)
	defer tick.Stop()
	for range tick.C {
		s.mu.Lock()
		for _, k := range s.open {
			was, known := last[k]
			now := k.body.read.Load()
			switch {
			case !k.body.reading.Load():
				delete(last, k)
			case !known || was.read != now:
				last[k] = seen{now, time.Now()}
			case time.Since(was.at) >= after:
				_ = k.conn.SetReadDeadline(time.Now()) // a connection that is gone is no matter
			}
		}
		left := len(s.open)
		s.mu.Unlock()
		if left == 0 {
			return
		}
	}
}

// body is the body of the request that a connection carries, and says whether somebody waits for
// more of it.
type body struct {
	io.ReadCloser
	reading atomic.Bool
	read    atomic.Int64 // of all requests of the connection
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	b.reading.Store(true)
	n, err := b.ReadCloser.Read(p)
	b.reading.Store(false)
	b.read.Add(int64(n))
	return n, err
}

// watch has a stop see how the call's body comes; nil if it has none. What the handler leaves of it
// the server reads.
func (c *call) watch() *body {
	k := connectionOf(c.r)
	if k == nil {
		return nil
	}
	k.body.reading.Store(false)
	if c.r.Body == nil || c.r.Body == http.NoBody {
		return nil
	}
	k.body.ReadCloser = c.r.Body
	c.r.Body = &k.body
	return &k.body
}

func (b *body) handled() { b.reading.Store(true) }
