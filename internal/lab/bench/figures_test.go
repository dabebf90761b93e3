package bench_test

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/perf/benchfmt"
)

var update = flag.Bool("update", false, "write docs/benchmarks/figures.txt anew")

const (
	figuresFile = "../../../docs/benchmarks/figures.txt"
	// mayGrow is how much larger a figure may be than in the baseline. Allocations of an operation are a mean without
	// its fraction, so they may be one more, but for those that the baseline has none of.
	mayGrow = 1.10
)

// guarded are the benchmarks whose figures of the units are the same in every run of the same code, at a fixed
// number of operations on one processor.
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
	{"consumers", []string{"Deliver"}, 20, []string{allocs}},
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

// Times depend on the machine and on what else it does; allocations and encoded sizes do not. None of them may grow
// by more than a tenth unnoticed: -update, and a look at the difference, is how it is noticed.
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

// benchmarks runs benchmarks of a package. What else the process does in the meantime only adds to a figure, so
// each is taken several times.
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

// collect reads the figures of the units from the output of benchmarks, the least of each.
func collect(t *testing.T, into map[figure]float64, units []string, text []byte) {
	t.Helper()
	reader := benchfmt.NewReader(bytes.NewReader(text), figuresFile)
	for reader.Scan() {
		switch r := reader.Result().(type) {
		case *benchfmt.SyntaxError:
			t.Fatal(r)
		case *benchfmt.Result:
			for _, v := range r.Values {
				if !slices.Contains(units, v.Unit) {
					continue
				}
				f := figure{r.GetConfig("pkg"), r.Name.String(), v.Unit}
				if least, ok := into[f]; !ok || v.Value < least {
					into[f] = v.Value
				}
			}
		}
	}
	if err := reader.Err(); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
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
