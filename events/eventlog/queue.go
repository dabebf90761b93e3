package eventlog

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/semaphore"

	"github.com/receiptd/receiptd/events"
)

// maxBatchBytes bounds an entry without its headers. An event is put into the next batch when this
// one's size and the event's weight might exceed it together; the margin covers the column of times,
// which a batch gets with the first event that has one.
const maxBatchBytes = maxEntryBytes - 4<<10 - 2*events.MaxBatchEvents

// partition is the publisher of one partition: a queue of batches that producers fill, and a
// goroutine that stores them one after the other.
//
// There is never more than one entry under way, which keeps the order whatever fails. Everything
// that arrives meanwhile becomes the next entry, so entries grow with the load, up to the limits of
// a batch. An event that comes alone is stored at once; under load entries keep a distance, see pace.
type partition struct {
	log     *Log
	id      int
	subject string
	epoch   string

	room    *semaphore.Weighted // bytes of the events queued and under way
	waiting atomic.Int32

	mu     sync.Mutex
	queue  []*batch // in order; producers add to the last one
	spares []*batch // empty, as many as were ever queued at once
	closed bool
	wake   chan struct{}

	stats stats

	// What follows belongs to the flusher.
	inbox    string
	acks     chan *nats.Msg
	entries  uint64    // begun so far, for ids
	next     *outgoing // encoded while another was under way
	payloads [2][]byte // memory of the two
	last     uint64    // sequence of the last entry known to be stored
	begun    time.Time // when the last entry began
	events   int       // of that entry
	submits  int       // that have events in it
}

// batch is an entry that is being filled.
type batch struct {
	builder events.Builder
	entry   *entry
	submits int   // that have events in it
	room    int64 // taken from the queue by its events
}

func newPartition(l *Log, id int, epoch string, last uint64) (*partition, error) {
	p := &partition{
		log: l, id: id, epoch: epoch, last: last,
		subject: events.BatchSubject(id),
		room:    semaphore.NewWeighted(maxQueuedBytes),
		wake:    make(chan struct{}, 1),
		inbox:   l.write.nc.NewInbox() + ".",
		acks:    make(chan *nats.Msg, 64),
	}
	p.stats.last.Store(last)
	_, err := l.write.nc.ChanSubscribe(p.inbox+"*", p.acks)
	return p, err
}

// acquire takes room in the queue, and waits for it in the order of arrival.
func (p *partition) acquire(ctx context.Context, room int64) error {
	if p.room.TryAcquire(room) {
		return nil
	}
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > maxWaiting {
		return fmt.Errorf("%w: partition %d: too many producers wait", ErrOverloaded, p.id)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.log.stopping, cancel)()
	if err := p.room.Acquire(ctx, room); err != nil {
		if p.log.stopping.Err() != nil {
			return p.log.refusal()
		}
		return fmt.Errorf("%w: partition %d: no room in the queue: %w", ErrOverloaded, p.id, context.Cause(ctx))
	}
	return nil
}

func (p *partition) release(room int64) {
	if room > 0 {
		p.room.Release(room)
	}
}

// add puts the partition's share of a submit into the queue. There is room.
func (p *partition) add(evs []events.Event, s share, t *Ticket) {
	n := len(s.picked)
	if s.picked == nil {
		n = len(evs)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.open()
	b.submits++
	run := part{entry: b.entry, partition: p.id, first: b.builder.Len()}
	room := s.room
	for k := range n {
		e := &evs[k]
		if s.picked != nil {
			e = &evs[s.picked[k]]
		}
		weight := weigh(e)
		if b.full(weight) {
			if run.n > 0 {
				t.parts = append(t.parts, run)
			}
			b = p.extend()
			b.submits++
			run = part{entry: b.entry, partition: p.id}
		}
		b.builder.Add(e)
		run.n++
		// What a submit larger than the queue weighs beyond it was not taken.
		taken := min(weight, room)
		b.room += taken
		room -= taken
	}
	t.parts = append(t.parts, run)
	p.stats.queued.Add(int64(n))
	p.kick()
}

// full reports whether an event of this weight belongs into the next batch.
func (b *batch) full(weight int64) bool {
	n := b.builder.Len()
	return n == events.MaxBatchEvents || n > 0 && int64(b.builder.Size())+weight > maxBatchBytes
}

// open returns the batch that producers add to. p.mu is held.
func (p *partition) open() *batch {
	if len(p.queue) == 0 {
		return p.extend()
	}
	return p.queue[len(p.queue)-1]
}

// extend begins a batch at the end of the queue. p.mu is held.
func (p *partition) extend() *batch {
	b := new(batch)
	if n := len(p.spares); n > 0 {
		b, p.spares = p.spares[n-1], p.spares[:n-1]
	}
	b.entry = &entry{done: make(chan struct{})}
	p.queue = append(p.queue, b)
	return b
}

// take removes the first batch of the queue, or nil. With settled, it takes only one that grows no
// more.
func (p *partition) take(settled bool) *batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 || settled && len(p.queue) == 1 && p.queue[0].builder.Len() < events.MaxBatchEvents {
		return nil
	}
	b := p.queue[0]
	p.queue = append(p.queue[:0], p.queue[1:]...)
	return b
}

// await takes the first batch of the queue as soon as there is one, or nil when there will be none. Producers that are ready to run go
// first: one that submits wakes this goroutine, which would run next and find that producer's events alone.
func (p *partition) await() *batch {
	for {
		runtime.Gosched()
		if b := p.take(false); b != nil {
			return b
		}
		p.mu.Lock()
		done := p.closed && len(p.queue) == 0
		p.mu.Unlock()
		if done {
			return nil
		}
		<-p.wake
	}
}

// recycle empties a batch that was encoded, for reuse.
func (p *partition) recycle(b *batch) {
	b.builder.Reset()
	b.entry, b.submits, b.room = nil, 0, 0
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spares = append(p.spares, b)
}

// close has the flusher end when the queue is empty.
func (p *partition) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.kick()
}

func (p *partition) kick() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// outgoing is an encoded entry.
type outgoing struct {
	entry   *entry
	n       uint64 // numbers the publisher's entries
	id      string // the same for the server, as Nats-Msg-Id
	payload []byte
	events  int
	submits int
	room    int64
}

// encode makes the entry of a batch and gives the batch back.
func (p *partition) encode(b *batch) *outgoing {
	p.entries++
	buf := &p.payloads[p.entries%2]
	*buf = b.builder.Encode((*buf)[:0])
	out := &outgoing{
		entry:   b.entry,
		n:       p.entries,
		id:      p.epoch + "-" + strconv.Itoa(p.id) + "-" + strconv.FormatUint(p.entries, 10),
		payload: *buf,
		events:  b.builder.Len(),
		submits: b.submits,
		room:    b.room,
	}
	p.recycle(b)
	return out
}
