package main

import (
	"bytes"
	"strings"
	"testing"
)

// What a producer chose does not reach the terminal as something that it obeys.
func TestPoisonIsHarmlessToATerminal(t *testing.T) {
	t.Parallel()
	for _, hostile := range []string{"\x1b[2J", "a\u009b2J", "a\x7f", "abc\u202edcba", "two\nlines", "a\tb", "\xff\x9b"} {
		var out bytes.Buffer
		if err := printDeadLetters(&out, []deadLetter{{Subject: "receipts.v1.0." + hostile, Reason: "no " + hostile, Data: hostile}}); err != nil {
			t.Fatal(err)
		}
		if _, row, _ := strings.Cut(out.String(), "\n"); strings.Contains(row, hostile) || strings.Count(row, "\n") != 1 {
			t.Errorf("%q is printed as it is: %q", hostile, row)
		}
	}
}
