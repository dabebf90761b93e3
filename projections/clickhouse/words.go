package clickhouse

import (
	"math"
	"unsafe"

	"github.com/ClickHouse/ch-go/proto"
)

// words is a column of strings of which the same come again and again: each of them once, and for each row which one it
// has. The zero value is an empty column.
type words struct {
	values []string // the first one is empty
	keys   []uint32 // by row, an index into values
	known  map[string]uint32
	arena  []byte
}

// sized is an empty column with room for some rows, and as many strings as this one has.
func (w *words) sized(rows int) words {
	return words{
		values: make([]string, 0, len(w.values)), keys: make([]uint32, 0, rows),
		known: make(map[string]uint32, len(w.known)),
	}
}

// reset empties the column and keeps its memory.
func (w *words) reset() {
	clear(w.values)
	w.values, w.keys, w.arena = w.values[:0], w.keys[:0], w.arena[:0]
	clear(w.known)
}

// key is that of a string, of which it keeps a copy if it is new. fresh is the size of that copy.
func (w *words) key(s string) (key uint32, fresh int) {
	if s == "" {
		return 0, 0
	}
	if key, ok := w.known[s]; ok {
		return key, 0
	}
	if w.known == nil {
		w.known = map[string]uint32{}
	}
	key = w.append(s)
	w.known[w.values[key]] = key
	return key, len(s)
}

// append adds a string without looking whether it is there already, for those that do not come again.
func (w *words) append(s string) uint32 {
	if len(w.values) == 0 {
		w.values = append(w.values, "")
	}
	w.values = append(w.values, w.keep(s))
	return uint32(len(w.values) - 1)
}

// keep copies a string.
func (w *words) keep(s string) string {
	if len(s) > cap(w.arena)-len(w.arena) { // what is in the old one stays there
		w.arena = make([]byte, 0, max(64<<10, min(2*cap(w.arena), 1<<20), len(s)))
	}
	from := len(w.arena)
	w.arena = append(w.arena, s...)
	kept := w.arena[from:len(w.arena):len(w.arena)]
	return unsafe.String(unsafe.SliceData(kept), len(kept))
}

// slice is some rows of the column, with the strings of these rows only.
func (w *words) slice(from, to int) words {
	var out words
	keys := make(map[uint32]uint32)
	for _, key := range w.keys[from:to] {
		if _, ok := keys[key]; !ok && key != 0 {
			keys[key] = out.append(w.values[key])
		}
		out.keys = append(out.keys, keys[key])
	}
	return out
}

// strings are the rows.
func (w *words) strings() []string {
	rows := make([]string, len(w.keys))
	for i, key := range w.keys {
		if key != 0 {
			rows[i] = w.values[key]
		}
	}
	return rows
}

// Rows is the number of rows.
func (w *words) Rows() int { return len(w.keys) }

// EncodeColumn writes the column as a LowCardinality(String).
func (w *words) EncodeColumn(buf *proto.Buffer) {
	var values proto.ColStr
	if len(w.values) == 0 {
		values.Append("")
	}
	values.AppendArr(w.values)
	c := proto.ColLowCardinalityRaw{Index: &values}
	switch n := len(w.values); {
	case n <= math.MaxUint8+1:
		c.Key, c.Keys8 = proto.KeyUInt8, narrowed[uint8](w.keys)
	case n <= math.MaxUint16+1:
		c.Key, c.Keys16 = proto.KeyUInt16, narrowed[uint16](w.keys)
	default:
		c.Key, c.Keys32 = proto.KeyUInt32, w.keys
	}
	c.EncodeColumn(buf)
}

func narrowed[T uint8 | uint16](keys []uint32) []T {
	out := make([]T, len(keys))
	for i, key := range keys {
		out[i] = T(key)
	}
	return out
}

// plain is a column that has no dictionary in the table.
type plain struct{ *words }

// EncodeColumn writes the column as a String.
func (p plain) EncodeColumn(buf *proto.Buffer) {
	for _, key := range p.keys {
		if key == 0 {
			buf.PutByte(0)
		} else {
			buf.PutString(p.values[key])
		}
	}
}
