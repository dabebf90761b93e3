package clients

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

// books record, for the phase under way, every message that was read and how long it took until its
// author was told. The connections write to them while the phases come and go: everything is read
// and written under the mutex, by methods.
type books struct {
	mu       sync.Mutex
	messages map[uint64]*message
	took     []time.Duration
	receipts int // delivered and read, sent
	told     int // reads that their author was told of
	refused  map[string]int
}

type message struct {
	reads []time.Time // when each was sent, in that order
	told  int
}

func newBooks() *books {
	b := new(books)
	b.begin()
	return b
}

// begin forgets the phase before.
func (b *books) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages, b.refused = make(map[uint64]*message), make(map[string]int)
	b.took, b.receipts, b.told = nil, 0, 0
}

// read notes that a receipt is being sent.
func (b *books) read(id uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.messages[id]
	if m == nil {
		m = new(message)
		b.messages[id] = m
	}
	m.reads = append(m.reads, time.Now())
	b.receipts++
}

func (b *books) delivered() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.receipts++
}

func (b *books) refusal(reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refused[reason]++
}

// notice records what an author was told. For reads in a group that is a count, which stands for as
// many of the earliest reads.
func (b *books) notice(body *msyncpb.Body) {
	if body.GetType() != int32(msyncpb.Body_READ_ACK) {
		return
	}
	now, id, count := time.Now(), body.GetAckMessageId(), 1
	if len(body.Ext) > 0 {
		var counts map[string]int
		if json.Unmarshal([]byte(body.Ext[0].GetStringValue()), &counts) == nil {
			count = counts[strconv.FormatUint(id, 10)]
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.messages[id]
	if m == nil { // of the phase before, and counted there
		return
	}
	for ; m.told < min(count, len(m.reads)); m.told++ {
		b.took = append(b.took, now.Sub(m.reads[m.told]))
		b.told++
	}
}

// sums returns how many reads were sent, and of how many their authors were told.
func (b *books) sums() (sent, told int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.messages {
		sent += len(m.reads)
	}
	return sent, b.told
}

// sent returns how many receipts were sent, delivered and read together.
func (b *books) sent() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.receipts
}

// refusals returns the reasons that the server gave for refusing messages, and how often it gave
// each.
func (b *books) refusals() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.refused)
}

// reads returns how often each message was read.
func (b *books) reads() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make(map[string]int, len(b.messages))
	for id, m := range b.messages {
		all[strconv.FormatUint(id, 10)] = len(m.reads)
	}
	return all
}

// Latency is a distribution of times in milliseconds.
type Latency struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

// latency sums up the times.
func (b *books) latency() Latency {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.took) == 0 {
		return Latency{}
	}
	slices.Sort(b.took)
	at := func(part float64) float64 {
		return float64(b.took[int(part*float64(len(b.took)-1))].Microseconds()) / 1000
	}
	return Latency{at(.5), at(.99), at(1)}
}
