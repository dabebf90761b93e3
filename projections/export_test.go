package projections

import (
	"bytes"
	"encoding/binary"
	"slices"

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
		for d := (blockDecoder{r: reader{b: []byte(value)}, members: 1 << 31}); len(d.r.b) > 0; seq++ {
			if x, ok := d.next(); ok {
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

// A split in a test commits after a few changes.
func init() { splitRows = 3 }
