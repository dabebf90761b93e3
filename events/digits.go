package events

import (
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"
)

// Numbers in ids, and varints: the innermost loops of the codec.

// varint is [protowire.ConsumeVarint] with the common sizes first; used <= 0 means malformed.
func varint(data []byte) (v uint64, used int) {
	if len(data) >= 8 {
		w := binary.LittleEndian.Uint64(data)
		switch {
		case w&0x80 == 0:
			return w & 0x7f, 1
		case w&0x80808080 == 0x00808080:
			return w&0x7f | w>>1&(0x7f<<7) | w>>2&(0x7f<<14) | w>>3&(0x7f<<21), 4
		}
	}
	return protowire.ConsumeVarint(data)
}

var powersOf10 = func() (p [maxDigits + 1]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = 10 * p[i-1]
	}
	return p
}()

func trailingDigits(id string) int {
	n := len(id)
	for n > 0 && id[n-1]-'0' <= 9 {
		n--
	}
	return len(id) - n
}

// parseDigits is the value of at most [maxDigits] decimal digits; ok is false if a byte is not one.
func parseDigits(s string) (v uint64, ok bool) {
	for len(s) >= 8 {
		eight, ok := parse8(s)
		if !ok {
			return 0, false
		}
		v = v*1e8 + eight
		s = s[8:]
	}
	for i := 0; i < len(s); i++ {
		d := s[i] - '0'
		if d > 9 {
			return 0, false
		}
		v = v*10 + uint64(d)
	}
	return v, true
}

// parse8 parses eight digits at once: digits, then pairs of digits, then pairs of these are joined
// by one multiplication each.
func parse8(s string) (v uint64, ok bool) {
	_ = s[7]
	w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
	const high, zeros, sixes = 0xf0f0f0f0f0f0f0f0, 0x3030303030303030, 0x0606060606060606
	if w&high != zeros || (w+sixes)&high != zeros {
		return 0, false
	}
	w -= zeros
	w = w*10 + w>>8
	w = (w&0x000000ff000000ff*(100+1000000<<32) + w>>16&0x000000ff000000ff*(1+10000<<32)) >> 32
	return w & 0xffffffff, true
}

// putDigits fills dst with v, zeros in front. v fits.
func putDigits(dst []byte, v uint64) {
	for len(dst) >= 8 {
		put8(dst[len(dst)-8:], v%1e8)
		v /= 1e8
		dst = dst[:len(dst)-8]
	}
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = byte('0' + v%10)
		v /= 10
	}
}

// put8 is the inverse of parse8: it divides both halves by 100 at once, then all four quarters by
// 10. The multiplications are exact divisions for numbers of this size.
func put8(dst []byte, v uint64) {
	const zeros = 0x3030303030303030
	w := v/1e4 | v%1e4<<32
	hundreds := w * 10486 >> 20 & 0x0000007f0000007f
	w = hundreds + (w-100*hundreds)<<16
	tens := w * 103 >> 10 & 0x000f000f000f000f
	w = tens + (w-10*tens)<<8
	binary.LittleEndian.PutUint64(dst, w|zeros)
}

const (
	// uuidDigits stands for a UUID among the digits of shapes.
	uuidDigits = 32
	// uuidSize is the text of a UUID: 32 hexadecimal digits and four dashes.
	uuidSize = 36
)

// uuidPairs are where the pairs of digits of a UUID begin.
var uuidPairs = [16]uint8{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34}

// parseUUID reads a UUID in canonical notation with lower-case digits; s is as long as one.
func parseUUID(dst *[16]byte, s string) bool {
	if len(s) != uuidSize || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return false
	}
	bad := uint8(0)
	for i, at := range uuidPairs {
		high, low := hexValues[s[at]], hexValues[s[at+1]]
		bad |= high | low
		dst[i] = high<<4 | low&0xf
	}
	return bad < 0x10
}

// hexValues are the values of the lower-case hexadecimal digits, 0xff for other bytes.
var hexValues = func() (values [256]uint8) {
	for i := range values {
		values[i] = 0xff
	}
	for i := range len(hexDigits) {
		values[hexDigits[i]] = uint8(i)
	}
	return values
}()

const hexDigits = "0123456789abcdef"

// putUUID is the inverse of parseUUID.
func putUUID(dst, uuid []byte) {
	_, _ = dst[uuidSize-1], uuid[15]
	dst[8], dst[13], dst[18], dst[23] = '-', '-', '-', '-'
	for i, at := range uuidPairs {
		dst[at], dst[at+1] = hexDigits[uuid[i]>>4], hexDigits[uuid[i]&0xf]
	}
}
