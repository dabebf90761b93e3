package projections

import (
	"encoding/binary"
	"strings"

	"github.com/receiptd/receiptd/events"
)

// parked is a receipt that came before its message.
type parked struct {
	seq     uint64 // position of its arrival
	index   int
	at      int64
	read    bool // message.read, else message.delivered
	name    convName
	message string
	user    string
	content string
	gone    bool
	put     firstPut // where the next checkpoint may have it
}

type parkedRef struct {
	name    convName
	message string
}

// parkingLot holds the parked receipts of one app, all in memory.
type parkingLot struct {
	byMessage map[parkedRef][]*parked
	arrivals  []*parked // oldest first; gone ones are skipped
	count     int
}

func newParkingLot() parkingLot { return parkingLot{byMessage: map[parkedRef][]*parked{}} }

func (l *parkingLot) add(r *parked) {
	ref := parkedRef{r.name, r.message}
	l.byMessage[ref] = append(l.byMessage[ref], r)
	l.arrivals = append(l.arrivals, r)
	l.count++
}

// oldest is the receipt that waits longest, nil if none does.
func (l *parkingLot) oldest() *parked {
	for len(l.arrivals) > 0 {
		if r := l.arrivals[0]; !r.gone {
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
	r.gone = true
	l.count--
	// Receipts mostly leave in another order than they came: drop the holes once they are the larger part.
	if len(l.arrivals) > 64 && len(l.arrivals) > 2*l.count {
		keep := make([]*parked, 0, l.count)
		for _, x := range l.arrivals {
			if !x.gone {
				keep = append(keep, x)
			}
		}
		l.arrivals = keep
	}
}

// park keeps a receipt until its message comes.
func (p *Partition) park(a *app, i int) events.Outcome {
	e := &p.entry
	name := nameOf(&e.b.Conversations[e.b.Conv[i]])
	id, user, read := e.messageID(i), e.user(i), e.b.Kinds[i] == events.MessageRead
	for _, r := range a.parked.byMessage[parkedRef{name, id}] {
		if r.read == read && r.user == user {
			return events.OutcomeDuplicate
		}
	}
	r := &parked{
		seq: e.seq, index: i, at: p.clock, read: read, name: name.clone(),
		message: strings.Clone(id), user: strings.Clone(user), content: strings.Clone(e.content(i)),
	}
	a.parked.add(r)
	r.put = p.putFirst(parkedKey(p.key(), a.num, r.seq, r.index), r.encode(nil))
	if a.parked.count > p.limits.Parked {
		p.expire(a, a.parked.oldest())
	}
	return events.OutcomeParked
}

// unpark decides the receipts that waited for a message, in the order of their arrival.
func (p *Partition) unpark(a *app, m *message) error {
	if a.parked.count == 0 {
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
		p.undo(r.put, parkedKey(p.key(), a.num, r.seq, r.index))
		o := a.takes(r.read, m.conv.group())
		if o == events.OutcomeApplied {
			var err error
			if o, err = p.decideReceipt(a, m, r.user, r.content, r.read); err != nil {
				return err
			}
		}
		if o.Rejected() {
			p.rejectParked(a, r, o)
		}
	}
	return nil
}

// expireParked lets go of receipts whose message did not come in time.
func (p *Partition) expireParked() {
	limit := events.ParkedFor.Milliseconds()
	for _, a := range p.appsByNum {
		if a.parked.count == 0 {
			continue
		}
		for r := a.parked.oldest(); r != nil && p.clock-r.at > limit; r = a.parked.oldest() {
			p.expire(a, r)
		}
	}
}

func (p *Partition) expire(a *app, r *parked) {
	a.parked.remove(r)
	p.undo(r.put, parkedKey(p.key(), a.num, r.seq, r.index))
	p.rejectParked(a, r, events.RejectedParkedExpired)
}

func (p *Partition) rejectParked(a *app, r *parked, o events.Outcome) {
	kind := events.MessageDelivered
	if r.read {
		kind = events.MessageRead
	}
	x := Rejection{
		Partition: p.id, Sequence: r.seq, Index: r.index, At: p.clock, Outcome: o, Kind: kind,
		Group: r.name.group, User: r.user, Message: r.message,
	}
	if r.name.group == "" {
		x.Peer = peerOf(r.name, r.user)
	}
	a.rejected.add(x, p.limits.Rejections)
}

func peerOf(n convName, user string) string {
	if n.a == user {
		return n.b
	}
	return n.a
}

func (r *parked) encode(dst []byte) []byte {
	kind := byte(0)
	if r.read {
		kind = 1
	}
	dst = append(dst, kind)
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
		v := reader{b: value}
		r := &parked{seq: binary.BigEndian.Uint64(key), index: int(binary.BigEndian.Uint32(key[8:]))}
		r.read = v.byte() == 1
		r.at = v.varint()
		for _, s := range []*string{&r.name.group, &r.name.a, &r.name.b, &r.message, &r.user, &r.content} {
			*s = v.string()
		}
		a.parked.add(r)
		return v.err()
	})
}
