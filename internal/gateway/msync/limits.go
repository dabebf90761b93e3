package msync

import (
	"runtime"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/receiptd/receiptd/internal/fair"
	"github.com/receiptd/receiptd/internal/gateway"
)

// Limits bound what clients can make grow. Zero values mean the defaults.
type Limits struct {
	// Connections bounds the connections that are logged in, which apps share by weight, PerUser
	// those of one user. Defaults 20,000 and 16.
	Connections, PerUser int
	// PendingPerAddress bounds the connections from one address that have not said who they are.
	// Default 1,000. All addresses together may have a quarter of Connections more, which
	// they share.
	PendingPerAddress int
	// FrameBytes bounds a frame. Default 256 KiB.
	FrameBytes int64
	// BodyBytes bounds a message or receipt. Default 64 KiB.
	BodyBytes int
	// FramesPerSecond bounds the frames of a connection, after a burst of ten times as many.
	// Default 200.
	FramesPerSecond int
	// SendsPerSecond bounds the messages and receipts of a user, after a burst of ten times as
	// many. Default 100.
	SendsPerSecond int
	// BytesPerSecond bounds what is read of a user, after a burst of ten times as many: beyond,
	// the user's connections are not read for a while. Default 10 KiB for each of SendsPerSecond,
	// and as many as a frame may have at least.
	BytesPerSecond int
	// ReadBytes bounds what is read of all large frames in a second, which apps share by weight
	// and the users of an app alike. Default 32 MiB for each processor that Go may use.
	ReadBytes int64
	// Provision is how long a connection may take to say who it is. Default 10 s.
	Provision time.Duration
	// Idle is the longest silence of a client, which sends a heartbeat every 60 s. Default 120 s.
	Idle time.Duration
	// Write is how long a client may leave its socket full before it is dropped. Default 10 s.
	Write time.Duration
	// Answer bounds the time from a send to its answer; the SDK gives up after 15 s. Default 12 s.
	Answer time.Duration
	// Page bounds the metas of a page, PageBytes their bytes, more or less. Defaults 50 and 64 KiB.
	Page, PageBytes int
}

// maxSending bounds the sends of a connection that are not answered yet. Beyond it no more frames
// are read.
const maxSending = 64

func (l Limits) withDefaults() Limits {
	gateway.OrDefault(&l.Connections, 20_000)
	gateway.OrDefault(&l.PerUser, 16)
	gateway.OrDefault(&l.PendingPerAddress, 1000)
	gateway.OrDefault(&l.FrameBytes, 256<<10)
	gateway.OrDefault(&l.BodyBytes, 64<<10)
	gateway.OrDefault(&l.FramesPerSecond, 200)
	gateway.OrDefault(&l.SendsPerSecond, 100)
	gateway.OrDefault(&l.BytesPerSecond, max(bytesPerSend*l.SendsPerSecond, int(l.FrameBytes)))
	gateway.OrDefault(&l.ReadBytes, int64(runtime.GOMAXPROCS(0))*32<<20)
	gateway.OrDefault(&l.Provision, 10*time.Second)
	gateway.OrDefault(&l.Idle, 120*time.Second)
	gateway.OrDefault(&l.Write, 10*time.Second)
	gateway.OrDefault(&l.Answer, 12*time.Second)
	gateway.OrDefault(&l.Page, 50)
	gateway.OrDefault(&l.PageBytes, 64<<10)
	return l
}

// Why connections are refused: labels of the metric.
const (
	refusedDraining = "shutdown"
	refusedTotal    = "too_many_connections"
	refusedAddress  = "too_many_without_login_from_address"
	refusedUser     = "too_many_connections_of_user"
	refusedUpgrade  = "no_websocket"
	refusedLogin    = "login"
)

type userKey struct{ app, user string }

// clients counts the connections, and knows who is logged in.
type clients struct {
	limits Limits
	// pending are the slots of connections that have not said who they are, by address, and joined
	// those of sessions, by app.
	pending, joined *fair.Slots

	mu     sync.Mutex
	closed bool
	users  map[userKey]*userSessions

	connections sync.WaitGroup
}

// userSessions are the open sessions of one user, and what they share. It outlasts the last of them
// until the user might send a whole burst.
type userSessions struct {
	sessions map[*session]struct{}
	sends    *rate.Limiter
	bytes    *rate.Limiter
	leaving  bool // somebody will look whether it can be forgotten
}

func newClients(limits Limits, weight func(app string) int) *clients {
	return &clients{
		limits: limits, users: make(map[userKey]*userSessions),
		pending: fair.NewSlots(max(limits.Connections/4, limits.PendingPerAddress), nil),
		joined:  fair.NewSlots(limits.Connections, weight),
	}
}

// enter counts a connection until leave, and gives it a slot among those that have not said who
// they are, until it leaves that or lost is called. Or it returns why it is refused.
func (c *clients) enter(address string, lost func()) (slot *fair.Slot, refused string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, refusedDraining
	case c.pending.Of(address) >= c.limits.PendingPerAddress:
		return nil, refusedAddress
	}
	if slot = c.pending.Take(address, lost); slot == nil {
		return nil, refusedTotal
	}
	c.connections.Add(1)
	return slot, ""
}

func (c *clients) leave() { c.connections.Done() }

// close refuses all further connections.
func (c *clients) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

// join adds a session to those of its user and its app until part, or returns why it is refused.
func (c *clients) join(s *session) (refused string) {
	key := userKey{s.app, s.user}
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.users[key]
	if p == nil {
		p = &userSessions{
			sessions: make(map[*session]struct{}), sends: bucket(c.limits.SendsPerSecond), bytes: bucket(c.limits.BytesPerSecond),
		}
		c.users[key] = p
	}
	if len(p.sessions) >= c.limits.PerUser {
		return refusedUser
	}
	if s.slot = c.joined.Take(s.app, func() { s.fail(errCrowded) }); s.slot == nil {
		c.forget(key, p)
		return refusedTotal
	}
	p.sessions[s] = struct{}{}
	s.sends, s.bytes = p.sends, p.bytes
	return ""
}

func (c *clients) part(s *session) {
	key := userKey{s.app, s.user}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.slot.Release()
	p := c.users[key]
	delete(p.sessions, s)
	c.forget(key, p)
}

// forget forgets a user who has no session, once they might send a whole burst again: who connects
// anew may send no more than one who stays. c.mu is held.
func (c *clients) forget(key userKey, p *userSessions) {
	if len(p.sessions) > 0 || c.users[key] != p || p.leaving {
		return
	}
	full := max(filled(p.sends), filled(p.bytes))
	if full <= 0 {
		delete(c.users, key)
		return
	}
	p.leaving = true
	time.AfterFunc(full+time.Millisecond, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		p.leaving = false
		c.forget(key, p)
	})
}

// filled is how long a bucket takes until it is full.
func filled(l *rate.Limiter) time.Duration {
	missing := float64(l.Burst()) - l.Tokens()
	return time.Duration(missing / float64(l.Limit()) * float64(time.Second))
}

// online reports whether a user has a session.
func (c *clients) online(app, user string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.users[userKey{app, user}]
	return p != nil && len(p.sessions) > 0
}

func (c *clients) renew(app, user string, expires time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.users[userKey{app, user}]; p != nil {
		for s := range p.sessions {
			s.renew(expires)
		}
	}
}
