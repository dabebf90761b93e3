package e2e

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

// load is the traffic of several clients, each with conversations of its own. A client sends one
// request after another. A request that failed is sent again unchanged until it succeeds; one that
// succeeded is never sent again.
type load struct {
	s       *server
	app     string
	clients []*client
	cancel  context.CancelFunc
	running sync.WaitGroup
	cut     atomic.Int64 // requests that were under way when they failed
}

// newLoad makes the app and its groups. Nothing runs yet.
func newLoad(s *server, seed uint64, clients int) *load {
	s.t.Helper()
	config := sim.DefaultConfig()
	config.Seed, config.Groups, config.Members = seed, 40, 30
	traffic, err := sim.New(config)
	if err != nil {
		s.t.Fatal(err)
	}
	generators, err := traffic.Generators(clients)
	if err != nil {
		s.t.Fatal(err)
	}
	l := &load{s: s, app: traffic.Apps()[0]}
	s.must("PUT", appPath(l.app), traffic.Settings(), nil)
	s.post(l.app, traffic.Setup()...)
	for i, g := range generators {
		l.clients = append(l.clients, &client{
			load: l, generator: g, random: rand.New(rand.NewPCG(seed, uint64(i))), answered: map[string]map[string]bool{},
		})
	}
	return l
}

// start lets the clients send until stop or the end of the test.
func (l *load) start() {
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	for _, c := range l.clients {
		l.running.Go(func() { c.run(ctx) })
	}
	l.s.t.Cleanup(l.stop)
}

// stop lets the clients end after the request under way. What was not answered stays to be sent
// again.
func (l *load) stop() {
	l.cancel()
	l.running.Wait()
}

// finish stops the clients, and sends again what was not answered until it is.
func (l *load) finish() {
	l.s.t.Helper()
	l.stop()
	for i, c := range l.clients {
		if _, err := poll(func() (struct{}, error) { return struct{}{}, c.flush() }); err != nil {
			l.s.t.Fatalf("client %d: %v", i, err)
		}
	}
}

// totals are those of all clients.
func (l *load) totals() (t sim.Totals) {
	for _, c := range l.clients {
		t.Add(c.generator.Totals())
	}
	return t
}

// accepted is the number of events that were answered.
func (l *load) accepted() (n int64) {
	for _, c := range l.clients {
		n += c.accepted.Load()
	}
	return n
}

// client is one of a load's. Its generator belongs to the goroutine of run.
type client struct {
	load      *load
	generator *sim.Generator
	random    *rand.Rand
	events    []events.Event
	body      []byte // not answered yet; empty for none
	accepted  atomic.Int64

	mu sync.Mutex
	// answered has the readers of some of the messages, as far as the requests that name them
	// were answered.
	answered map[string]map[string]bool
}

func (c *client) run(ctx context.Context) {
	for ctx.Err() == nil {
		if len(c.body) == 0 {
			c.events = c.generator.Next(c.events[:0], 100+c.random.IntN(400))
			c.body = lines(c.events)
		}
		if c.flush() != nil {
			time.Sleep(10 * time.Millisecond) // the server is down or full
		} else {
			// Leaves processor time to the server.
			time.Sleep(time.Duration(c.random.IntN(30)) * time.Millisecond)
		}
	}
}

// flush sends what is not answered yet.
func (c *client) flush() error {
	if len(c.body) == 0 {
		return nil
	}
	if _, err := c.load.s.do("POST", appPath(c.load.app)+"/events", ndjson, c.body); err != nil {
		if !errors.Is(err, syscall.ECONNREFUSED) {
			c.load.cut.Add(1)
		}
		return err
	}
	c.accepted.Add(int64(len(c.events)))
	c.note()
	c.body = c.body[:0]
	return nil
}

var noteSeed = maphash.MakeSeed()

// note remembers what was answered, of every eighth message.
func (c *client) note() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.events {
		e := &c.events[i]
		if (e.Kind != events.MessageSent && e.Kind != events.MessageRead) || maphash.String(noteSeed, e.Message)%8 != 0 {
			continue
		}
		readers := c.answered[e.Message]
		if readers == nil {
			readers = map[string]bool{}
			c.answered[strings.Clone(e.Message)] = readers
		}
		// A message that only early reads have named is not there yet: "" stands for its
		// sending.
		if e.Kind == events.MessageSent {
			readers[""] = true
		} else {
			readers[e.User] = true
		}
	}
}

// sample returns up to n messages of each client that were sent, with the least number of readers
// they must have.
func (l *load) sample(n int) map[string]int {
	least := map[string]int{}
	for _, c := range l.clients {
		c.mu.Lock()
		left := n
		for id, readers := range c.answered { // begins anywhere
			if left == 0 {
				break
			}
			if readers[""] {
				least[id] = len(readers) - 1
				left--
			}
		}
		c.mu.Unlock()
	}
	return least
}

// atLeast checks that the server has what it had answered.
func (l *load) atLeast(sample map[string]int) {
	l.s.t.Helper()
	if err := l.missing(sample); err != nil {
		l.s.t.Fatal(err)
	}
}

// missing says what the server lacks of what it had answered.
func (l *load) missing(sample map[string]int) error {
	l.s.t.Helper()
	got := l.s.counts(l.app, slices.Collect(maps.Keys(sample)))
	for id, want := range sample {
		if c, known := got[id]; !known || c.Read < want {
			return fmt.Errorf("message %s: known %v, %d readers of %d that were answered", id, known, c.Read, want)
		}
	}
	return nil
}

// exact checks every message, and the readers of some, against the generators. All clients must
// have finished.
func (l *load) exact() {
	l.s.t.Helper()
	l.caughtUp()
	want := map[string]int{}
	for _, c := range l.clients {
		c.generator.Expected(func(_, _, message string, readers int) { want[message] = readers })
	}
	got := l.s.counts(l.app, slices.Collect(maps.Keys(want)))
	wrong := 0
	for id, n := range want {
		if c, known := got[id]; !known || c.Read != n {
			if wrong++; wrong <= 5 {
				l.s.t.Errorf("message %s: known %v, %d readers, want %d", id, known, c.Read, n)
			}
		}
	}
	if wrong > 0 || len(want) == 0 {
		l.s.t.Fatalf("%d of %d messages are wrong", wrong, len(want))
	}
	for _, c := range l.clients {
		left := 10
		c.generator.Readers(func(_, _, message string, readers []string) {
			if left > 0 && c.random.IntN(20) == 0 {
				left--
				l.sameReaders(message, readers)
			}
		})
	}
	if list := l.s.rejections(l.app); len(list) > 0 {
		l.s.t.Errorf("%d events were rejected, among them %+v", len(list), list[0])
	}
}

func (l *load) sameReaders(message string, want []string) {
	l.s.t.Helper()
	var got []string
	last := instant(0)
	for _, r := range l.s.readers(l.app, message, 7) {
		if got = append(got, r.User); r.ReadAt < last {
			l.s.t.Errorf("message %s: %s has read before the reader listed before him", message, r.User)
		}
		last = r.ReadAt
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		l.s.t.Errorf("message %s: readers %q, want %q", message, got, want)
	}
}

// caughtUp waits until the server has folded everything in its log.
func (l *load) caughtUp() {
	l.s.t.Helper()
	caughtUp(l.s.t, l.s)
}

func caughtUp(t testing.TB, s *server) {
	t.Helper()
	eventually(t, "everything is folded", func() bool {
		var status struct {
			Partitions []struct{ Stored, Applied uint64 }
		}
		s.must("GET", "/v1/status", nil, &status)
		for _, p := range status.Partitions {
			if p.Applied < p.Stored {
				return false
			}
		}
		return true
	})
}
