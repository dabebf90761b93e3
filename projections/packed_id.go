package projections

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"
)

// Ids of messages are mostly numbers or UUIDs. Where an id is a value and not a part of a key, it
// is stored as what it is then: a zero byte, which no id contains, and the number's bytes without
// leading zeros, eight at most, or the sixteen of the UUID. Any other id, and those that earlier
// versions stored, are there as they are.

// maxPackedNumber is how long a decimal number may be to fit into eight bytes whatever its digits.
const maxPackedNumber = 19

const uuidText = len("01234567-89ab-cdef-0123-456789abcdef")

// appendPacked appends an id in as few bytes as it takes.
func appendPacked(dst []byte, id string) []byte {
	if n, ok := packedNumber(id); ok {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], n)
		lead := 0
		for b[lead] == 0 {
			lead++
		}
		if 1+len(b)-lead < len(id) {
			return append(append(dst, 0), b[lead:]...)
		}
	}
	if len(id) == uuidText {
		if to, ok := appendUUID(append(dst, 0), id); ok {
			return to
		}
	}
	return append(dst, id...)
}

// packedNumber is the number that an id is the shortest decimal form of; 0 is none.
func packedNumber(id string) (n uint64, ok bool) {
	if len(id) == 0 || len(id) > maxPackedNumber || id[0] == '0' {
		return 0, false
	}
	for i := range len(id) {
		d := id[i] - '0'
		if d > 9 {
			return 0, false
		}
		n = 10*n + uint64(d)
	}
	return n, true
}

// appendUUID appends the bytes of a UUID in lower case.
func appendUUID(dst []byte, id string) ([]byte, bool) {
	for i := 0; i < len(id); {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if id[i] != '-' {
				return dst, false
			}
			i++
			continue
		}
		high, low := hexDigit(id[i]), hexDigit(id[i+1])
		if high|low > 15 {
			return dst, false
		}
		dst = append(dst, high<<4|low)
		i += 2
	}
	return dst, true
}

// hexDigit is the value of a digit in lower case; more than 15 for anything else.
func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 1 << 4
}

// unpackID is the id that is stored in the bytes.
func unpackID(b []byte) (id string, ok bool) {
	if len(b) == 0 || b[0] != 0 {
		return string(b), true
	}
	switch b = b[1:]; {
	case len(b) == 16:
		var text [uuidText]byte
		hex.Encode(text[:8], b[:4])
		for i, at := 4, 8; at < len(text); i, at = i+2, at+5 {
			text[at] = '-'
			end := i + 2
			if at == 23 {
				end = 16
			}
			hex.Encode(text[at+1:], b[i:end])
			if end == 16 {
				break
			}
		}
		return string(text[:]), true
	case 0 < len(b) && len(b) <= 8 && b[0] != 0:
		var n uint64
		for _, x := range b {
			n = n<<8 | uint64(x)
		}
		return strconv.FormatUint(n, 10), true
	}
	return "", false
}
