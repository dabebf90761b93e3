package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/alecthomas/kong"
)

// helpWidth is how wide a line of a command's long description may be. An indented line is an
// example, to be copied as it is: a line of JSON cannot be wrapped.
const (
	helpWidth    = 100
	exampleWidth = 120
)

func TestHelpIsWrapped(t *testing.T) {
	parser, err := kong.New(&cli{}, helpVars)
	if err != nil {
		t.Fatal(err)
	}
	described := 0
	err = kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		if n, ok := node.(*kong.Node); ok && n.Detail != "" {
			described++
			for line := range strings.Lines(n.Detail) {
				most := helpWidth
				if strings.HasPrefix(line, "  ") {
					most = exampleWidth
				}
				if width := utf8.RuneCountInString(strings.TrimRight(line, "\n")); width > most {
					t.Errorf("%s: a line of %d columns, at most %d: %s", n.FullPath(), width, most, line)
				}
			}
		}
		return next(nil)
	})
	if err != nil || described < 30 {
		t.Errorf("%d commands are described, %v", described, err)
	}
}
