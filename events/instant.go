package events

import (
	"math/big"
	"strconv"
	"time"
	"unsafe"
)

// ParseTime reads a time as events may give it, in RFC 3339 or whole Unix milliseconds, and returns
// it in Unix milliseconds.
func ParseTime(s string) (ms int64, ok bool) {
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil {
		return ms, true
	}
	return parseTime(s)
}

// parseTime reads RFC 3339 as Unix milliseconds; a finer fraction is cut off. A leap second is
// refused: Unix time has none.
func parseTime(s string) (int64, bool) {
	if !isRFC3339(s) {
		return 0, false
	}
	// Package time knows upper case alone, and checks the day of the month.
	var upper [len("2006-01-02T15:04:05.999999999+00:00")]byte
	text := unsafe.Slice(unsafe.StringData(s), len(s))
	if t, z := s[len("2006-01-02")], s[len(s)-1]; t == 't' || z == 'z' {
		text = append(upper[:0], s...)
		text[len("2006-01-02")] = 'T'
		if z == 'z' {
			text[len(text)-1] = 'Z'
		}
	}
	var t time.Time
	err := t.UnmarshalText(text)
	return t.UnixMilli(), err == nil
}

// isRFC3339 reports whether s has the form of RFC 3339. Package time also takes hours of one digit,
// a comma before the fraction and offsets of days.
func isRFC3339(s string) bool {
	const date, clock, offset = "0000-00-00", "00:00:00", "00:00"
	const least = len(date) + 1 + len(clock)
	if len(s) <= least || !digitsAs(s[:len(date)], date) || s[len(date)]|0x20 != 't' ||
		!digitsAs(s[len(date)+1:least], clock) || s[len(date)+1:least-6] > "23" {
		return false
	}
	rest := s[least:]
	if rest[0] == '.' {
		n := 1
		for n < len(rest) && isDigit(rest[n]) {
			n++
		}
		if n == 1 {
			return false
		}
		rest = rest[n:]
	}
	switch {
	case len(rest) == 1:
		return rest[0]|0x20 == 'z'
	case len(rest) == 1+len(offset) && (rest[0] == '+' || rest[0] == '-'):
		return digitsAs(rest[1:], offset) && rest[1:3] <= "23" && rest[4:] <= "59"
	}
	return false
}

// digitsAs reports whether s has digits where the form has zeros, and is the same elsewhere.
func digitsAs(s, form string) bool {
	for i := range len(form) {
		if form[i] == '0' && !isDigit(s[i]) || form[i] != '0' && s[i] != form[i] {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return c-'0' <= 9 }

// parseWhole reads a JSON number that is whole, however it is written: 1700000000000, 17e11, 1.0.
func parseWhole(s string) (int64, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, true
	}
	// Bounds first: what the exponent says is written out below.
	const longest, largest = 64, 1 << 63
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || len(s) > longest || f >= largest || f <= -largest || f != 0 && f < 1 && f > -1 {
		return 0, false
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok || !r.IsInt() || !r.Num().IsInt64() {
		return 0, false
	}
	return r.Num().Int64(), true
}
