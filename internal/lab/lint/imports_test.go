package lint

import (
	"fmt"
	"go/ast"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/receiptd/receiptd"

// layer says what the code of a package (its tests aside) may import.
type layer struct {
	// sees are the packages of the module it may import; anything stands for all that nobody
	// restricts.
	sees []string
	// libraries, if not nil, are all the modules it may import beside the standard library.
	libraries []string
	// without are packages of the standard library it may not import.
	without []string
	// not lists names that it may not use of a package that it sees.
	not map[string][]string
}

const anything = "..."

// impure are what a fold must not look at: the outside world and chance.
var impure = []string{"net", "net/http", "os", "os/exec", "io/fs", "math/rand", "math/rand/v2", "crypto/rand", "log/slog"}

// layers is the direction of imports, leaf first. A new package gets its line here.
var layers = map[string]layer{
	"schema": {},
	// Others build it into their programs: it knows the server by its description alone.
	"schema/client": {libraries: []string{}},
	"events": {libraries: []string{
		"google.golang.org/protobuf", "github.com/klauspost/compress", "github.com/go-json-experiment/json"}},
	"events/eventlog": {sees: []string{"events", "events/merkle", "events/eventlog/blockfile", "events/eventlog/witness", "internal/atomicfile", "internal/diskread", "internal/fair", "internal/leader"}},
	// Neither knows what is in an entry, nor the server whose files it reads.
	"events/eventlog/blockfile": {sees: []string{"internal/atomicfile", "internal/diskread"}, libraries: []string{"github.com/minio/highwayhash", "github.com/klauspost/compress", "github.com/nats-io/nats-server/v2"}},
	"events/eventlog/witness":   {sees: []string{"events/merkle", "internal/atomicfile"}, libraries: []string{"github.com/cespare/xxhash/v2", "golang.org/x/sys"}},
	// One can check evidence with it and without anything else of receiptd.
	"events/merkle":          {sees: []string{"events"}, libraries: []string{"golang.org/x/mod"}, without: impure},
	"projections":            {sees: []string{"events", "events/merkle"}, libraries: []string{"github.com/DataDog/sketches-go"}, without: impure},
	"projections/store":      {sees: []string{"events", "events/merkle", "projections", "internal/diskread"}},
	"projections/clickhouse": {sees: []string{"events", "events/merkle", "projections", "schema"}},
	"consumers":              {sees: []string{"events", "events/eventlog", "projections"}},

	// No consumer sees another one. What several need is in consumers/internal.
	"consumers/internal/fold": {sees: []string{"events", "events/eventlog", "projections", "projections/store", "internal/diskread"}},
	"consumers/projector": {sees: []string{"events", "events/eventlog", "events/merkle", "projections", "projections/store", "projections/clickhouse",
		"consumers", "consumers/internal/fold", "internal/diskread", "internal/copystate"}},
	"consumers/analytics": {sees: []string{"events/eventlog", "projections", "projections/store", "projections/clickhouse",
		"consumers", "consumers/internal/fold", "internal/atomicfile", "internal/diskread"}},
	"consumers/notify":    {sees: []string{"events", "projections"}},
	"consumers/retention": {sees: []string{"events/eventlog"}},

	// The floor of the edges, which are siblings: they see it and never each other. They are handed
	// the log; they neither open nor configure one.
	"internal/gateway": {
		sees: []string{"events", "events/eventlog", "projections", "consumers/projector", "consumers/notify"},
		not:  map[string][]string{"events/eventlog": {"Open", "Config", "Ingress"}},
	},
	// What is under way, whatever it is: it knows no event and no edge.
	"internal/gateway/admission": {sees: []string{"internal/fair"}},
	// What the doors for events share.
	"internal/gateway/ingest": {
		sees: []string{"events", "events/eventlog", "projections", "consumers/projector", "internal/gateway/admission"},
		not:  map[string][]string{"events/eventlog": {"Open", "Config", "Ingress"}},
	},
	"internal/gateway/natsapi": {
		sees: []string{"events", "events/eventlog", "internal/gateway", "internal/gateway/admission", "internal/gateway/ingest"},
		not:  map[string][]string{"events/eventlog": {"Open", "Config", "Ingress"}},
	},
	"internal/gateway/httpapi": {
		sees: []string{"events", "events/eventlog", "events/merkle", "projections", "consumers/projector", "consumers/notify", "schema", "internal/fair", "internal/gateway", "internal/gateway/admission",
			"internal/gateway/ingest", "internal/web"},
		not: map[string][]string{"events/eventlog": {"Open", "Config", "Ingress"}},
	},
	"internal/gateway/msync/msyncpb": {},
	"internal/gateway/msync": {
		sees: []string{"events", "events/eventlog", "projections", "consumers/projector", "consumers/notify", "internal/fair", "internal/gateway", "internal/gateway/admission", "internal/gateway/msync/msyncpb",
			"internal/inbox", "internal/writebehind"},
		not: map[string][]string{"events/eventlog": {"Open", "Config", "Ingress"}, "internal/inbox": {"Open", "Config"}},
	},
	"internal/gateway/easemob": {
		sees: []string{"events", "events/eventlog", "projections", "consumers/projector", "internal/gateway", "internal/accounts"},
		not:  map[string][]string{"events/eventlog": {"Open", "Config", "Ingress"}, "internal/accounts": {"Open", "Config"}},
	},
	"internal/leader":      {},
	"internal/cluster":     {sees: []string{"events", "events/eventlog", "internal/leader", "internal/copystate"}},
	"internal/presence":    {sees: []string{"internal/cluster"}},
	"internal/feed":        {sees: []string{"projections", "internal/cluster"}},
	"internal/router":      {sees: []string{"events", "events/eventlog", "events/merkle", "projections", "consumers/projector", "internal/cluster", "internal/copystate"}},
	"internal/snapshot":    {sees: []string{"internal/atomicfile", "internal/cluster", "projections", "projections/store"}},
	"internal/inbox":       {sees: []string{"internal/writebehind", "internal/leader"}},
	"internal/writebehind": {},
	"internal/accounts":    {sees: []string{"internal/leader"}},
	"internal/ids":         {},
	"internal/copystate":   {libraries: []string{}},
	"internal/fair":        {libraries: []string{}},
	"internal/notary":      {sees: []string{"events", "events/eventlog", "events/merkle", "projections", "consumers/projector", "internal/atomicfile"}},
	"internal/web":         {sees: []string{"events", "projections", "internal/fair", "internal/gateway"}},
	"internal/web/demo":    {},
	"internal/config":      {},
	"internal/progress":    {},
	"internal/ctl":         {sees: []string{"consumers/projector", "internal/config"}},
	"internal/backup":      {sees: []string{"events/eventlog", "events/eventlog/blockfile", "internal/atomicfile"}},
	"internal/runtime":     {sees: []string{anything}},
	"internal/lab/lint":    {},

	"internal/atomicfile": {},
	"internal/diskread":   {libraries: []string{"golang.org/x/sys"}},

	// For tests and benchmarks.
	"internal/lab/consumertest": {sees: []string{anything, "internal/lab/natstest", "internal/lab/chtest", "internal/lab/sim"}},
	"internal/lab/oracle":       {sees: []string{"events", "projections"}},
	"internal/lab/sim":          {sees: []string{"events"}},
	"internal/lab/simnet":       {libraries: []string{}},
	"internal/lab/output":       {libraries: []string{}},
	"internal/lab/loopback":     {libraries: []string{}},
	"internal/lab/day":          {sees: []string{"events", "internal/ctl"}},
	"internal/lab/sim/history":  {sees: []string{"events", "internal/lab/oracle"}},
	"internal/lab/faults": {sees: []string{"events", "events/eventlog/blockfile", "internal/gateway/msync/msyncpb", "internal/lab/bench/child", "internal/lab/chserver",
		"internal/lab/clock", "internal/lab/sim", "projections/store"}},
	"internal/lab/mutants": {sees: []string{"internal/progress"}},
	"internal/lab/dst": {sees: []string{"events", "events/eventlog", "events/eventlog/blockfile", "events/eventlog/witness", "projections",
		"consumers/notify", "consumers/projector", "internal/lab/oracle"}},
	"internal/lab/clock":          {},
	"internal/lab/cluster":        {},
	"internal/lab/natstest":       {sees: []string{"internal/lab/loopback", "events", "events/eventlog"}},
	"internal/lab/unread":         {},
	"internal/lab/metrictest":     {libraries: []string{"github.com/prometheus/client_golang"}},
	"internal/lab/bench":          {sees: []string{anything, "internal/lab/bench/drawing", "internal/lab/bench/embedded", "internal/lab/bench/load", "internal/lab/bench/measure", "internal/lab/sim"}},
	"internal/lab/bench/child":    {sees: []string{anything, "internal/lab/bench/measure", "internal/lab/sim"}},
	"internal/lab/bench/load":     {sees: []string{anything, "internal/lab/bench/measure", "internal/lab/sim"}},
	"internal/lab/bench/embedded": {sees: []string{anything, "internal/lab/bench/load", "internal/lab/sim"}},
	"internal/lab/bench/overload": {sees: []string{"internal/ctl", "internal/lab/bench/child", "internal/lab/bench/drawing", "internal/lab/bench/measure", "internal/progress"}},
	"internal/lab/bench/drawing":  {},
	"internal/lab/bench/grow":     {sees: []string{anything, "internal/lab/bench/child", "internal/lab/bench/load", "internal/lab/bench/measure", "internal/lab/sim"}},
	"internal/lab/bench/measure":  {},
	"internal/lab/bench/nodes":    {sees: []string{"internal/lab/loopback", "events", "internal/lab/bench/child", "internal/lab/bench/load", "internal/lab/bench/measure", "internal/lab/sim"}},
	// A module of its own.
	// They know the server by its description alone.
	"internal/lab/e2e/clients/oapicodegen": {},
	"internal/lab/e2e/clients/ogen":        {},
	"internal/lab/peers":                   {sees: []string{"internal/lab/loopback", anything, "internal/lab/bench/child", "internal/lab/bench/drawing", "internal/lab/bench/embedded", "internal/lab/bench/load", "internal/lab/bench/measure", "internal/lab/sim"}},
	"internal/lab/bench/doors":             {sees: []string{"events", "internal/ctl"}},
	"internal/lab/bench/clients":           {sees: []string{"internal/ctl", "internal/gateway/msync/msyncpb", "internal/lab/bench/measure"}},
	"internal/lab/bench/analytics":         {sees: []string{anything, "internal/lab/bench/measure", "internal/lab/chserver", "internal/lab/cookbook", "internal/lab/sim"}},
	"internal/lab/cookbook":                {},
	"internal/lab/chserver":                {},
	"internal/lab/scaling":                 {},
	"internal/lab/chtest":                  {sees: []string{"internal/lab/chserver"}},
	"internal/lab/chtest/engine":           {},
	"internal/lab/chtest/cmd/clickhouse":   {sees: []string{"internal/lab/chserver", "internal/lab/chtest/engine"}},

	"cmd/receiptd": {sees: []string{"internal/runtime", "internal/config"}},
	// receiptctl bench is where benchmarks are run from. Nothing of the product imports them:
	// the way from it into internal/lab is here alone.
	"cmd/receiptctl": {sees: []string{
		"consumers/projector", "events", "events/merkle", "events/eventlog", "projections", "projections/clickhouse", "internal/runtime", "internal/cluster", "internal/atomicfile", "internal/backup", "internal/config", "internal/ctl", "internal/progress", "internal/lab/bench",
		"internal/lab/bench/analytics", "internal/lab/bench/clients", "internal/lab/bench/child", "internal/lab/bench/doors", "internal/lab/bench/grow", "internal/lab/bench/nodes", "internal/lab/bench/overload",
		"internal/lab/day", "internal/lab/sim", "schema/client"}},
}

// confined are libraries that only one package may need, so that no program has them by accident.
// Those of internal/lab/peers are not even in the go.mod of receiptd; why the others are is in
// docs/DESIGN.md, What go.mod has.
var confined = map[string]string{
	"github.com/jackc/pgx/v5":      "internal/lab/peers",
	"github.com/redis/go-redis/v9": "internal/lab/peers",
	"github.com/ThreeDotsLabs":     "internal/lab/peers",
	"github.com/mattn/go-sqlite3":  "internal/lab/peers",

	"github.com/anishathalye/porcupine": "internal/lab/cluster",
	"github.com/ebitengine/purego":      "internal/lab/chtest/engine",
}

// instruments is the folder, with those below it, that the product must not need. A layer that
// names one of its packages is an exception: those of the instruments themselves, and receiptctl's.
const instruments = "internal/lab"

func TestImportsPointOneWay(t *testing.T) {
	none(t, checkImports(sources(t, repository, tracked(t))))
}

// checkImports returns what the imports of the sources break.
func checkImports(list []source) (findings []string) {
	unplaced := map[string]bool{}
	for _, s := range list {
		rule, placed := layers[s.dir]
		if !placed && !s.test {
			unplaced[s.dir] = true
		}
		for _, spec := range s.file.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			inside, ours := strings.CutPrefix(imported, module+"/")
			var reason string
			switch {
			case ours:
				reason = rule.refuses(inside, s.test)
			case !s.test:
				reason = rule.refusesOutside(s.dir, imported)
			}
			if reason != "" {
				findings = append(findings, fmt.Sprintf("%s:%d: imports %s: %s", s.name, s.line(spec), imported, reason))
			}
			if names := rule.not[inside]; ours && names != nil && !s.test {
				findings = append(findings, s.uses(spec, inside, names)...)
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(unplaced)) {
		findings = append(findings, dir+": has no place in the table of layers")
	}
	return findings
}

// refuses says why a package of the module may not be imported, or is empty. Tests may import all
// but commands: what they need beyond the layer is real servers and the model.
func (l layer) refuses(imported string, test bool) string {
	switch {
	case strings.HasPrefix(imported, "cmd/"):
		return "nobody imports a command"
	case test || slices.Contains(l.sees, imported):
		return ""
	case below(imported, instruments):
		return "it is an instrument, and no part of the product"
	case slices.Contains(l.sees, anything):
		return ""
	}
	return "not in its layer"
}

// refusesOutside says why a package outside the module may not be imported, or is empty.
func (l layer) refusesOutside(dir, imported string) string {
	for library, home := range confined {
		if below(imported, library) && dir != home {
			return "only " + home + " may need it"
		}
	}
	if slices.Contains(l.without, imported) {
		return "a fold does no I/O and takes no chances"
	}
	standard := !strings.Contains(strings.Split(imported, "/")[0], ".")
	if standard || l.libraries == nil {
		return ""
	}
	for _, library := range l.libraries {
		if below(imported, library) {
			return ""
		}
	}
	return "not one of its libraries"
}

// below reports whether an import path is that of dir or of a package in it.
func below(imported, dir string) bool { return imported == dir || strings.HasPrefix(imported, dir+"/") }

// uses finds names of an imported package.
func (s source) uses(spec *ast.ImportSpec, imported string, names []string) (findings []string) {
	local := path.Base(imported)
	if spec.Name != nil {
		local = spec.Name.Name
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := selector.X.(*ast.Ident); ok && x.Name == local && slices.Contains(names, selector.Sel.Name) {
			findings = append(findings, fmt.Sprintf("%s:%d: uses %s.%s: not in its layer",
				s.name, s.line(selector), imported, selector.Sel.Name))
		}
		return true
	})
	return findings
}

func TestWrongImportsAreFound(t *testing.T) {
	file := func(name, imported, body string) []source {
		tree := plant(name, "package p\n\nimport _ \""+imported+"\"\n"+body)
		return sources(t, tree, []string{name})
	}
	for _, test := range []struct{ name, imported, want string }{
		{"events/a.go", module + "/projections", "not in its layer"},
		{"events/a.go", "github.com/nats-io/nats.go", "not one of its libraries"},
		{"events/a.go", "google.golang.org/protobuf/proto", ""},
		{"events/a.go", "encoding/binary", ""},
		{"events/a_test.go", "pgregory.net/rapid", ""},
		{"events/eventlog/a.go", module + "/projections", "not in its layer"},
		{"projections/a.go", "os", "a fold does no I/O"},
		{"projections/a_test.go", "os", ""},
		{"consumers/a.go", module + "/projections", ""},
		{"consumers/a.go", module + "/consumers/projector", "not in its layer"},
		{"consumers/internal/fold/a.go", module + "/consumers", "not in its layer"},
		{"consumers/projector/a.go", module + "/consumers/internal/fold", ""},
		{"consumers/projector/a.go", module + "/consumers/notify", "not in its layer"},
		{"consumers/projector/a_test.go", module + "/consumers/retention", ""},
		{"consumers/analytics/a.go", module + "/consumers/projector", "not in its layer"},
		{"consumers/retention/a.go", module + "/consumers/projector", "not in its layer"},
		{"consumers/analytics/a.go", module + "/internal/lab/consumertest", "it is an instrument"},
		{"consumers/webhooks/a.go", "fmt", "has no place in the table"},
		{"internal/gateway/a.go", module + "/internal/runtime", "not in its layer"},
		{"internal/gateway/a.go", module + "/internal/gateway/httpapi", "not in its layer"},
		{"internal/gateway/a.go", module + "/internal/gateway/msync", "not in its layer"},
		{"internal/gateway/a.go", module + "/internal/gateway/easemob", "not in its layer"},
		{"internal/gateway/a.go", module + "/internal/web", "not in its layer"},
		{"internal/gateway/httpapi/a.go", module + "/internal/gateway", ""},
		{"internal/gateway/httpapi/a.go", module + "/internal/gateway/msync", "not in its layer"},
		{"internal/gateway/httpapi/a.go", module + "/internal/gateway/easemob", "not in its layer"},
		{"internal/gateway/msync/a.go", module + "/internal/gateway", ""},
		{"internal/gateway/msync/a.go", module + "/internal/gateway/httpapi", "not in its layer"},
		{"internal/gateway/msync/a.go", module + "/internal/gateway/easemob", "not in its layer"},
		{"internal/gateway/easemob/a.go", module + "/internal/gateway", ""},
		{"internal/gateway/easemob/a.go", module + "/internal/gateway/httpapi", "not in its layer"},
		{"internal/gateway/easemob/a.go", module + "/internal/gateway/msync", "not in its layer"},
		{"internal/gateway/easemob/a.go", module + "/internal/gateway/msync/msyncpb", "not in its layer"},
		{"internal/web/a.go", module + "/internal/gateway", ""},
		{"internal/web/a.go", module + "/internal/gateway/httpapi", "not in its layer"},
		{"internal/inbox/a.go", module + "/internal/writebehind", ""},
		{"internal/inbox/a.go", module + "/internal/gateway", "not in its layer"},
		{"internal/writebehind/a.go", module + "/internal/inbox", "not in its layer"},
		{"internal/runtime/a.go", module + "/internal/gateway", ""},
		{"internal/runtime/a.go", module + "/internal/lab/natstest", "it is an instrument"},
		{"internal/runtime/a_test.go", module + "/internal/lab/natstest", ""},
		{"internal/runtime/a_test.go", module + "/cmd/receiptd", "nobody imports a command"},
		{"cmd/receiptctl/a.go", module + "/internal/lab/bench", ""},
		{"cmd/receiptd/a.go", module + "/internal/lab/sim", "it is an instrument"},
		{"cmd/receiptctl/a.go", module + "/internal/lab/chserver", "it is an instrument"},
		{"internal/ctl/a.go", module + "/internal/lab/bench", "it is an instrument"},
		{"internal/runtime/a.go", module + "/internal/lab/bench/embedded", "it is an instrument"},
		{"internal/lab/bench/a.go", "github.com/jackc/pgx/v5/pgxpool", "only internal/lab/peers may need it"},
		{"internal/lab/peers/a.go", "github.com/jackc/pgx/v5/pgxpool", ""},
		{"cmd/receiptd/a.go", module + "/internal/lab/bench/child", "it is an instrument"},
		{"internal/other/a.go", "fmt", "has no place in the table"},
	} {
		t.Run(test.name+" "+test.imported, func(t *testing.T) {
			findings := checkImports(file(test.name, test.imported, ""))
			if test.want == "" {
				none(t, findings)
				return
			}
			exactly(t, findings, test.want)
		})
	}
	tree := plant("internal/gateway/httpapi/a.go", "package httpapi\n\nimport \""+module+"/events/eventlog\"\n\nvar a, b = eventlog.ErrClosed, eventlog.Open\n")
	exactly(t, checkImports(sources(t, tree, []string{"internal/gateway/httpapi/a.go"})), "uses events/eventlog.Open")
}
