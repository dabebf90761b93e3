// Package metrictest reads metrics in tests: from a registry, or from the text of /metrics.
package metrictest

import (
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// Value is what a registry has of a counter or gauge: the sum over its series that have the labels,
// which are names and values in turn. The test fails if there is none.
func Value(t testing.TB, registry prometheus.Gatherer, name string, labels ...string) (value float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, f := range families {
		for _, m := range f.GetMetric() {
			of := map[string]string{}
			for _, l := range m.GetLabel() {
				of[l.GetName()] = l.GetValue()
			}
			if f.GetName() == name && has(of, labels) {
				found = true
				value += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	if !found {
		t.Fatalf("there is no metric %s %v", name, labels)
	}
	return value
}

// has reports whether a series with some labels has these, too.
func has(of map[string]string, labels []string) bool {
	for i := 0; i+1 < len(labels); i += 2 {
		if of[labels[i]] != labels[i+1] {
			return false
		}
	}
	return true
}

// Sum is the sum over all series of a metric in the text of /metrics, or, if name has labels, such
// as x_total{code="a"}, the value of that series. ok is false if there is none.
func Sum(text, name string) (value float64, ok bool) {
	for line := range strings.Lines(text) {
		rest, found := strings.CutPrefix(line, name)
		if !found || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		rest = strings.TrimSpace(rest)
		// A label may have spaces.
		one, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			continue
		}
		value, ok = value+one, true
	}
	return value, ok
}
