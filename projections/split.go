package projections

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// splitRows is how many changes a split commits at a time, about. It is changed by tests only.
var splitRows = 50_000

// splitTotals is how many totals are handed on at a time.
const splitTotals = 10_000

// Split takes out of the state what is of conversations that belong to the other partition, after
// an entry that says so: docs/rules.md, log.repartitioned. Everything applied must have been
// committed before. What changes goes to commit piece by piece, the last piece says that it is
// done; after a crash in between it is done again, and comes to the same. totals, unless it is nil,
// is given the totals of hours and of senders' days as they are from then on, those that are empty
// included; they are those of a partition with Options.TrackCohorts. Then the partition has to be
// opened again.
func (p *Partition) Split(commit func(*Checkpoint) error, totals func([]Cohort) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil {
		return p.failed
	}
	if !p.share.splitDue || p.changes.count() > 0 || p.changes.meta {
		return errors.New("a split that is not due, or of a state that is not committed")
	}
	p.failed = errors.New("the partition was split, and is to be opened again")
	s := &splitter{p: p, commit: commit, totals: totals}
	err := s.split()
	if err != nil {
		p.failed = fmt.Errorf("split at entry %d: %w", p.position.seq, err)
		return p.failed
	}
	return nil
}

// splitter is a split under way. All that it looks at is committed.
type splitter struct {
	p      *Partition
	commit func(*Checkpoint) error
	totals func([]Cohort) error

	kept   []uint64 // a bit for each number of a conversation that stays
	out    changes
	cohort []Cohort // totals to be handed on
}

func (s *splitter) split() error {
	for _, step := range []func() error{s.rows, s.lists, s.sums, s.finish} {
		if err := step(); err != nil {
			return err
		}
		if err := s.flush(0); err != nil {
			return err
		}
	}
	return s.handOn(0)
}

// flush commits if there are more changes than so many.
func (s *splitter) flush(beyond int) error {
	if len(s.out.writes.ops) <= beyond {
		return nil
	}
	c := &Checkpoint{Sequence: s.p.position.seq, writes: s.out.writes}
	err := s.commit(c)
	s.out.writes = c.writes
	s.out.writes.reset()
	return err
}

// rows removes the rows of what goes, and changes those of authors. Names of conversations, by
// whose numbers the others are known, have the smallest keys of these.
func (s *splitter) rows() error {
	return s.p.back.Range([]byte{0}, []byte{0xff}, func(key, value []byte) error {
		stays, err := s.stays(key, value)
		if err != nil {
			return fmt.Errorf("%s: %w", DescribeKey(key), err)
		}
		if !stays {
			s.out.del(key)
		}
		return s.flush(splitRows)
	})
}

// errUndecided is returned for a key of a table of which stays does not say what becomes of it.
var errUndecided = errors.New("nothing says with which half of a split the values of this table go")

// stays reports whether a value stays, or is changed in its place. Each table is named here: one
// that was forgotten would be in both halves, and count twice.
func (s *splitter) stays(key, value []byte) (bool, error) {
	r := reader{b: key[1:]}
	switch key[0] {
	case tableConvByName:
		return s.name(&r, value)
	case tableConversation, tableMember, tableUnreadSingle, tableListed:
		return s.has(r.uvarint()), r.err()
	case tableUserIndex, tableMessage:
		r.uvarint()
		end := bytes.IndexByte(r.b, 0)
		if r.bad || end < 0 {
			return false, errCorrupt
		}
		r.b = r.b[end+1:]
		return s.has(r.uvarint()), r.err()
	case tableCohort:
		r.uvarint()
		r.uint64()
		return s.has(r.uvarint()), r.err()
	case tableItems, tableSummary: // see author
		return true, nil
	case tableParked:
		return s.parked(&r, value)
	case tablePoison:
		return s.p.share.keepsApart(), nil
	case tableAuthor:
		return true, s.author(&r, value)
	case tableMeta, tableClock, tableTree: // of the log, which both halves have up to the fork
		return true, nil
	case tableApp, tableLabel, tableUser, tableEventID: // each partition has them, for itself
		return true, nil
	case tableRejection, tableAlert: // see lists
		return true, nil
	case tableHour, tableGroupDay, tableSenderDay: // see sums
		return true, nil
	}
	return false, errUndecided
}

func (s *splitter) has(conv uint64) bool {
	return conv/64 < uint64(len(s.kept)) && s.kept[conv/64]>>(conv%64)&1 == 1
}

// name notes a conversation that stays, by its name.
func (s *splitter) name(r *reader, value []byte) (bool, error) {
	a, err := s.app(r)
	if err != nil || len(r.b) == 0 {
		return false, errCorrupt
	}
	kind := r.byte()
	n := convName{group: string(r.b)}
	if kind == 's' {
		a, b, ok := bytes.Cut(r.b, []byte{0})
		if !ok {
			return false, errCorrupt
		}
		n = convName{a: string(a), b: string(b)}
	}
	v := reader{b: value}
	conv := v.uvarint()
	if v.bad || conv > s.p.apps.conversations {
		return false, errCorrupt
	}
	if !s.p.share.keeps(a.key, n) {
		return false, nil
	}
	if s.kept == nil {
		s.kept = make([]uint64, s.p.apps.conversations/64+1)
	}
	s.kept[conv/64] |= 1 << (conv % 64)
	return true, nil
}

func (s *splitter) app(r *reader) (*app, error) {
	n := r.uvarint()
	if r.bad || n >= uint64(len(s.p.apps.byNum)) {
		return nil, errCorrupt
	}
	return s.p.apps.byNum[n], nil
}

func (s *splitter) parked(r *reader, value []byte) (bool, error) {
	a, err := s.app(r)
	if err != nil || len(r.b) != 12 {
		return false, errCorrupt
	}
	x := &parked{seq: binary.BigEndian.Uint64(r.b), index: int(binary.BigEndian.Uint32(r.b[8:]))}
	if err := x.decode(value); err != nil {
		return false, err
	}
	return s.p.share.keeps(a.key, x.name), nil
}

// author has a summary list what stays of its items. What was dropped from it, nobody knows of
// which conversations, stays with the one partition that is told of for both.
func (s *splitter) author(r *reader, value []byte) error {
	a, err := s.app(r)
	end := bytes.IndexByte(r.b, 0)
	if err != nil || end != len(r.b)-1 {
		return errCorrupt
	}
	u := &author{app: a, user: string(r.b[:end]), next: 1}
	if err := s.p.loadAuthor(u, value); err != nil {
		return err
	}
	items, err := s.p.summaryItems(u, 0, u.next)
	if err != nil {
		return err
	}
	for _, x := range items {
		if s.has(x.value.conv) {
			continue
		}
		if key := u.remove(s.p.scratch.key(), x.n); key != nil {
			s.out.del(key)
		}
	}
	if !s.p.share.keepsApart() {
		u.dropped = dropped{}
		for i := 0; u.devices != nil && i < len(u.devices.known); i++ {
			u.devices.known[i].dropped = dropped{}
		}
	}
	s.out.put(authorKey(s.p.scratch.key(), a.num, u.user), u.encode(nil, &s.p.scratch.block))
	return nil
}

// lists makes the lists of rejections and alerts again, those of an app in one piece.
func (s *splitter) lists() error {
	p := s.p
	for _, a := range p.apps.byNum {
		splitList(&a.rejected, p.rules.limits.Rejections, func(x *Rejection) bool {
			n := convName{group: x.Group}
			if x.Peer != "" {
				n = convName{a: min(x.User, x.Peer), b: max(x.User, x.Peer)}
			}
			if n == (convName{}) {
				return p.share.keepsApart()
			}
			return p.share.keeps(a.key, n)
		}, func(slot int) { s.out.del(rejectionKey(p.scratch.key(), a.num, slot)) },
			func(slot int, n uint64, x *Rejection) {
				s.out.put(rejectionKey(p.scratch.key(), a.num, slot), x.encode(nil, n))
			})
		for kind, list := range map[byte]*recent[Alert]{alertsOfGroups: &a.alerts, alertParts: &a.parts} {
			limit := p.rules.limits.Alerts
			if kind == alertParts {
				limit = p.rules.limits.AlertParts
			}
			splitList(list, limit, func(x *Alert) bool {
				if kind == alertParts { // which are added up over all partitions
					return p.share.keepsApart()
				}
				return p.share.keeps(a.key, convName{group: x.Key})
			}, func(slot int) { s.out.del(alertKey(p.scratch.key(), a.num, kind, slot)) },
				func(slot int, n uint64, x *Alert) {
					s.out.put(alertKey(p.scratch.key(), a.num, kind, slot), x.encode(nil, n))
				})
		}
		if err := s.flush(splitRows); err != nil {
			return err
		}
	}
	return nil
}

// splitList keeps some of a list, in its order.
func splitList[T any](list *recent[T], limit int, keep func(*T) bool, del func(slot int), put func(slot int, n uint64, x *T)) {
	var kept recent[T]
	var newest []*T
	for x := range list.newest(limit) {
		if keep(x) {
			newest = append(newest, x)
		}
	}
	if len(newest) == len(list.slots) {
		return // also what it says about what was dropped
	}
	for i := len(newest) - 1; i >= 0; i-- {
		kept.add(*newest[i], limit)
	}
	for slot := len(kept.slots); slot < len(list.slots); slot++ {
		del(slot)
	}
	kept.save(limit, put)
}

// handOn hands on the totals if there are more than so many.
func (s *splitter) handOn(beyond int) error {
	if s.totals == nil || len(s.cohort) <= beyond {
		return nil
	}
	err := s.totals(s.cohort)
	s.cohort = s.cohort[:0]
	return err
}

// finish says that the split is done.
func (s *splitter) finish() error {
	if err := s.handOn(0); err != nil {
		return err
	}
	p := s.p
	p.share.splitDue = false
	if !p.share.keepsApart() {
		p.poison.total = 0
	}
	s.out.put(append(p.scratch.key(), tableMeta), p.encodeMeta(nil))
	return nil
}
