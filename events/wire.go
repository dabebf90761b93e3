package events

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

var (
	// ErrMalformed is wrapped by the error for an entry of the log, or an EventList, that none of
	// our encoders wrote.
	ErrMalformed = errors.New("events: malformed")
	// ErrVersion is wrapped by the error for an entry of the log that a newer receiptd wrote: its
	// version, or a compression, kind, flag or field in it, is not known here.
	ErrVersion = errors.New("events: unknown version")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

func unknown(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrVersion, fmt.Sprintf(format, args...))
}

// column is a packed repeated field while it is written.
type column []byte

func (c *column) add(v uint64) {
	switch {
	case v < 1<<7:
		*c = append(*c, byte(v))
		return
	case v < 1<<14:
		*c = append(*c, byte(v)|0x80, byte(v>>7))
		return
	}
	*c = protowire.AppendVarint(*c, v)
}

// appendBytes writes a length-delimited field, also when it is empty.
func appendBytes(dst []byte, num protowire.Number, value []byte) []byte {
	dst = protowire.AppendTag(dst, num, protowire.BytesType)
	return protowire.AppendBytes(dst, value)
}

func appendString(dst []byte, num protowire.Number, value string) []byte {
	dst = protowire.AppendTag(dst, num, protowire.BytesType)
	return protowire.AppendString(dst, value)
}

// appendColumn writes a column unless it is empty.
func appendColumn(dst []byte, num protowire.Number, c column) []byte {
	if len(c) == 0 {
		return dst
	}
	return appendBytes(dst, num, c)
}

// appendUint writes a varint field unless it is 0.
func appendUint(dst []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	dst = protowire.AppendTag(dst, num, protowire.VarintType)
	return protowire.AppendVarint(dst, v)
}

func appendBool(dst []byte, num protowire.Number, v bool) []byte {
	return appendUint(dst, num, protowire.EncodeBool(v))
}

// wireField is one field of a message: value if it is a varint, bytes if it is length-delimited.
type wireField struct {
	num   protowire.Number
	typ   protowire.Type
	value uint64
	bytes []byte
}

// next splits the first field off a message and sets f to it. Our schema uses only the two wire
// types above.
func (f *wireField) next(data []byte) (rest []byte, err error) {
	// Nearly all fields have a tag and a value or length of one byte each.
	if len(data) >= 2 && data[0]>>3-1 < 15 && data[1] < 0x80 {
		f.num, f.typ = protowire.Number(data[0]>>3), protowire.Type(data[0]&7)
		end := 2 + int(data[1])
		switch {
		case f.typ == protowire.VarintType:
			f.value, f.bytes = uint64(data[1]), nil
			return data[2:], nil
		case f.typ == protowire.BytesType && end <= len(data):
			f.value, f.bytes = 0, data[2:end]
			return data[end:], nil
		}
	}
	return f.nextOfAny(data)
}

func (f *wireField) nextOfAny(data []byte) (rest []byte, err error) {
	var n int
	*f = wireField{}
	f.num, f.typ, n = protowire.ConsumeTag(data)
	if n < 0 {
		return nil, malformed("field tag: %v", protowire.ParseError(n))
	}
	data = data[n:]
	switch f.typ {
	case protowire.VarintType:
		f.value, n = protowire.ConsumeVarint(data)
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(data)
	default:
		return nil, malformed("field %d: wire type %d", f.num, f.typ)
	}
	if n < 0 {
		return nil, malformed("field %d: %v", f.num, protowire.ParseError(n))
	}
	return data[n:], nil
}

// is returns an error unless the field has the wire type that its definition says.
func (f *wireField) is(typ protowire.Type) error {
	if f.typ != typ {
		return malformed("field %d: wire type %d instead of %d", f.num, f.typ, typ)
	}
	return nil
}

// splitFields separates the fields of a message that has only length-delimited ones: fields[n] gets
// the value of field n, and repeated is called for each of those that have no name in names.
func splitFields(data []byte, names []string, fields [][]byte, repeated func(num int, value []byte) error) error {
	var f wireField
	for len(data) > 0 {
		rest, err := f.next(data)
		if err != nil {
			return err
		}
		data = rest
		if f.num >= protowire.Number(len(names)) {
			return unknown("field %d", f.num)
		}
		if err := f.is(protowire.BytesType); err != nil {
			return err
		}
		switch {
		case names[f.num] == "":
			if err := repeated(int(f.num), f.bytes); err != nil {
				return err
			}
		case fields[f.num] != nil:
			return malformed("%s: twice", names[f.num])
		default:
			fields[f.num] = f.bytes
		}
	}
	return nil
}

// maxColumn bounds the values of a column and the rows of a table: a batch cannot have more of
// anything than two users for each event, those of its single chat.
const maxColumn = 2 * MaxBatchEvents

// unpack appends the values of a packed column to dst.
func unpack(dst []uint32, data []byte) ([]uint32, error) {
	if len(data) > maxColumn*binary.MaxVarintLen32 {
		return dst, malformed("%d bytes", len(data))
	}
	// A value takes at least one byte.
	need := min(len(data), maxColumn)
	if cap(dst) < need {
		dst = make([]uint32, 0, need)
	}
	out := dst[:cap(dst)]
	n := 0
	for i := 0; i < len(data); {
		// Most columns are long runs of small values.
		if i+8 <= len(data) && n+8 <= len(out) {
			if w := binary.LittleEndian.Uint64(data[i:]); w&0x8080808080808080 == 0 {
				o := out[n : n+8]
				o[0], o[1], o[2], o[3] = uint32(w&0xff), uint32(w>>8&0xff), uint32(w>>16&0xff), uint32(w>>24&0xff)
				o[4], o[5], o[6], o[7] = uint32(w>>32&0xff), uint32(w>>40&0xff), uint32(w>>48&0xff), uint32(w>>56)
				i, n = i+8, n+8
				continue
			}
		}
		if n >= need {
			return dst, malformed("more than %d values", need)
		}
		v := uint64(data[i])
		switch {
		case v < 0x80:
			i++
		case i+1 < len(data) && data[i+1] < 0x80:
			v = v&0x7f | uint64(data[i+1])<<7
			i += 2
		default:
			var size int
			v, size = protowire.ConsumeVarint(data[i:])
			if size < 0 {
				return dst, malformed("%v", protowire.ParseError(size))
			}
			if v > math.MaxUint32 {
				return dst, malformed("value %d", v)
			}
			i += size
		}
		out[n] = uint32(v)
		n++
	}
	return out[:n], nil
}
