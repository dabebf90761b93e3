package ctl

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// TerminalSafe is a text that somebody else chose as a terminal may be given it: quoted where it
// has characters that a terminal would obey, or that are not seen.
func TerminalSafe(text string) string {
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}
