package httpapi

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/receiptd/receiptd/schema"
)

// parameters are the names that a call's query may have, and whether several times.
type parameters map[string]bool

// allParameters has the parameters of every call, from the description. What it does not have does
// not exist, so that neither can have one that the other lacks.
var allParameters = sync.OnceValue(func() map[string]map[string]bool {
	all, err := schema.QueryParameters()
	if err != nil {
		panic(err) // the description is part of the program
	}
	return all
})

func parametersOf(rt route) parameters {
	return allParameters()[rt.method+" "+strings.TrimSuffix(rt.path, "{$}")]
}

// check refuses a parameter that the call does not have, or has twice: whoever sent it expects
// something of it.
func (p parameters) check(query string) error {
	if query == "" || p.plainly(query) {
		return nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return invalid("query", "malformed")
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch many, known := p[name]; {
		case !known:
			return invalid(shown(name), "unknown parameter")
		case len(values[name]) > 1 && !many:
			return invalid(name, "repeated")
		}
	}
	return nil
}

// plainly reports whether the query is one parameter of those, as nearly all are that have any; it
// allocates nothing.
func (p parameters) plainly(query string) bool {
	name, value, _ := strings.Cut(query, "=")
	_, known := p[name]
	return known && !strings.ContainsAny(value, "&;%")
}

// shown is a name from outside as an error shows it.
func shown(name string) string {
	const most = 64
	if len(name) <= most {
		return name
	}
	return strings.ToValidUTF8(name[:most], "") + "…"
}
