package projections

import (
	"encoding/binary"
	"strings"

	"github.com/receiptd/receiptd/events"
)

// reject records a rejected event of the current entry. An app without settings has no rejections.
func (p *Partition) reject(i int, o events.Outcome) {
	e := &p.scratch
	a := p.appOf(e.batch.Conv[i])
	if a == nil {
		return
	}
	name := nameOf(e.conversation(i))
	user := e.user(i)
	x := Rejection{
		Partition: p.share.id, Sequence: p.position.seq, Index: i, At: p.position.clock.now, Outcome: o, Kind: e.batch.Kinds[i],
		Group: strings.Clone(name.group), User: strings.Clone(user),
	}
	if name.a != "" {
		x.Peer = strings.Clone(name.peerOf(user))
	}
	x.Message = strings.Clone(e.about(i))
	a.rejected.add(x, p.rules.limits.Rejections)
}

// Rejections returns the latest rejections of the app, newest first.
func (p *Partition) Rejections(appKey string, limit int) []Rejection {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.apps.byKey[appKey]
	if a == nil {
		return nil
	}
	var out []Rejection
	for x := range a.rejected.newest(p.rules.limits.Rejections) {
		if len(out) == limit {
			break
		}
		out = append(out, *x)
	}
	return out
}

// saveRejections writes the slots that changed since the last capture.
func (p *Partition) saveRejections(a *app) {
	a.rejected.save(p.rules.limits.Rejections, func(slot int, n uint64, x *Rejection) {
		p.changes.put(rejectionKey(p.scratch.key(), a.num, slot), x.encode(nil, n))
	})
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
	return p.back.Scan(prefix, func(key, value []byte) error {
		key = key[len(prefix):]
		if len(key) != 4 {
			return errCorrupt
		}
		v := reader{b: value}
		n := v.uvarint()
		x := Rejection{Partition: p.share.id, Sequence: v.uvarint(), Index: int(v.uvarint()), At: v.varint()}
		x.Outcome, x.Kind = events.Outcome(v.byte()), events.Kind(v.byte())
		for _, s := range []*string{&x.Group, &x.Peer, &x.User, &x.Message} {
			*s = v.string()
		}
		if err := v.err(); err != nil {
			return err
		}
		return a.rejected.load(int(binary.BigEndian.Uint32(key)), n, x)
	})
}
