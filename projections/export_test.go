package projections

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/DataDog/sketches-go/ddsketch/store"
)

// Merge adds all times of another distribution.
func (d *Distribution) Merge(o *Distribution) {
	d.total += o.total
	d.zero += o.zero
	if o.bins == nil {
		return
	}
	if d.bins == nil {
		d.bins = store.NewDenseStore()
	}
	d.bins.MergeWith(o.bins)
}

// SmallSteps makes a scan take many small steps.
func (s *RateScan) SmallSteps() { s.stepChanged, s.stepStored = 1, 2 }

// Bound makes a scan refuse more than this.
func (s *RateScan) Bound(cohorts, rows int) { s.maxCohorts, s.maxRows = cohorts, rows }

// CacheSize is what the partition counts as the memory of its cache, and what its cached objects
// add up to.
func (p *Partition) CacheSize() (counted, actual int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.cache.messages.items {
		actual += m.cost()
	}
	for _, c := range p.cache.conversations.items {
		actual += c.cost()
	}
	for _, u := range p.cache.authors.items {
		actual += u.cost()
	}
	for _, u := range p.cache.users.items {
		actual += u.cost()
	}
	for _, x := range slices.Concat(p.cache.cohorts.items, p.cache.totals.items) {
		actual += x.cost()
	}
	return p.cache.bytes, actual
}

// EarlierRows is how a version that listed each message of a group in a row of its own stored
// a key.
func EarlierRows(key, value string) map[string]string {
	switch {
	case key[0] == tableListed:
		rows := map[string]string{}
		prefix, seq := key[1:len(key)-8], binary.BigEndian.Uint64([]byte(key[len(key)-8:]))
		for d := (blockDecoder{r: reader{b: []byte(value)}}); len(d.r.b) > 0; seq++ {
			if x, ok := d.listed(1 << 31); ok {
				row := append([]byte{tableUnreadSingle}, prefix...)
				rows[string(binary.BigEndian.AppendUint64(row, seq))] = string(x.encode(nil))
			}
		}
		return rows
	case key[0] == tableConversation && value[0]&convBlocks != 0:
		c := conversation{app: &app{}}
		num, members, err := c.decodeHeader([]byte(value))
		if err != nil || c.rowed != 0 {
			panic("no header of this version")
		}
		c.app.num, c.members = uint32(num), make([]member, members)
		c.rowed = 1<<63 - 1 // can be told from all that comes before and after it
		v, mark := c.encodeHeader(nil), binary.AppendUvarint(nil, c.rowed)
		at := bytes.Index(v, mark)
		v = slices.Delete(v, at, at+len(mark))
		v[0] &^= convBlocks
		return map[string]string{key: string(v)}
	}
	return map[string]string{key: value}
}

// EarlierSummaries is a state as a version stored it that had a row for each item of a summary. If
// it is an early one, the numbers of the items are in the keys only.
func EarlierSummaries(state map[string]string, early bool) map[string]string {
	earlier := map[string]string{}
	for key, value := range state {
		switch key[0] {
		case tableItems:
		case tableAuthor:
			earlierSummary(state, earlier, key, value, early)
		default:
			earlier[key] = value
		}
	}
	return earlier
}

func earlierSummary(state, earlier map[string]string, key, value string, early bool) {
	u := author{next: 1}
	if err := (&Partition{}).loadAuthor(&u, []byte(value)); err != nil {
		panic(err)
	}
	row := func(n uint64, x summaryRef) error {
		if u.numbers.has(n) {
			row := binary.BigEndian.AppendUint64([]byte("s"+key[1:]), n)
			earlier[string(row)] = string(append(binary.AppendUvarint(nil, x.conv), x.id...))
		}
		return nil
	}
	for _, x := range u.items.items {
		_ = row(x.n, x.value)
	}
	for block, value := range state {
		if at, ok := strings.CutPrefix(block, "i"+key[1:]); ok {
			if err := eachItem(binary.BigEndian.Uint64([]byte(at)), []byte(value), row); err != nil {
				panic(err)
			}
		}
	}
	v := binary.AppendUvarint(nil, u.next)
	if !early || u.numbers.count == 0 || u.dropped.items > 0 || u.devices != nil {
		v = u.numbers.encode(v)
	}
	if u.dropped.items > 0 || u.devices != nil {
		v = u.dropped.encode(v)
	}
	if u.devices != nil {
		v = u.devices.encode(v)
	}
	earlier[key] = string(v)
}

// Strays are the keys in the backing of items that no summary has.
func (p *Partition) Strays() (keys []string, err error) {
	for _, table := range []byte{tableItems, tableSummary} {
		err = errors.Join(err, p.back.Scan([]byte{table}, func(key, _ []byte) error {
			r := reader{b: key[1:]}
			u := &author{app: p.apps.byNum[r.uvarint()], next: 1}
			user, at, _ := bytes.Cut(r.b, []byte{0})
			u.user = string(user)
			v, err := p.back.Get(authorKey(nil, u.app.num, u.user))
			if err == nil {
				err = p.loadAuthor(u, slices.Clone(v))
			}
			first := binary.BigEndian.Uint64(at)
			end := first + blockNumbers
			if table == tableSummary {
				end = first + 1
			} else {
				first = max(first, u.rowed+1)
			}
			if !u.numbers.hasAny(first, end) || end > u.next {
				keys = append(keys, string(key))
			}
			return err
		}))
	}
	return keys, err
}

// A split in a test commits after a few changes.
func init() { splitRows = 3 }
