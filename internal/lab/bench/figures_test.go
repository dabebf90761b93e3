package bench_test

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/benchmarks/figures.txt anew")

const (
	figuresFile = "../../../docs/benchmarks/figures.txt"
	// mayGrow is how much larger a figure may be than in the baseline. Allocations per
	// operation are a mean without its fraction, so they may be one more, unless the baseline
	// has none.
	mayGrow = 1.10
)

// guarded are benchmarks whose figures, in the given units, are the same in every run of the same
// code with a fixed number of operations on one processor.
var guarded = []struct {
	pkg        string
	benchmarks []string
	operations int
	units      []string
}{
	{"events", []string{"Builder", "BatchDecode", "EventList", "Decode", "AppendJSON", "DecodeEntrySingle"}, 20, []string{allocs, size}},
	{"events/eventlog", []string{"Publish", "IdleAppend$/^append", "Read"}, 20, []string{allocs}},
	{"projections", []string{"Apply", "QueryBesideDirtyState"}, 20, []string{allocs}},
	{"projections/store", []string{"QueryCounts", "QueryLists"}, 20, []string{allocs}},
	{"projections/store", []string{"StateSize"}, 1, []string{size}},
	{"consumers/notify", []string{"Push"}, 20, []string{allocs}},
	{"internal/gateway/httpapi", []string{"PostEvents", "PostEvent"}, 20, []string{allocs}},
}

// Units of figures.
const (
	allocs = "allocs/op"
	size   = "B/receipt"
)

// figure is what a benchmark reports in a unit.
type figure struct {
	pkg, benchmark, unit string
}

// Times depend on the machine and on what else it does; allocations and encoded sizes do not. None
// of them may grow by more than a tenth unnoticed: -update, and a look at the difference, is how it
// is noticed.
func TestFiguresAreNotWorseThanTheBaseline(t *testing.T) {
	now := map[figure]float64{}
	for _, g := range guarded {
		collect(t, now, g.units, benchmarks(t, g.pkg, g.benchmarks, g.operations))
	}
	if *update {
		writeFigures(t, now)
		return
	}
	text, err := os.ReadFile(figuresFile)
	if err != nil {
		t.Fatal(err)
	}
	baseline := map[figure]float64{}
	collect(t, baseline, []string{allocs, size}, text)
	for _, problem := range compare(baseline, now) {
		t.Error(problem)
	}
}

// benchmarks runs benchmarks of a package. Whatever else the process does in the meantime only adds
// to a figure, so each is taken several times.
func benchmarks(t *testing.T, pkg string, names []string, operations int) []byte {
	t.Helper()
	var out, messages bytes.Buffer
	pattern := "^Benchmark" + strings.Join(names, "$|^Benchmark") + "$"
	// Without the race detector, which allocates too.
	cmd := exec.Command("go", "test", "-run=^$", "-bench="+pattern, fmt.Sprintf("-benchtime=%dx", operations), "-count=3", "-benchmem", "-cpu=1", "./"+pkg)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "../../..", &out, &messages
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, out.Bytes(), messages.Bytes())
	}
	return out.Bytes()
}

// collect reads the figures in the given units from the output of benchmarks, and keeps the least
// of each.
func collect(t *testing.T, into map[figure]float64, units []string, text []byte) {
	t.Helper()
	pkg := ""
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "pkg:"); ok {
			pkg = strings.TrimSpace(name)
		}
		line, ok := strings.CutPrefix(line, "Benchmark")
		if !ok {
			continue
		}
		fields := strings.Fields(line) // name, operations, and then values with their units
		if len(fields) < 4 || len(fields)%2 != 0 {
			t.Fatalf("not the result of a benchmark: %q", line)
		}
		for i := 2; i < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				t.Fatalf("not the result of a benchmark: %q: %v", line, err)
			}
			f := figure{pkg, fields[0], fields[i+1]}
			if least, ok := into[f]; slices.Contains(units, f.unit) && (!ok || value < least) {
				into[f] = value
			}
		}
	}
}

// compare says what is worse, missing or new.
func compare(baseline, now map[figure]float64) (problems []string) {
	for _, f := range sorted(now) {
		was, known := baseline[f]
		most := was * mayGrow
		if f.unit == allocs && was > 0 {
			most = max(most, was+1)
		}
		switch is := now[f]; {
		case !known:
			problems = append(problems, fmt.Sprintf("%s %s: %v %s is not in the baseline", f.pkg, f.benchmark, is, f.unit))
		case is > most:
			problems = append(problems, fmt.Sprintf("%s %s: %v %s, the baseline has %v", f.pkg, f.benchmark, is, f.unit, was))
		}
	}
	for _, f := range sorted(baseline) {
		if _, ok := now[f]; !ok {
			problems = append(problems, fmt.Sprintf("%s %s: the baseline has %s, the benchmark does not", f.pkg, f.benchmark, f.unit))
		}
	}
	return problems
}

func sorted(m map[figure]float64) []figure {
	list := make([]figure, 0, len(m))
	for f := range m {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b figure) int {
		return cmp.Or(cmp.Compare(a.pkg, b.pkg), cmp.Compare(a.benchmark, b.benchmark), cmp.Compare(a.unit, b.unit))
	})
	return list
}

// writeFigures writes the baseline in the form that benchstat reads.
func writeFigures(t *testing.T, now map[figure]float64) {
	t.Helper()
	var text strings.Builder
	text.WriteString("# Written by go test ./internal/lab/bench -run Figures -update. Only what does not depend on the machine.")
	var last figure
	for _, f := range sorted(now) {
		if f.pkg != last.pkg {
			fmt.Fprintf(&text, "\n\npkg: %s", f.pkg)
		}
		if f.pkg != last.pkg || f.benchmark != last.benchmark {
			fmt.Fprintf(&text, "\nBenchmark%s 1", f.benchmark)
		}
		fmt.Fprintf(&text, " %v %s", now[f], f.unit)
		last = f
	}
	text.WriteString("\n")
	if err := os.WriteFile(figuresFile, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestFiguresAreTheLeastOfAnyRun(t *testing.T) {
	got := map[figure]float64{}
	collect(t, got, []string{allocs, size}, []byte("goos: linux\npkg: p/a\nBenchmarkX/1 20 5.5 ns/op 3 allocs/op\n"+
		"BenchmarkX/1 20 4 ns/op 2 allocs/op 1.25 B/receipt\npkg: p/b\nBenchmarkX/1 \t 20\t 7 allocs/op\nPASS\n"))
	want := map[figure]float64{{"p/a", "X/1", allocs}: 2, {"p/a", "X/1", size}: 1.25, {"p/b", "X/1", allocs}: 7}
	if !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestWorseFiguresAreFound(t *testing.T) {
	at := func(name string, unit string) figure { return figure{"p", name, unit} }
	baseline := map[figure]float64{
		at("A", "allocs/op"): 0, at("B", "allocs/op"): 20, at("C", "B/receipt"): 5, at("D", "B/receipt"): 5, at("E", "allocs/op"): 1,
		at("G", "allocs/op"): 4, at("H", "allocs/op"): 4,
	}
	now := map[figure]float64{
		at("A", "allocs/op"): 1, at("B", "allocs/op"): 22, at("C", "B/receipt"): 5.51, at("D", "B/receipt"): 1, at("F", "allocs/op"): 1,
		at("G", "allocs/op"): 5, at("H", "allocs/op"): 6,
	}
	want := []string{
		"p A: 1 allocs/op, the baseline has 0", "p C: 5.51 B/receipt, the baseline has 5",
		"p F: 1 allocs/op is not in the baseline", "p H: 6 allocs/op, the baseline has 4", "p E: the baseline has allocs/op, the benchmark does not",
	}
	if got := compare(baseline, now); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
