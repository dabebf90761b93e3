package sim

import (
	"math/bits"
	"strconv"
)

// Totals count what a generator has made.
type Totals struct {
	Events   int // all of them
	Messages int // sent
	// Receipts are Distinct + Duplicates: delivered and read. The distinct ones are applied,
	// sooner or later.
	Receipts, Distinct, Duplicates int
	// Early is how many of the distinct ones came before their message, Waiting how many of
	// those still wait for it.
	Early, Waiting int
	Joined, Left   int
}

// Add adds the totals of another generator.
func (t *Totals) Add(o Totals) {
	t.Events += o.Events
	t.Messages += o.Messages
	t.Receipts += o.Receipts
	t.Distinct += o.Distinct
	t.Duplicates += o.Duplicates
	t.Early += o.Early
	t.Waiting += o.Waiting
	t.Joined += o.Joined
	t.Left += o.Left
}

// Totals returns what the generator has made up to now.
func (g *Generator) Totals() Totals { return g.totals }

// Expected calls yield for every message sent so far with the number of its readers once everything
// made so far is applied; group is empty for a single chat. A message that only early reads have
// named yet is left out.
func (g *Generator) Expected(yield func(app, group, message string, readers int)) {
	for i := range g.ledger.records {
		r := &g.ledger.records[i]
		if r.sent {
			c := &g.conversations[r.conversation]
			yield(c.app, c.group, strconv.FormatUint(r.id, 10), g.ledger.count(r))
		}
	}
}

// Readers is Expected with the readers themselves, in no particular order. The slice is overwritten
// by the next call.
func (g *Generator) Readers(yield func(app, group, message string, readers []string)) {
	var readers []string
	for i := range g.ledger.records {
		r := &g.ledger.records[i]
		if !r.sent {
			continue
		}
		c := &g.conversations[r.conversation]
		readers = readers[:0]
		for seat, user := range c.users {
			if g.ledger.has(uint32(i), uint32(seat)) {
				readers = append(readers, user)
			}
		}
		yield(c.app, c.group, strconv.FormatUint(r.id, 10), readers)
	}
}

// LedgerBytes is memory to set aside for the ledgers of a benchmark of some seconds that runs in
// the process whose speed is measured.
const LedgerBytes = 512 << 20

// ledger holds for every message the set of seats that have read it, one bit each.
type ledger struct {
	records []record
	sets    []uint64
}

type record struct {
	id           uint64
	conversation uint32
	set          uint32 // index of the first word in sets
	words        uint16
	sent         bool
}

// add enters a message that has not been sent yet.
func (l *ledger) add(id uint64, conversation uint32, seats int) uint32 {
	words := (seats + 63) / 64
	l.records = append(l.records, record{id: id, conversation: conversation, set: uint32(len(l.sets)), words: uint16(words)})
	for range words {
		l.sets = append(l.sets, 0)
	}
	return uint32(len(l.records) - 1)
}

// send marks the message as sent and returns how many have read it already.
func (l *ledger) send(i uint32) int {
	l.records[i].sent = true
	return l.count(&l.records[i])
}

func (l *ledger) read(i, seat uint32) { l.sets[l.records[i].set+seat/64] |= 1 << (seat % 64) }

func (l *ledger) has(i, seat uint32) bool {
	return l.sets[l.records[i].set+seat/64]>>(seat%64)&1 != 0
}

func (l *ledger) count(r *record) int {
	n := 0
	for _, word := range l.sets[r.set : r.set+uint32(r.words)] {
		n += bits.OnesCount64(word)
	}
	return n
}
