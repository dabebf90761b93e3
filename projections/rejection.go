package projections

import (
	"encoding/binary"
	"strings"

	"github.com/receiptd/receiptd/events"
)

// rejectionRing keeps the latest rejections of an app.
type rejectionRing struct {
	slots []Rejection
	next  uint64 // number of rejections so far
	saved uint64 // of those, how many the last capture has seen
}

func (r *rejectionRing) add(x Rejection, limit int) {
	if len(r.slots) < limit {
		r.slots = append(r.slots, x)
	} else {
		r.slots[r.next%uint64(limit)] = x
	}
	r.next++
}

// reject keeps a rejected event of the current entry.
func (p *Partition) reject(i int, o events.Outcome) {
	e := &p.entry
	a := p.appOf(e.b.Conv[i])
	if a == nil {
		return
	}
	name := nameOf(&e.b.Conversations[e.b.Conv[i]])
	user := e.user(i)
	x := Rejection{
		Partition: p.id, Sequence: e.seq, Index: i, At: p.clock, Outcome: o, Kind: e.b.Kinds[i],
		Group: strings.Clone(name.group), User: strings.Clone(user),
	}
	if name.a != "" {
		x.Peer = strings.Clone(peerOf(name, user))
	}
	if e.b.Msg[i] != events.None {
		x.Message = strings.Clone(e.messageID(i))
	}
	a.rejected.add(x, p.limits.Rejections)
}

// saveRejections writes the slots that changed since the last capture.
func (p *Partition) saveRejections(a *app) {
	r := &a.rejected
	limit := uint64(p.limits.Rejections)
	from := r.saved
	if r.next-from > limit {
		from = r.next - limit
	}
	for n := from; n < r.next; n++ {
		slot := int(n % limit)
		p.put(rejectionKey(p.key(), a.num, slot), r.slots[slot].encode(nil, n))
	}
	r.saved = r.next
}

func (x *Rejection) encode(dst []byte, n uint64) []byte {
	dst = binary.AppendUvarint(dst, n)
	dst = binary.AppendUvarint(dst, x.Sequence)
	dst = binary.AppendUvarint(dst, uint64(x.Index))
	dst = appendInt(dst, x.At)
	dst = append(dst, byte(x.Outcome), byte(x.Kind))
	for _, s := range []string{x.Group, x.Peer, x.User, x.Message} {
		dst = appendString(dst, s)
	}
	return dst
}

func (p *Partition) loadRejections(a *app) error {
	prefix := binary.AppendUvarint([]byte{tableRejection}, uint64(a.num))
	r := &a.rejected
	err := p.back.Scan(prefix, func(key, value []byte) error {
		key = key[len(prefix):]
		if len(key) != 4 || int(binary.BigEndian.Uint32(key)) != len(r.slots) {
			return errCorrupt
		}
		v := reader{b: value}
		n := v.uvarint()
		x := Rejection{Partition: p.id, Sequence: v.uvarint(), Index: int(v.uvarint()), At: v.varint()}
		x.Outcome, x.Kind = events.Outcome(v.byte()), events.Kind(v.byte())
		for _, s := range []*string{&x.Group, &x.Peer, &x.User, &x.Message} {
			*s = v.string()
		}
		r.slots = append(r.slots, x)
		r.next = max(r.next, n+1)
		return v.err()
	})
	r.saved = r.next
	return err
}

// poison counts the entries that could not be decoded and keeps the latest.
type poison struct {
	total uint64
	kept  []PoisonEntry
}

// PoisonEntry is a log entry that could not be decoded.
type PoisonEntry struct {
	Partition int
	Sequence  uint64
	At        int64 // Unix milliseconds
	Reason    string
}

// maxPoison bounds the poison entries kept; all are counted.
const maxPoison = 100

func (p *Partition) keepPoison(seq uint64, at int64, reason string) {
	if len(reason) > 200 {
		reason = reason[:200]
	}
	x := PoisonEntry{Partition: p.id, Sequence: seq, At: at, Reason: strings.Clone(reason)}
	p.poison.total++
	p.poison.kept = append(p.poison.kept, x)
	p.put(poisonKey(p.key(), seq), append(appendInt(nil, at), reason...))
	if len(p.poison.kept) > maxPoison {
		p.del(poisonKey(p.key(), p.poison.kept[0].Sequence))
		p.poison.kept = p.poison.kept[1:]
	}
}

func (p *Partition) loadPoison() error {
	return p.back.Scan([]byte{tablePoison}, func(key, value []byte) error {
		if len(key) != 9 {
			return errCorrupt
		}
		r := reader{b: value}
		x := PoisonEntry{Partition: p.id, Sequence: binary.BigEndian.Uint64(key[1:]), At: r.varint()}
		x.Reason = string(r.b)
		p.poison.kept = append(p.poison.kept, x)
		return r.err()
	})
}
