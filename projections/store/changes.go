package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"github.com/cockroachdb/crlib/crbytes"

	"github.com/receiptd/receiptd/projections"
)

// yieldEvery is the number of changes after which a commit gives way to others.
const yieldEvery = 128

// maxRetainedBytes bounds the memory that is kept from one checkpoint for the next.
const maxRetainedBytes = 16 << 20

// changes are the changes of a checkpoint: for each key the last one, in the order of the keys.
type changes struct {
	background
	buf  []byte
	list []change
	// common is the length of the prefix that the keys of each table share; first is one of these
	// keys.
	common [256]int
	first  [256]change
}

// change is a key that is set or removed. Key and value lie in the buffer, one after the other.
type change struct {
	at       int
	keyLen   uint32
	valueLen uint32
	del      bool
	table    byte   // the first byte of the key
	head     uint64 // the first bytes of the key after the shared prefix, for comparing
}

func (x *changes) key(i int) []byte { return x.keyOf(&x.list[i]) }
func (x *changes) value(i int) []byte {
	c := &x.list[i]
	return x.buf[c.at+int(c.keyLen):][:c.valueLen]
}

func (x *changes) keyOf(c *change) []byte { return x.buf[c.at:][:c.keyLen] }

// gather takes and sorts the changes of a checkpoint.
func (x *changes) gather(c *projections.Checkpoint) error {
	if cap(x.buf) > maxRetainedBytes {
		x.buf, x.list = nil, nil
	}
	x.buf, x.list = x.buf[:0], x.list[:0]
	x.since = time.Now()
	x.first = [256]change{}
	add := func(key, value []byte, del bool) error {
		if len(x.list)%yieldEvery == 0 {
			x.yield()
		}
		x.add(key, value, del)
		return nil
	}
	err := c.Each(func(key, value []byte) error { return add(key, value, false) }, func(key []byte) error { return add(key, nil, true) })
	if err == nil {
		x.sort()
	}
	return err
}

func (x *changes) add(key, value []byte, del bool) {
	c := change{at: len(x.buf), keyLen: uint32(len(key)), valueLen: uint32(len(value)), del: del, table: key[0]}
	x.list = append(x.list, c)
	x.buf = append(append(x.buf, key...), value...)
	if first := &x.first[c.table]; first.keyLen == 0 {
		*first, x.common[c.table] = c, len(key)
	} else {
		x.common[c.table] = crbytes.CommonPrefix(x.keyOf(first)[:x.common[c.table]], key)
	}
}

// sort puts the changes into the order of their keys and keeps the last one of each key. It looks
// at the keys themselves only where their heads are equal, because they are scattered over the
// buffer.
func (x *changes) sort() {
	for i := range x.list {
		c := &x.list[i]
		var head [8]byte
		copy(head[:], x.keyOf(c)[x.common[c.table]:])
		c.head = binary.BigEndian.Uint64(head[:])
	}
	n := 0
	slices.SortFunc(x.list, func(a, b change) int {
		if n++; n%(8*yieldEvery) == 0 {
			x.yield()
		}
		switch {
		case a.table != b.table:
			return cmp.Compare(a.table, b.table)
		case a.head != b.head:
			return cmp.Compare(a.head, b.head)
		}
		return cmp.Or(bytes.Compare(x.keyOf(&a), x.keyOf(&b)), a.at-b.at)
	})
	last := x.list[:0]
	for i := range x.list {
		if i+1 == len(x.list) || !bytes.Equal(x.key(i), x.key(i+1)) {
			last = append(last, x.list[i])
		}
	}
	x.list = last
}

// fileEnd is the index after the last change that goes into a file which begins at from. The file
// ends where a table of the state ends, unless it would be very small.
func (x *changes) fileEnd(from int) int {
	size := 0
	for i := from; i < len(x.list); i++ {
		if i > from && x.key(i)[0] != x.key(i - 1)[0] && size >= minFileBytes {
			return i
		}
		size += int(x.list[i].keyLen + x.list[i].valueLen)
	}
	return len(x.list)
}

// each hands out the changes from one index up to another, in order.
func (x *changes) each(from, end int, set func(key, value []byte) error, del func(key []byte) error) error {
	for i := from; i < end; i++ {
		if i%yieldEvery == 0 {
			x.yield()
		}
		var err error
		if x.list[i].del {
			err = del(x.key(i))
		} else {
			err = set(x.key(i), x.value(i))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
