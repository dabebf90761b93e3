package config

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fileValue is the value of a key in the file.
type fileValue struct {
	text   string
	source string // "receiptd.yaml:3"
}

// readFile reads the YAML file at path: a flat map of settings. Keys that are not known become
// problems, as does a file that cannot be read.
func (r *reader) readFile(path string, known []string) {
	fail := func(err error) {
		source := r.sourceOfFile()
		r.problems = append(r.problems, Problem{Setting: fileFlag, Source: source, Reason: err.Error()})
	}
	f, err := os.Open(path)
	if err != nil {
		fail(err)
		return
	}
	defer f.Close()
	var keys map[string]yaml.Node
	if err := yaml.NewDecoder(f).Decode(&keys); err != nil && !errors.Is(err, io.EOF) {
		fail(fmt.Errorf("read %s: %w", path, err))
		return
	}
	r.file = map[string]fileValue{}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		node := keys[key]
		source := fmt.Sprintf("%s:%d", filepath.Base(path), node.Line)
		switch {
		case key == fileFlag || !slices.Contains(known, key):
			near := nearest(key, slices.DeleteFunc(slices.Clone(known), func(s string) bool { return s == fileFlag }))
			r.problems = append(r.problems, Problem{Source: source,
				Reason: fmt.Sprintf("unknown key %q; the nearest is %q", key, near)})
		case node.Kind != yaml.ScalarNode:
			r.problems = append(r.problems, Problem{Source: source,
				Reason: fmt.Sprintf("%s must have one plain value", key)})
		case node.Tag != "!!null":
			r.file[key] = fileValue{text: node.Value, source: source}
		}
	}
}

// sourceOfFile says where the name of the file comes from.
func (r *reader) sourceOfFile() string {
	if _, ok := r.environ[variable(fileFlag)]; ok {
		return variable(fileFlag)
	}
	return ""
}

// checkVariables notes the variables with our prefix that belong to no flag.
func (r *reader) checkVariables(known []string) {
	names := make([]string, len(known))
	for i, flag := range known {
		names[i] = variable(flag)
	}
	for _, name := range slices.Sorted(maps.Keys(r.environ)) {
		if slices.Contains(names, name) {
			continue
		}
		near := nearest(strings.TrimPrefix(name, prefix), known)
		r.problems = append(r.problems, Problem{Source: name,
			Reason: "unknown variable; the nearest is " + variable(near)})
	}
}
