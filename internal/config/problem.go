package config

import (
	"errors"
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with the configuration.
type Problem struct {
	// Setting is the name of the setting, or empty when the problem is not of one.
	Setting string
	// Source says where the value comes from ("RECEIPTD_LISTEN", "receiptd.yaml:3"), or is empty
	// for the command line, a default, and a value that was set in Go.
	Source string
	// Reason says what is wrong. It never holds the value of a secret.
	Reason string
}

// Error is the problem in one line.
func (p Problem) Error() string {
	switch {
	case p.Setting == "":
		return p.Source + ": " + p.Reason
	case p.Source == "":
		return "--" + p.Setting + ": " + p.Reason
	}
	return "--" + p.Setting + " (from " + p.Source + "): " + p.Reason
}

// Problems is everything that is wrong with a configuration, as one error.
type Problems []Problem

// Error lists the problems, one a line when there are several.
func (p Problems) Error() string {
	if len(p) == 1 {
		return "configuration: " + p[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "configuration: %d problems:", len(p))
	for _, problem := range p {
		b.WriteString("\n  " + problem.Error())
	}
	return b.String()
}

func (p *Problems) add(setting, reason string, args ...any) {
	*p = append(*p, Problem{Setting: setting, Reason: fmt.Sprintf(reason, args...)})
}

// join adds the problems that err holds.
func (p *Problems) join(err error) {
	var more Problems
	if errors.As(err, &more) {
		*p = append(*p, more...)
	}
}

// err is nil when there are no problems: an empty Problems in an error would not be.
func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return p
}
