package clickhouse

import (
	"math"
	"unsafe"

	"github.com/ClickHouse/ch-go/proto"
	chcolumn "github.com/ClickHouse/clickhouse-go/v2/lib/column"
)

// dictionary is a column of strings in which the same ones come again and again: it has each string
// once, and for each row the key of its string. It copies the strings. The zero value is an empty
// column.
type dictionary struct {
	values []string // by key; key 0 is the empty string
	keys   []uint32 // by row
	known  map[string]uint32
	arena  []byte
}

// lowCardinality is a column of LowCardinality(String).
type lowCardinality struct{ dictionary }

// repeatedTexts is a column of String whose rows mostly are empty, or the same as others.
type repeatedTexts struct{ dictionary }

// key returns the key of a string, which is added if it is new. added is the number of bytes that
// this takes.
func (d *dictionary) key(s string) (key uint32, added int) {
	if s == "" {
		return 0, 0
	}
	if key, ok := d.known[s]; ok {
		return key, 0
	}
	if d.known == nil {
		d.known = map[string]uint32{}
	}
	key = d.append(s)
	d.known[d.values[key]] = key
	return key, len(s)
}

// append adds a string without looking it up, for strings that do not come again.
func (d *dictionary) append(s string) (key uint32) {
	if len(d.values) == 0 {
		d.values = append(d.values, "")
	}
	d.values = append(d.values, d.copied(s))
	return uint32(len(d.values) - 1)
}

// copied is a copy of a string, in the arena.
func (d *dictionary) copied(s string) string {
	if len(s) > cap(d.arena)-len(d.arena) { // the strings in the old arena stay there
		d.arena = make([]byte, 0, max(64<<10, min(2*cap(d.arena), 1<<20), len(s)))
	}
	from := len(d.arena)
	d.arena = append(d.arena, s...)
	b := d.arena[from:len(d.arena):len(d.arena)]
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// value is the string of a row.
func (d *dictionary) value(row int) string {
	if key := d.keys[row]; key != 0 {
		return d.values[key]
	}
	return ""
}

// Rows is the number of rows.
func (d *dictionary) Rows() int { return len(d.keys) }

func (d *dictionary) reset() {
	clear(d.values)
	d.values, d.keys, d.arena = d.values[:0], d.keys[:0], d.arena[:0]
	clear(d.known)
}

func (d *dictionary) reserve(like blockColumn, rows int) {
	strings := len(like.(dictionaryColumn).dict().values)
	*d = dictionary{
		values: make([]string, 0, strings), keys: make([]uint32, 0, rows), known: make(map[string]uint32, strings),
	}
}

func (d *dictionary) extend(rows int) { d.keys = extended(d.keys, rows) }

// cut copies the strings that its rows have, and no others.
func (d *dictionary) cut(of blockColumn, begin, end int) {
	from := of.(dictionaryColumn).dict()
	keys := make(map[uint32]uint32)
	for _, key := range from.keys[begin:end] {
		if _, ok := keys[key]; !ok && key != 0 {
			keys[key] = d.append(from.values[key])
		}
		d.keys = append(d.keys, keys[key])
	}
}

func (d *dictionary) scan(name string) (expression string, target any) {
	d.values, d.keys = make([]string, 2), []uint32{1}
	return name, &d.values[1]
}

// dictionaryColumn is a column with a dictionary.
type dictionaryColumn interface{ dict() *dictionary }

func (d *dictionary) dict() *dictionary { return d }

func (*lowCardinality) chType() string { return "LowCardinality(String)" }

func (c *lowCardinality) sendTo(to chcolumn.Interface) error { return decodeInto(to, c) }

// EncodeColumn writes the column in the server's format: the strings, and keys that are as narrow
// as their number allows.
func (c *lowCardinality) EncodeColumn(buf *proto.Buffer) {
	var values proto.ColStr
	if len(c.values) == 0 {
		values.Append("")
	}
	values.AppendArr(c.values)
	raw := proto.ColLowCardinalityRaw{Index: &values}
	switch n := len(c.values); {
	case n <= math.MaxUint8+1:
		raw.Key, raw.Keys8 = proto.KeyUInt8, narrowed[uint8](c.keys)
	case n <= math.MaxUint16+1:
		raw.Key, raw.Keys16 = proto.KeyUInt16, narrowed[uint16](c.keys)
	default:
		raw.Key, raw.Keys32 = proto.KeyUInt32, c.keys
	}
	raw.EncodeColumn(buf)
}

func narrowed[T uint8 | uint16](keys []uint32) []T {
	out := make([]T, len(keys))
	for i, key := range keys {
		out[i] = T(key)
	}
	return out
}

func (*repeatedTexts) chType() string { return "String" }

func (c *repeatedTexts) sendTo(to chcolumn.Interface) error { return decodeInto(to, c) }

// EncodeColumn writes the column in the server's format.
func (c *repeatedTexts) EncodeColumn(buf *proto.Buffer) {
	for _, key := range c.keys {
		if key == 0 {
			buf.PutByte(0)
		} else {
			buf.PutString(c.values[key])
		}
	}
}
