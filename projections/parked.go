package projections

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/receiptd/receiptd/events"
)

// parked is a receipt, a recall or a conversation read that came before its message. In this file,
// a receipt means any of them.
type parked struct {
	seq     uint64 // of the entry it came in
	index   int    // in that entry
	at      int64
	kind    events.Kind
	name    convName
	message string
	user    string
	content string
	left    bool     // the lot
	put     firstPut // where the next checkpoint may have it
}

type parkedRef struct {
	name    convName
	message string
}

// parkingLot holds the parked receipts of one app, all in memory.
type parkingLot struct {
	byMessage map[parkedRef][]*parked
	// ids counts what waits for messages with an id, in whatever conversation: every message that
	// is sent asks, and most need not have the name of their conversation hashed.
	ids      map[string]int
	arrivals []*parked // oldest first; those that left are skipped
	count    int
	listed   bool // among the apps that are waiting
}

func newParkingLot() parkingLot {
	return parkingLot{byMessage: map[parkedRef][]*parked{}, ids: map[string]int{}}
}

func (l *parkingLot) add(r *parked) {
	ref := parkedRef{r.name, r.message}
	l.byMessage[ref] = append(l.byMessage[ref], r)
	l.ids[r.message]++
	l.arrivals = append(l.arrivals, r)
	l.count++
}

// oldest is the receipt that has waited longest, nil if none waits.
func (l *parkingLot) oldest() *parked {
	for len(l.arrivals) > 0 {
		if r := l.arrivals[0]; !r.left {
			return r
		}
		l.arrivals[0] = nil
		l.arrivals = l.arrivals[1:]
	}
	return nil
}

// remove takes out a receipt that is not decided with its message.
func (l *parkingLot) remove(r *parked) {
	ref := parkedRef{r.name, r.message}
	list := l.byMessage[ref]
	for k, x := range list {
		if x == r {
			list = append(list[:k], list[k+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(l.byMessage, ref)
	} else {
		l.byMessage[ref] = list
	}
	l.leave(r)
}

func (l *parkingLot) leave(r *parked) {
	r.left = true
	l.count--
	if l.ids[r.message]--; l.ids[r.message] == 0 {
		delete(l.ids, r.message)
	}
	// Receipts mostly leave in another order than they came in: drop the holes once there are more
	// of them than of receipts.
	if len(l.arrivals) > 64 && len(l.arrivals) > 2*l.count {
		waiting := make([]*parked, 0, l.count)
		for _, x := range l.arrivals {
			if !x.left {
				waiting = append(waiting, x)
			}
		}
		l.arrivals = waiting
	}
}

// park keeps a receipt until its message comes: step 2 of docs/rules.md, "Receipts".
func (p *Partition) park(a *app, i int) events.Outcome {
	e := &p.scratch
	name := nameOf(e.conversation(i))
	id, user, kind := e.about(i), e.user(i), e.batch.Kinds[i]
	for _, r := range a.parked.byMessage[parkedRef{name, id}] {
		if r.kind == kind && r.user == user {
			return events.OutcomeDuplicate
		}
	}
	r := &parked{
		seq: p.position.seq, index: i, at: p.position.clock.now, kind: kind, name: name.clone(),
		message: strings.Clone(id), user: strings.Clone(user), content: strings.Clone(e.content(i)),
	}
	a.parked.add(r)
	p.apps.park(a)
	r.put = p.changes.putFirst(parkedKey(p.scratch.key(), a.num, r.seq, r.index), r.encode(nil))
	if a.parked.count > p.rules.limits.Parked {
		p.expire(a, a.parked.oldest())
	}
	return events.OutcomeParked
}

// unpark decides the receipts that waited for a message, in the order of their arrival, as if they
// came with it, so long ago: the end of docs/rules.md, "message.sent".
func (p *Partition) unpark(a *app, m *message, ago int64) error {
	if a.parked.ids[m.id] == 0 {
		return nil
	}
	ref := parkedRef{m.conv.name, m.id}
	list := a.parked.byMessage[ref]
	if list == nil {
		return nil
	}
	delete(a.parked.byMessage, ref)
	for _, r := range list {
		a.parked.leave(r)
		p.changes.undo(r.put, parkedKey(p.scratch.key(), a.num, r.seq, r.index))
		o, err := p.decideParked(a, m, r, ago)
		if err != nil {
			return err
		}
		if o.Rejected() {
			p.rejectParked(a, r, o)
		}
	}
	return nil
}

// decideParked decides what waited for a message, which was sent so long ago.
func (p *Partition) decideParked(a *app, m *message, r *parked, ago int64) (events.Outcome, error) {
	switch r.kind {
	case events.MessageRecalled:
		return p.decideRecall(m, r.user)
	case events.ConversationRead:
		return p.readTo(a, m.conv, r.user, m.seq, ago)
	}
	ordinal, known := m.conv.ordinal(r.user)
	return p.decideReceipt(a, m, giver{r.user, ordinal, known}, r.content, r.kind, ago)
}

// expireParked rejects the receipts whose message did not come in time.
func (p *Partition) expireParked() {
	limit := events.ParkedFor.Milliseconds()
	for _, a := range p.apps.parking() {
		for r := a.parked.oldest(); r != nil && p.position.clock.now-r.at > limit; r = a.parked.oldest() {
			p.expire(a, r)
		}
	}
}

func (p *Partition) expire(a *app, r *parked) {
	a.parked.remove(r)
	p.changes.undo(r.put, parkedKey(p.scratch.key(), a.num, r.seq, r.index))
	o := events.RejectedNoneCame
	if r.kind == events.MessageRead && r.name.group != "" {
		o = events.RejectedParkedExpired
	}
	p.rejectParked(a, r, o)
}

func (p *Partition) rejectParked(a *app, r *parked, o events.Outcome) {
	x := Rejection{
		Partition: p.share.id, Sequence: r.seq, Index: r.index, At: p.position.clock.now, Outcome: o, Kind: r.kind,
		Group: r.name.group, User: r.user, Message: r.message,
	}
	if r.name.group == "" {
		x.Peer = r.name.peerOf(r.user)
	}
	a.rejected.add(x, p.rules.limits.Rejections)
}

// parkedKinds are the kinds of what is parked, by the numbers that are stored.
var parkedKinds = [...]events.Kind{
	events.MessageDelivered, events.MessageRead, events.MessageRecalled, events.ConversationRead,
}

func (r *parked) encode(dst []byte) []byte {
	dst = append(dst, byte(slices.Index(parkedKinds[:], r.kind)))
	dst = appendInt(dst, r.at)
	for _, s := range []string{r.name.group, r.name.a, r.name.b, r.message, r.user, r.content} {
		dst = appendString(dst, s)
	}
	return dst
}

func (p *Partition) loadParked(a *app) error {
	prefix := binary.AppendUvarint([]byte{tableParked}, uint64(a.num))
	return p.back.Scan(prefix, func(key, value []byte) error {
		key = key[len(prefix):]
		if len(key) != 12 {
			return errCorrupt
		}
		r := &parked{seq: binary.BigEndian.Uint64(key), index: int(binary.BigEndian.Uint32(key[8:]))}
		if err := r.decode(value); err != nil {
			return err
		}
		a.parked.add(r)
		p.apps.park(a)
		return nil
	})
}

// decode takes over a stored value; the key says where it came in.
func (r *parked) decode(value []byte) error {
	v := reader{b: value}
	kind := v.byte()
	if int(kind) >= len(parkedKinds) {
		return errCorrupt
	}
	r.kind = parkedKinds[kind]
	r.at = v.varint()
	for _, s := range []*string{&r.name.group, &r.name.a, &r.name.b, &r.message, &r.user, &r.content} {
		*s = v.string()
	}
	return v.err()
}
