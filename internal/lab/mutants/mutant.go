package main

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
)

// Mutant is a bug that somebody might well have written, and the test that turns red because of it.
type Mutant struct {
	// Name names it for --only and in docs/mutations.md.
	Name string
	// File is the file that it is planted in, from the root of the module. Old occurs in it exactly
	// once, and New takes its place.
	File, Old, New string
	// Needs is a package that New uses and the file does not import; empty for none.
	Needs string
	// Bug says what is wrong then, and what would come of it.
	Bug string
	// Package has the test that catches it, Test is the test. Without a Test the whole package
	// is run, to find out which one does.
	Package, Test string
	// Args are further arguments of the test, as in the long tests of the test command.
	Args []string
}

// apply plants the bug in the text of the file. It fails if the place is not there, or is there
// more than once, or if the outcome is no Go.
func (m *Mutant) apply(text []byte) ([]byte, error) {
	if n := bytes.Count(text, []byte(m.Old)); n != 1 {
		return nil, fmt.Errorf("%s: its old text is there %d times, must be once", m.File, n)
	}
	if m.Old == m.New {
		return nil, fmt.Errorf("%s: nothing is changed", m.File)
	}
	text = bytes.Replace(text, []byte(m.Old), []byte(m.New), 1)
	if m.Needs != "" {
		clause := packageClause.FindIndex(text)
		if clause == nil {
			return nil, fmt.Errorf("%s: no package clause", m.File)
		}
		// On the same line, so that lines keep their numbers.
		added := fmt.Sprintf("; import %q", m.Needs)
		text = append(text[:clause[1]:clause[1]], append([]byte(added), text[clause[1]:]...)...)
	}
	if _, err := parser.ParseFile(token.NewFileSet(), m.File, text, parser.SkipObjectResolution); err != nil {
		return nil, err
	}
	return text, nil
}

var packageClause = regexp.MustCompile(`(?m)^package \w+`)

// source is the file as it is in the tree.
func (m *Mutant) source(root string) ([]byte, error) {
	return os.ReadFile(filepath.Join(root, filepath.FromSlash(m.File)))
}
