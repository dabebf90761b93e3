package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxWeight bounds the share of an app: beside one that has so much, others have nothing.
const maxWeight = 1000

// appName is ORG/APP, each as an app may be called.
var appName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// Weights are shares of apps by their names, as text like "acme/chat=4,acme/mail=2".
type Weights string

// UnmarshalText reads a list, and keeps it in the order of the names.
func (w *Weights) UnmarshalText(text []byte) error {
	all, err := Weights(text).parse()
	if err != nil {
		return err
	}
	var parts []string
	for _, app := range slices.Sorted(maps.Keys(all)) {
		parts = append(parts, app+"="+strconv.Itoa(all[app]))
	}
	*w = Weights(strings.Join(parts, ","))
	return nil
}

// parse returns the shares by name.
func (w Weights) parse() (map[string]int, error) {
	all := map[string]int{}
	for part := range strings.SplitSeq(string(w), ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		app, number, _ := strings.Cut(part, "=")
		app = strings.TrimSpace(app)
		n, err := strconv.Atoi(strings.TrimSpace(number))
		if err != nil || n < 1 || n > maxWeight || !appName.MatchString(app) {
			return nil, fmt.Errorf("not a share like acme/chat=4, from 1 to %d: %q", maxWeight, part)
		}
		if _, twice := all[app]; twice {
			return nil, fmt.Errorf("%s is named twice", app)
		}
		all[app] = n
	}
	return all, nil
}

// Of returns what tells the weight of an app by its key, org#app: 1 if it is not named.
func (w Weights) Of() func(app string) int {
	all, _ := w.parse() // it was read by UnmarshalText
	return func(app string) int { return max(1, all[strings.Replace(app, "#", "/", 1)]) }
}
