package ctl

import "testing"

func TestTerminalSafe(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"type":"message.read"}`: `{"type":"message.read"}`, "Zoë, 李 🙂": "Zoë, 李 🙂",
		"\x1b[2J": `"\x1b[2J"`, "a\u009b2J": `"a\u009b2J"`, "abc\u202ecba": `"abc\u202ecba"`, "two\nlines": `"two\nlines"`, "\xff": `"\xff"`,
	} {
		if got := TerminalSafe(text); got != want {
			t.Errorf("%q is shown as %s", text, got)
		}
	}
}
