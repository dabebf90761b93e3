package projections

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/receiptd/receiptd/events"
)

// repeats are the events with ids that the partition knows: docs/rules.md, "Event ids and repeats".
// All are in memory.
type repeats struct {
	// slots has the latest events, the one numbered n at n modulo the limit. What is older than a
	// day stays until its slot is needed.
	slots  []knownEvent
	number map[eventKey]uint64 // of the latest event with the key
	next   uint64              // the number of the next one
	saved  uint64              // of those before it, how many the last capture has

	buf []byte
}

// knownEvent is an event that has an id, and what was decided about it.
type knownEvent struct {
	key     eventKey
	at      int64
	outcome events.Outcome
}

// eventKey stands for an event's id and all that the id names the event together with. It is half
// of a SHA-256: whoever chooses ids, of whatever app, cannot make two events look like one.
type eventKey [16]byte

// decideOnce is decide for an event with an id.
func (p *Partition) decideOnce(i int) (events.Outcome, error) {
	e := &p.scratch
	if e.batch.Kinds[i] == events.AppConfigured || p.appOf(e.batch.Conv[i]) == nil {
		return p.decide(i)
	}
	key := p.repeats.keyOf(e, i)
	if x := p.repeats.find(key, p.rules.limits.EventIDs); x != nil && p.position.clock.now-x.at <= events.EventIDsFor.Milliseconds() {
		return x.outcome.Repeat(), nil
	}
	o, err := p.decide(i)
	if err == nil {
		p.repeats.add(knownEvent{key: key, at: p.position.clock.now, outcome: o}, p.rules.limits.EventIDs)
	}
	return o, err
}

// keyOf is the key of an event of the entry being applied.
func (r *repeats) keyOf(e *scratch, i int) eventKey {
	c := e.conversation(i)
	r.buf = append(r.buf[:0], byte(e.batch.Kinds[i]))
	for _, s := range [...]string{c.App, c.Group, c.A, c.B, e.user(i), e.about(i), e.batch.EventIDs[i]} {
		r.buf = appendString(r.buf, s)
	}
	sum := sha256.Sum256(r.buf)
	return eventKey(sum[:len(eventKey{})])
}

// find is the latest event with a key, nil if none is kept.
func (r *repeats) find(key eventKey, limit int) *knownEvent {
	n, ok := r.number[key]
	if !ok {
		return nil
	}
	return &r.slots[n%uint64(limit)]
}

// clockBack has no event known since later than now.
func (r *repeats) clockBack(now int64) {
	for i := range r.slots {
		if r.slots[i].at > now {
			r.slots[i].at, r.saved = now, 0
		}
	}
}

func (r *repeats) add(x knownEvent, limit int) {
	if r.number == nil {
		r.number = map[eventKey]uint64{}
	}
	if len(r.slots) < limit {
		r.slots = append(r.slots, x)
	} else {
		slot := &r.slots[r.next%uint64(limit)]
		if r.number[slot.key] == r.next-uint64(limit) {
			delete(r.number, slot.key)
		}
		*slot = x
	}
	r.number[x.key] = r.next
	r.next++
}

// saveRepeats writes the slots that changed since the last capture.
func (p *Partition) saveRepeats() {
	r, limit := &p.repeats, uint64(p.rules.limits.EventIDs)
	from := r.saved
	if r.next-from > limit {
		from = r.next - limit
	}
	for n := from; n < r.next; n++ {
		slot := n % limit
		x := &r.slots[slot]
		v := binary.AppendUvarint(r.buf[:0], n)
		v = append(append(appendInt(v, x.at), byte(x.outcome)), x.key[:]...)
		p.changes.put(eventIDKey(p.scratch.key(), int(slot)), v)
		r.buf = v
	}
	r.saved = r.next
}

func (p *Partition) loadRepeats() error {
	r := &p.repeats
	r.number = map[eventKey]uint64{}
	err := p.back.Scan([]byte{tableEventID}, func(key, value []byte) error {
		if len(key) != 5 || int(binary.BigEndian.Uint32(key[1:])) != len(r.slots) {
			return errCorrupt
		}
		v := reader{b: value}
		n := v.uvarint()
		x := knownEvent{at: v.varint(), outcome: events.Outcome(v.byte())}
		if v.bad || copy(x.key[:], v.b) != len(v.b) || len(v.b) != len(x.key) {
			return errCorrupt
		}
		r.slots = append(r.slots, x)
		if latest, ok := r.number[x.key]; !ok || latest < n {
			r.number[x.key] = n
		}
		r.next = max(r.next, n+1)
		return nil
	})
	r.saved = r.next
	return err
}
