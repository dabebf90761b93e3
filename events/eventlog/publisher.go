package eventlog

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/fair"
)

// publisher appends to one partition: a queue of batches, which producers fill, and a goroutine
// that stores them one after the other.
//
// There is never more than one entry under way, which keeps the order whatever fails. Everything
// that arrives meanwhile goes into the next entry, so entries grow with the load, up to the limits
// of a batch. An event that comes alone is stored at once; under load entries are paced, see pace.
type publisher struct {
	log       *Log
	partition int
	subject   string
	names     string // what the ids of its entries begin with

	capacity *fair.Semaphore // bytes of the events queued and under way
	fold     followed

	mu     sync.Mutex
	queue  []*batch // in order; producers add to the last one
	free   []*batch // empty, for reuse; as many as were ever queued at once
	closed bool
	wake   chan struct{}
	tenant tenantMix

	stats stats

	// What follows belongs to the goroutine.
	replies  string // prefix of the subjects that acknowledgements come to
	acks     chan *nats.Msg
	numbered uint64    // entries so far, for their ids
	next     *outgoing // encoded while another one was under way
	payloads [2][]byte // memory of these two
	last     uint64    // sequence of the last entry known to be stored
	own      uint64    // the same on the publisher's own subject; see ownsubject.go
	latest   load      // of the entry that began last
	depth    depth
}

// load is when an entry began and what went into it.
type load struct {
	began           time.Time
	events, submits int
}

func newPublisher(l *Log, partition int, epoch string, last uint64) (*publisher, error) {
	p := &publisher{
		log: l, partition: partition, names: epoch + "-" + strconv.Itoa(partition) + "-", last: last,
		subject:  events.BatchSubject(partition),
		capacity: fair.New(fair.Options{Capacity: maxQueuedBytes, MaxWaiting: maxWaiting, Weight: l.cfg.Weight}),
		fold:     followed{wake: make(chan struct{}, 1)},
		wake:     make(chan struct{}, 1),
		replies:  l.write.nc.NewInbox() + ".",
		acks:     make(chan *nats.Msg, 64),
	}
	if l.cfg.Node != "" {
		p.subject = events.NodeBatchSubject(partition, l.cfg.Node, epoch)
	}
	p.stats.last.Store(last)
	_, err := l.write.nc.ChanSubscribe(p.replies+"*", p.acks)
	return p, err
}

// run stores batches until the queue is closed and empty, or the log stops.
func (p *publisher) run() {
	for {
		out := p.next
		p.next = nil
		p.follow()
		if out == nil {
			p.pace()
			b := p.await()
			if b == nil {
				return
			}
			out = p.encode(b)
		}
		p.latest = load{began: time.Now(), events: out.events, submits: out.submits}
		p.store(out)
	}
}

// Under load an entry begins no sooner than entryInterval after the one before. Each entry costs
// the same dozen switches between goroutines and one sync, and names its conversations and users
// again, which is paid for on the way in and in every fold. At half of the full load, entries as
// frequent as the disk allows take a fifth more processor time, which those who wait then lack;
// with single receipts of many producers it is a third.
//
// Load means many events, or events of many submits at the same time. A producer that submits one
// event after the other, alone, never waits.
const (
	entryInterval   = time.Millisecond
	paceFromEvents  = 256
	paceFromSubmits = 8
)

// pace waits until the next entry may begin, or the log stops.
func (p *publisher) pace() {
	if p.latest.events < paceFromEvents && p.latest.submits < paceFromSubmits {
		return
	}
	if wait := entryInterval - time.Since(p.latest.began); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-p.log.stopping.Done():
		}
	}
}

// outgoing is an encoded entry.
type outgoing struct {
	result  *result
	number  uint64 // among the entries of this publisher
	id      string // names the entry to the server, as Nats-Msg-Id
	payload []byte
	events  int
	submits int
	queued  int64 // bytes of the queue's capacity that it gives back
}

// encode makes the entry of a batch, and recycles the batch.
func (p *publisher) encode(b *batch) *outgoing {
	p.numbered++
	buf := &p.payloads[p.numbered%2]
	*buf = b.builder.Encode((*buf)[:0])
	out := &outgoing{
		result:  b.result,
		number:  p.numbered,
		id:      p.names + strconv.FormatUint(p.numbered, 10),
		payload: *buf,
		events:  b.builder.Len(),
		submits: b.submits,
		queued:  b.queued,
	}
	p.recycle(b)
	return out
}

// named reports whether this publisher gave an entry its id.
func (p *publisher) named(id string) bool { return strings.HasPrefix(id, p.names) }

// finish tells the tickets what became of an entry.
func (p *publisher) finish(out *outgoing, sequence uint64, err error) {
	if err == nil {
		p.last, p.own = sequence, max(p.own, sequence)
		now := time.Now()
		p.fold.stored(sequence, out.events, now)
		p.mu.Lock()
		alone := p.tenant.alone(now)
		p.mu.Unlock()
		p.capacity.Resize(p.depth.stored(out.queued, now.Sub(p.latest.began), now, alone))
	}
	p.stats.end(out, sequence, err)
	out.result.sequence, out.result.err = sequence, err
	close(out.result.done)
	p.release(out.queued)
}
